#include "control/registry.h"

#include "lib/dtcp/framing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <new>
#include <sys/mman.h>
#include <sys/stat.h>
#include <utility>

namespace flowtap::control {

namespace {

constexpr int registry_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr std::uint32_t reserve_step = 256;  // blocks

/// No store after it is made before one that precedes it. What a killed process leaves is what it had
/// executed, in program order: only the compiler has to be held.
void in_order() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

std::unexpected<std::string> failed(std::string_view step) {
    return std::unexpected{fmt::format("registry: cannot {}: {}", step, std::strerror(errno))};
}

/// FNV-1a, 64 bits: tells a damaged entry from a whole one, no more.
class Checksum {
  public:
    void add(std::span<const std::byte> bytes) {
        for (const auto byte : bytes) {
            value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100'0000'01b3;
        }
    }
    std::uint64_t value() const { return value_; }

  private:
    std::uint64_t value_ = 0xcbf2'9ce4'8422'2325;
};

Checksum checksum_of(const EntryHead& head) {
    Checksum sum;
    sum.add(std::as_bytes(std::span(&head.slot, 1)));
    sum.add(std::as_bytes(std::span(&head.id, 1)));
    sum.add(std::as_bytes(std::span(&head.added_utc, 1)));
    sum.add(std::as_bytes(std::span(&head.added_boot, 1)));
    sum.add(std::as_bytes(std::span(&head.message_size, 1)));
    sum.add(std::as_bytes(std::span(&head.family, 1)));
    sum.add(std::as_bytes(std::span(head.csource_address)));
    return sum;
}

std::size_t blocks_of(std::size_t message_size) {
    return message_size <= first_capacity
               ? 1
               : 1 + (message_size - first_capacity + next_capacity - 1) / next_capacity;
}

/// Bytes of the message in the chain's block `place`, of a message with `left` bytes still to come.
std::size_t part(std::size_t place, std::size_t left) {
    return std::min(left, place == 0 ? first_capacity : next_capacity);
}

}  // namespace

Registry::Registry(lib::FileDescriptor descriptor, std::byte* memory, std::uint32_t max_taps)
    : descriptor_{std::move(descriptor)},
      memory_{memory},
      max_taps_{max_taps},
      geometry_{RegistryGeometry::of(max_taps)} {}

Registry::Registry(Registry&& other) noexcept
    : descriptor_{std::move(other.descriptor_)},
      memory_{std::exchange(other.memory_, nullptr)},
      max_taps_{other.max_taps_},
      geometry_{other.geometry_},
      free_blocks_{std::move(other.free_blocks_)},
      fresh_block_{other.fresh_block_},
      reserved_{other.reserved_},
      used_{other.used_},
      damaged_{other.damaged_} {}

Registry& Registry::operator=(Registry&& other) noexcept {
    if (this != &other) {
        std::destroy_at(this);
        std::construct_at(this, std::move(other));
    }
    return *this;
}

Registry::~Registry() {
    if (memory_ != nullptr) {
        ::munmap(memory_, geometry_.size);
    }
}

std::expected<Registry, std::string> Registry::create(std::uint32_t max_taps) {
    const auto geometry = RegistryGeometry::of(max_taps);
    lib::FileDescriptor descriptor{::memfd_create("flowtap-registry", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!descriptor) {
        return failed("create a memfd");
    }
    if (::ftruncate(descriptor.get(), static_cast<off_t>(geometry.size)) != 0) {
        return failed("size the memfd");
    }
    if (::fallocate(descriptor.get(), 0, 0, static_cast<off_t>(geometry.blocks)) != 0) {
        return failed("get memory");
    }
    if (::fcntl(descriptor.get(), F_ADD_SEALS, registry_seals) != 0) {
        return failed("seal the memfd");
    }
    void* const memory =
        ::mmap(nullptr, geometry.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), 0);
    if (memory == MAP_FAILED) {
        return failed("map the memfd");
    }
    static_cast<void>(::madvise(memory, geometry.size, MADV_DONTDUMP));
    Registry registry{std::move(descriptor), static_cast<std::byte*>(memory), max_taps};
    auto& header = registry.header();
    header.magic = registry_magic;
    header.version = registry_version;
    header.max_taps = max_taps;
    header.size = geometry.size;
    return registry;
}

std::expected<Registry, std::string> Registry::adopt(lib::FileDescriptor descriptor, std::uint32_t max_taps) {
    const auto geometry = RegistryGeometry::of(max_taps);
    struct stat status{};
    if (::fstat(descriptor.get(), &status) != 0) {
        return failed("look at the memfd");
    }
    const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
    if (seals < 0 || (seals & registry_seals) != registry_seals ||
        status.st_size != static_cast<off_t>(geometry.size)) {
        return std::unexpected{fmt::format("registry: the descriptor is no registry of {} taps", max_taps)};
    }
    void* const memory =
        ::mmap(nullptr, geometry.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), 0);
    if (memory == MAP_FAILED) {
        return failed("map the memfd");
    }
    static_cast<void>(::madvise(memory, geometry.size, MADV_DONTDUMP));
    Registry registry{std::move(descriptor), static_cast<std::byte*>(memory), max_taps};
    const auto& header = registry.header();
    if (header.magic != registry_magic || header.version != registry_version || header.max_taps != max_taps ||
        header.size != geometry.size) {
        return std::unexpected{fmt::format("registry: of another version or size than {} and {} taps",
                                           registry_version, max_taps)};
    }
    registry.recover();
    return registry;
}

RegistryHeader& Registry::header() const {
    return *reinterpret_cast<RegistryHeader*>(memory_);
}

Word& Registry::slot_word(std::uint32_t slot) const {
    return reinterpret_cast<Word*>(memory_ + geometry_.slots)[slot];
}

std::uint32_t* Registry::removal_list() const {
    return reinterpret_cast<std::uint32_t*>(memory_ + geometry_.removals);
}

std::byte* Registry::block(std::uint32_t index) const {
    return memory_ + geometry_.blocks + std::size_t{index} * block_size;
}

EntryHead& Registry::head(std::uint32_t index) const {
    return *reinterpret_cast<EntryHead*>(block(index));
}

bool Registry::used(std::uint32_t slot) const {
    return slot < max_taps_ && slot_word(slot).load(std::memory_order_acquire) != 0;
}

bool Registry::reserve(std::uint32_t block_index) {
    // Memory is asked for here, where its lack is an error, and not at a store, where it would be a signal.
    while (reserved_ <= block_index) {
        const std::uint32_t count = std::min(reserve_step, geometry_.block_count - reserved_);
        const auto offset = geometry_.blocks + std::size_t{reserved_} * block_size;
        if (::fallocate(descriptor_.get(), 0, static_cast<off_t>(offset),
                        static_cast<off_t>(std::size_t{count} * block_size)) != 0) {
            return false;
        }
        reserved_ += count;
    }
    return true;
}

std::optional<std::vector<std::uint32_t>> Registry::take_blocks(std::size_t count) {
    std::vector<std::uint32_t> blocks;
    blocks.reserve(count);
    while (blocks.size() < count) {
        if (!free_blocks_.empty()) {
            blocks.push_back(free_blocks_.back());
            free_blocks_.pop_back();
        } else if (fresh_block_ < geometry_.block_count && reserve(fresh_block_)) {
            blocks.push_back(fresh_block_++);
        } else {
            free_blocks_.insert(free_blocks_.end(), blocks.begin(), blocks.end());
            return std::nullopt;
        }
    }
    return blocks;
}

std::expected<void, std::string> Registry::add(const RegistryEntry& entry) {
    const auto slot = static_cast<std::uint32_t>(entry.slot);
    if (slot >= max_taps_ || used(slot)) {
        return std::unexpected{"registry: the slot is not free"};
    }
    if (entry.message.size() > lib::dtcp::max_message) {
        return std::unexpected{"registry: the message is too long"};
    }
    const auto blocks = take_blocks(blocks_of(entry.message.size()));
    if (!blocks) {
        return std::unexpected{"registry: no room"};
    }
    std::string_view left = entry.message;
    for (std::size_t place = 0; place < blocks->size(); ++place) {
        std::byte* const memory = block((*blocks)[place]);
        const std::uint32_t next = place + 1 < blocks->size() ? (*blocks)[place + 1] : no_block;
        const std::size_t count = part(place, left.size());
        if (place == 0) {
            auto& fresh = *new (memory) EntryHead;
            fresh.next = next;
            fresh.slot = slot;
            fresh.id = static_cast<std::uint64_t>(entry.id);
            fresh.added_utc = entry.added_utc;
            fresh.added_boot = entry.added_boot;
            fresh.message_size = static_cast<std::uint32_t>(entry.message.size());
            fresh.family = static_cast<std::uint8_t>(entry.csource_address.family);
            fresh.csource_address = entry.csource_address.bytes;
            fresh.statistics[0].active = entry.added_boot;
            fresh.terms[0] = {entry.terms, 0};
            auto sum = checksum_of(fresh);
            sum.add(std::as_bytes(std::span(entry.message)));
            fresh.checksum = sum.value();
            std::memcpy(memory + sizeof(EntryHead), left.data(), count);
        } else {
            new (memory) BlockHead{next};
            std::memcpy(memory + sizeof(BlockHead), left.data(), count);
        }
        left.remove_prefix(count);
    }
    slot_word(slot).store(std::uint64_t{blocks->front()} + 1, std::memory_order_release);
    ++used_;
    return {};
}

void Registry::free_chain(std::uint32_t first) {
    for (std::uint32_t index = first; index != no_block; index = head(index).next) {
        free_blocks_.push_back(index);
    }
}

void Registry::begin_removal(std::span<const lib::TapSlot> slots) {
    const auto number = header().leaving_decided.load(std::memory_order_relaxed) + 1;
    for (const auto slot : slots) {
        entry_at(slot).leaving.store(number, std::memory_order_relaxed);
    }
    header().leaving_decided.store(number, std::memory_order_release);
}

void Registry::undo_removal(std::span<const lib::TapSlot> slots) {
    if (slots.empty()) {
        return;
    }
    header().leaving_undone.store(entry_at(slots.front()).leaving.load(std::memory_order_relaxed),
                                  std::memory_order_release);
    for (const auto slot : slots) {
        entry_at(slot).leaving.store(0, std::memory_order_release);
    }
    header().leaving_undone.store(0, std::memory_order_release);
}

void Registry::finish_leaving() {
    const auto decided = header().leaving_decided.load(std::memory_order_acquire);
    const auto undone = header().leaving_undone.load(std::memory_order_acquire);
    std::vector<lib::TapSlot> leaving;
    for (const auto slot : slots()) {
        auto& number = entry_at(slot).leaving;
        const auto value = number.load(std::memory_order_acquire);
        if (value != 0 && value <= decided && value != undone) {
            leaving.push_back(slot);
        } else {
            number.store(0, std::memory_order_release);
        }
    }
    header().leaving_undone.store(0, std::memory_order_release);
    remove(leaving);
}

void Registry::remove(std::span<const lib::TapSlot> slots) {
    in_order();
    std::size_t count = 0;
    for (const auto slot : slots) {
        if (used(static_cast<std::uint32_t>(slot)) && count < max_taps_) {
            removal_list()[count++] = static_cast<std::uint32_t>(slot);
        }
    }
    header().removals.store(count, std::memory_order_release);
    finish_removals();
}

void Registry::finish_removals() {
    const std::size_t count =
        std::min<std::size_t>(header().removals.load(std::memory_order_acquire), max_taps_);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t slot = removal_list()[i];
        if (!used(slot)) {
            continue;
        }
        const auto first = static_cast<std::uint32_t>(slot_word(slot).load(std::memory_order_relaxed) - 1);
        slot_word(slot).store(0, std::memory_order_release);
        free_chain(first);
        --used_;
    }
    header().removals.store(0, std::memory_order_release);
}

std::optional<std::vector<std::uint32_t>> Registry::check(std::uint32_t slot,
                                                          std::vector<bool>& taken) const {
    const std::uint64_t word = slot_word(slot).load(std::memory_order_acquire);
    if (word > geometry_.block_count) {
        return std::nullopt;
    }
    std::vector<std::uint32_t> chain{static_cast<std::uint32_t>(word - 1)};
    const auto& entry = head(chain.front());
    const std::size_t size = entry.message_size;
    const std::size_t count = blocks_of(size);
    if (entry.slot != slot || (entry.family != 4 && entry.family != 6) || size > lib::dtcp::max_message) {
        return std::nullopt;
    }
    auto sum = checksum_of(entry);
    std::size_t left = size;
    for (std::size_t place = 0;; ++place) {
        const std::uint32_t index = chain.back();
        if (taken[index]) {
            return std::nullopt;
        }
        const std::size_t bytes = part(place, left);
        sum.add({block(index) + (place == 0 ? sizeof(EntryHead) : sizeof(BlockHead)), bytes});
        left -= bytes;
        const std::uint32_t next = head(index).next;
        if (place + 1 == count) {
            if (next != no_block) {
                return std::nullopt;
            }
            break;
        }
        if (next >= geometry_.block_count || std::ranges::find(chain, next) != chain.end()) {
            return std::nullopt;
        }
        chain.push_back(next);
    }
    if (sum.value() != entry.checksum) {
        return std::nullopt;
    }
    return chain;
}

void Registry::recover() {
    // What nobody has touched has no memory yet, and reading it would give it some.
    std::vector<bool> taken(geometry_.block_count, false);
    std::uint32_t end = 0;
    for (std::uint32_t slot = 0; slot < max_taps_; ++slot) {
        if (!used(slot)) {
            continue;
        }
        const auto chain = check(slot, taken);
        if (!chain) {
            slot_word(slot).store(0, std::memory_order_release);
            ++damaged_;
            continue;
        }
        // A change of terms that was not committed must not come into force with the next one.
        auto& records = head(chain->front()).terms;
        const auto generation = header().terms_generation.load(std::memory_order_acquire);
        for (auto& record : records) {
            if (record.generation > generation) {
                record.generation = TermsRecord::none;
            }
        }
        if (records[0].generation == TermsRecord::none && records[1].generation == TermsRecord::none) {
            slot_word(slot).store(0, std::memory_order_release);
            ++damaged_;
            continue;
        }
        for (const auto index : *chain) {
            taken[index] = true;
            end = std::max(end, index + 1);
        }
        ++used_;
    }
    fresh_block_ = end;
    for (std::uint32_t index = 0; index < end; ++index) {
        if (!taken[index]) {
            free_blocks_.push_back(index);
        }
    }
    finish_removals();
    finish_leaving();
}

std::optional<RegistryEntry> Registry::read(lib::TapSlot slot) const {
    const auto number = static_cast<std::uint32_t>(slot);
    if (!used(number)) {
        return std::nullopt;
    }
    auto index = static_cast<std::uint32_t>(slot_word(number).load(std::memory_order_acquire) - 1);
    auto& stored = head(index);
    RegistryEntry entry{slot, lib::TapId{stored.id}, stored.added_utc, stored.added_boot, {}, {}};
    entry.terms = terms_in_force(stored).terms;
    entry.csource_address = {stored.family == 6 ? lib::Family::ipv6 : lib::Family::ipv4,
                             stored.csource_address};
    std::size_t left = stored.message_size;
    entry.message.reserve(left);
    for (std::size_t place = 0; index != no_block; ++place, index = head(index).next) {
        const std::size_t count = part(place, left);
        const auto* bytes = block(index) + (place == 0 ? sizeof(EntryHead) : sizeof(BlockHead));
        entry.message.append(reinterpret_cast<const char*>(bytes), count);
        left -= count;
    }
    return entry;
}

std::vector<lib::TapSlot> Registry::slots() const {
    std::vector<lib::TapSlot> slots;
    slots.reserve(used_);
    for (std::uint32_t slot = 0; slot < max_taps_; ++slot) {
        if (used(slot)) {
            slots.push_back(lib::TapSlot{slot});
        }
    }
    return slots;
}

EntryHead& Registry::entry_at(lib::TapSlot slot) const {
    const auto word = slot_word(static_cast<std::uint32_t>(slot)).load(std::memory_order_acquire);
    return head(static_cast<std::uint32_t>(word - 1));
}

TermsRecord& Registry::terms_in_force(EntryHead& entry) const {
    const auto committed = header().terms_generation.load(std::memory_order_acquire);
    auto& [first, second] = entry.terms;
    if (first.generation > committed) {
        return second;
    }
    return second.generation <= committed && second.generation > first.generation ? second : first;
}

void Registry::set_terms(std::span<const TermsChange> changes) {
    const auto next = header().terms_generation.load(std::memory_order_relaxed) + 1;
    for (const auto& change : changes) {
        auto& entry = entry_at(change.slot);
        auto& in_force = terms_in_force(entry);
        auto& other = &in_force == entry.terms.data() ? entry.terms[1] : entry.terms[0];
        other.generation = TermsRecord::none;
        in_order();
        other.terms = change.terms;
        in_order();
        other.generation = next;
    }
    header().terms_generation.store(next, std::memory_order_release);
}

TapStatistics Registry::statistics(lib::TapSlot slot) const {
    const auto& entry = entry_at(slot);
    return entry.statistics[entry.current.load(std::memory_order_acquire) & 1];
}

void Registry::set_statistics(lib::TapSlot slot, const TapStatistics& statistics) {
    auto& entry = entry_at(slot);
    const std::uint64_t other = (entry.current.load(std::memory_order_relaxed) & 1) ^ 1;
    in_order();
    entry.statistics[other] = statistics;
    entry.current.store(other, std::memory_order_release);
}

void Registry::set_grant(lib::SaSlot slot, const SaGrant& grant) {
    if (const auto before = this->grant(slot); before.key_digest != grant.key_digest && before.end != 0) {
        remember(before);
        in_order();
    }
    auto& record = header().grants.at(static_cast<std::size_t>(slot));
    const std::uint64_t other = (record.current.load(std::memory_order_relaxed) & 1) ^ 1;
    in_order();
    record.grants[other] = grant;
    record.current.store(other, std::memory_order_release);
}

std::span<PastGrant> Registry::past() const {
    const auto count = header().past_count.load(std::memory_order_acquire);
    return std::span{header().past}.first(std::min<std::uint64_t>(count, past_grants));
}

/// Should the process die on the way, the slot still says it.
void Registry::remember(const SaGrant& grant) {
    for (auto& known : past()) {
        if (known.key_digest == grant.key_digest) {
            known.end = std::max(known.end, grant.end);
            return;
        }
    }
    const auto count = header().past_count.load(std::memory_order_relaxed);
    header().past[count % past_grants] = {grant.key_digest, grant.end};
    header().past_count.store(count + 1, std::memory_order_release);
}

SaGrant Registry::grant(lib::SaSlot slot) const {
    const auto& record = header().grants.at(static_cast<std::size_t>(slot));
    return record.grants[record.current.load(std::memory_order_acquire) & 1];
}

std::uint64_t Registry::granted(const std::array<std::uint8_t, 32>& key_digest) const {
    std::uint64_t end = 0;
    for (std::uint32_t slot = 0; slot < lib::max_sas; ++slot) {
        const auto last = grant(lib::SaSlot{slot});
        if (last.key_digest == key_digest) {
            end = std::max(end, last.end);
        }
    }
    for (const auto& before : past()) {
        if (before.key_digest == key_digest) {
            end = std::max(end, before.end);
        }
    }
    return end;
}

}  // namespace flowtap::control
