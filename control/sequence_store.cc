#include "control/sequence_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace flowtap::control {

namespace {

constexpr std::size_t record_size = 2 * SequenceStore::sector_size;
constexpr std::size_t most_bytes = std::size_t{64} << 20;

using Tag = lib::dtcp::Hmac::Digest;

/// What a sector holds; the rest is zero. Read on the machine that wrote it.
struct Sector {
    static constexpr std::uint64_t magic = 0x0131'7165'7374'6c66;
    std::uint64_t kind = magic;
    std::uint64_t generation = 0;
    std::uint64_t fresh = 0;
    std::uint64_t current = 0;
    std::array<std::uint64_t, SequenceWindow::negative / 64> seen{};
    Tag owner{};      ///< which source and key
    Tag signature{};  ///< of all before it
};
constexpr std::size_t signed_size = offsetof(Sector, signature);
static_assert(sizeof(Sector) <= SequenceStore::sector_size);
static_assert(std::is_trivially_copyable_v<Sector>);

/// No DTCP message starts like this: what is signed here is good for nothing else.
std::string labelled(std::string_view use, std::string_view bytes) {
    std::string text{"flowtap sequence "};
    text += use;
    text += '\0';
    text += bytes;
    return text;
}

Tag owner_of(Source& source) {
    return source.key.digest(labelled("owner", source.config->name));
}

Tag signature_of(Source& source, const Sector& sector) {
    return source.key.digest(labelled("record", {reinterpret_cast<const char*>(&sector), signed_size}));
}

Sector read_sector(std::string_view bytes) {
    Sector sector;
    std::memcpy(&sector, bytes.data(), sizeof sector);
    return sector;
}

bool is_blank(std::string_view bytes) {
    return std::ranges::all_of(bytes, [](char byte) { return byte == '\0'; });
}

std::unexpected<std::string> failed(const std::filesystem::path& file, std::string_view step) {
    return std::unexpected{fmt::format("{}: cannot {}: {}", file.string(), step, std::strerror(errno))};
}

std::expected<std::string, std::string> read_all(int descriptor, const std::filesystem::path& file) {
    struct stat status{};
    if (::fstat(descriptor, &status) != 0) {
        return failed(file, "look at it");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size % record_size != 0 || size > most_bytes) {
        return std::unexpected{fmt::format(
            "{}: not a file of flowtap's: remove it (then record the keys of the UDP sources again)",
            file.string())};
    }
    std::string content(size, '\0');
    for (std::size_t done = 0; done < size;) {
        const ssize_t got = ::pread(descriptor, content.data() + done, size - done, static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return failed(file, "read");
        }
        done += static_cast<std::size_t>(got);
    }
    return content;
}

}  // namespace

std::expected<SequenceStore, std::string> SequenceStore::open(const std::filesystem::path& directory,
                                                              Sources& sources) {
    const auto file = directory / "sequences";
    SequenceStore store{sources};
    store.directory_ = directory;
    store.file_ = lib::FileDescriptor{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!store.file_) {
        return failed(file, "open");
    }
    const auto content = read_all(store.file_.get(), file);
    if (!content) {
        return std::unexpected{content.error()};
    }
    store.end_ = content->size();
    std::map<Tag, std::uint64_t> owners;
    for (std::size_t at = 0; at < content->size(); at += sector_size) {
        owners.try_emplace(read_sector(std::string_view{*content}.substr(at)).owner, at - at % record_size);
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
        const auto index = SourceIndex{static_cast<std::uint32_t>(i)};
        Source& source = sources.at(index);
        const auto found = source.config->udp ? owners.find(owner_of(source)) : owners.end();
        if (found != owners.end()) {
            store.slot(index).offset = found->second;
            const auto record = std::string_view{*content}.substr(found->second, record_size);
            store.read_record(index, record.substr(0, sector_size), record.substr(sector_size));
        }
    }
    return store;
}

void SequenceStore::read_record(SourceIndex index, std::string_view first, std::string_view second) {
    Source& source = sources_->at(index);
    Slot& slot = this->slot(index);
    const Tag owner = owner_of(source);
    slot.record = SequenceRecord::good;
    for (const auto bytes : {first, second}) {
        if (is_blank(bytes)) {
            continue;
        }
        const Sector sector = read_sector(bytes);
        if (sector.kind != Sector::magic || sector.owner != owner ||
            sector.signature != signature_of(source, sector)) {
            slot.record = SequenceRecord::damaged;
        } else if (sector.generation > slot.generation) {
            slot.generation = sector.generation;
            slot.window =
                SequenceWindow{SequenceWindow::State{sector.fresh != 0, sector.current, sector.seen}};
        }
    }
}

SequenceStore::Change SequenceStore::write_record(SourceIndex index) {
    const Slot& slot = this->slot(index);
    Source& source = sources_->at(index);
    const auto state = slot.window.state();
    Sector sector;
    sector.generation = slot.generation + 1;
    sector.fresh = state.fresh ? 1 : 0;
    sector.current = state.current;
    sector.seen = state.seen;
    sector.owner = owner_of(source);
    sector.signature = signature_of(source, sector);
    Change change;
    change.offset = slot.offset + (sector.generation % 2) * sector_size;
    std::memcpy(change.sector.data(), &sector, sizeof sector);
    return change;
}

SequenceVerdict SequenceStore::accept(SourceIndex source, std::uint64_t number) {
    const auto verdict = slot(source).window.accept(number);
    if (is_accepted(verdict)) {
        changed_.insert(source);
    }
    return verdict;
}

std::vector<SequenceStore::Change> SequenceStore::take_changes() {
    std::vector<Change> changes;
    on_their_way_.assign(changed_.begin(), changed_.end());
    changed_.clear();
    changes.reserve(on_their_way_.size());
    for (const auto source : on_their_way_) {
        changes.push_back(write_record(source));
    }
    return changes;
}

std::expected<void, std::string> SequenceStore::write_changes(int descriptor,
                                                              const std::vector<Change>& changes) {
    for (const auto& change : changes) {
        ssize_t written = 0;
        do {
            written = ::pwrite(descriptor, change.sector.data(), change.sector.size(),
                               static_cast<off_t>(change.offset));
        } while (written < 0 && errno == EINTR);
        if (written != static_cast<ssize_t>(change.sector.size())) {
            return failed("sequences", "write");
        }
    }
    if (::fdatasync(descriptor) != 0) {
        return failed("sequences", "bring it to the medium");
    }
    return {};
}

void SequenceStore::settled(bool written) {
    for (const auto source : std::exchange(on_their_way_, {})) {
        if (written) {
            ++slot(source).generation;
        } else {
            changed_.insert(source);  // to the same sector: the other one is still good
        }
    }
}

std::expected<void, std::string> SequenceStore::save(const std::vector<SourceIndex>& sources) {
    changed_.insert(sources.begin(), sources.end());
    auto written = write_changes(file_.get(), take_changes());
    settled(written.has_value());
    return written;
}

std::expected<std::size_t, std::string> SequenceStore::record_new() {
    std::vector<SourceIndex> fresh;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        const auto index = SourceIndex{static_cast<std::uint32_t>(i)};
        if (sources_->at(index).config->udp && slot(index).record == SequenceRecord::none) {
            fresh.push_back(index);
        }
    }
    for (const auto index : fresh) {
        if (auto made = reset(index, {}); !made) {
            return std::unexpected{made.error()};
        }
    }
    return fresh.size();
}

std::expected<void, std::string> SequenceStore::reset(SourceIndex index,
                                                      std::optional<std::uint64_t> number) {
    Slot& slot = this->slot(index);
    const bool fresh = slot.record == SequenceRecord::none;
    if (fresh) {
        const std::uint64_t end = end_ + record_size;
        const lib::FileDescriptor parent{::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (::ftruncate(file_.get(), static_cast<off_t>(end)) != 0 || ::fsync(file_.get()) != 0 || !parent ||
            ::fsync(parent.get()) != 0) {
            return failed(directory_ / "sequences", "make room for a record");
        }
        slot.offset = end_;
        end_ = end;
    }
    const bool damaged = slot.record == SequenceRecord::damaged;
    slot.window = number ? SequenceWindow::after(*number) : SequenceWindow{};
    if (auto saved = save({index}); !saved) {
        return saved;
    }
    if (damaged) {
        // The damaged sector may be the other one.
        if (auto saved = save({index}); !saved) {
            return saved;
        }
    }
    slot.record = SequenceRecord::good;
    return {};
}

}  // namespace flowtap::control
