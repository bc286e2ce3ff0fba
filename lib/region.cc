#include "lib/region.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/magic.h>
#include <memory>
#include <new>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <utility>

namespace flowtap::lib {
namespace {

constexpr int required_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

std::unexpected<std::string> failed(std::string_view call) {
    return std::unexpected(fmt::format("{}: {}", call, std::strerror(errno)));
}

RegionHeader make_header(std::uint64_t magic, std::size_t size, const RegionShape& shape, Epoch epoch) {
    return {.magic = magic,
            .layout_version = layout_version,
            .worker_count = shape.worker_count,
            .max_taps = shape.max_taps,
            .size = size,
            .epoch = epoch};
}

/// The header's epoch, if the rest of it is what is expected. Works on a copy: the peer may write meanwhile.
std::expected<Epoch, std::string> check_header(const RegionHeader& shared, const RegionHeader& expected) {
    RegionHeader header = shared;
    const Epoch epoch = std::exchange(header.epoch, expected.epoch);
    if (header != expected) {
        return std::unexpected(
            fmt::format("the region's header is not the expected one: magic {:#x}, layout {}, {} taps, {} "
                        "workers, {} bytes; "
                        "expected {:#x}, {}, {}, {}, {}",
                        header.magic, header.layout_version, header.max_taps, header.worker_count,
                        header.size, expected.magic, expected.layout_version, expected.max_taps,
                        expected.worker_count, expected.size));
    }
    return epoch;
}

template <typename Block>
const Block* view_of(const std::byte* data) {
    return std::launder(reinterpret_cast<const Block*>(data));
}

}  // namespace

Epoch new_epoch() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return Epoch{static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                 static_cast<std::uint64_t>(now.tv_nsec)};
}

Mapping::Mapping(Mapping&& other) noexcept
    : descriptor_(std::move(other.descriptor_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Mapping::~Mapping() {
    if (data_ != nullptr) {
        ::munmap(data_, size_);
    }
}

std::expected<Mapping, std::string> Mapping::create(const char* name, std::size_t size) {
    FileDescriptor descriptor(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!descriptor) {
        return failed("memfd_create");
    }
    const auto length = static_cast<off_t>(size);
    if (::ftruncate(descriptor.get(), length) != 0) {
        return failed("ftruncate");
    }
    // All pages now: a reader that finds one missing when memory is short would be killed by SIGBUS.
    if (::fallocate(descriptor.get(), 0, 0, length) != 0) {
        return failed(fmt::format("fallocate of {} bytes", size));
    }
    void* data =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor.get(), 0);
    if (data == MAP_FAILED) {
        return failed(fmt::format("mmap of {} bytes", size));
    }
    Mapping mapping(std::move(descriptor), static_cast<std::byte*>(data), size);
    if (::madvise(data, size, MADV_DONTDUMP) != 0) {
        return failed("madvise");
    }
    if (::fcntl(mapping.descriptor(), F_ADD_SEALS, required_seals) != 0) {
        return failed("fcntl(F_ADD_SEALS)");
    }
    return mapping;
}

std::expected<Mapping, std::string> Mapping::receive(FileDescriptor descriptor, std::size_t size) {
    const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
    if (seals < 0) {
        return std::unexpected(std::string("the descriptor is not a memfd"));
    }
    if ((seals & required_seals) != required_seals) {
        return std::unexpected(
            fmt::format("the memfd has seals {:#x}: {:#x} are needed", seals, required_seals));
    }
    struct statfs filesystem{};
    struct stat status{};
    if (::fstatfs(descriptor.get(), &filesystem) != 0 || ::fstat(descriptor.get(), &status) != 0) {
        return failed("fstat");
    }
    // A hole in a hugetlb file may fail to fill, and kills the reader with SIGBUS; so may one here, if less
    // so.
    if (filesystem.f_type != TMPFS_MAGIC) {
        return std::unexpected(std::string("the memfd is not of ordinary pages"));
    }
    if (status.st_size != static_cast<off_t>(size)) {
        return std::unexpected(fmt::format("the memfd has {} bytes: {} are needed", status.st_size, size));
    }
    if (static_cast<std::uint64_t>(status.st_blocks) * 512 < size) {
        return std::unexpected(fmt::format("the memfd has only {} of its {} bytes allocated",
                                           static_cast<std::uint64_t>(status.st_blocks) * 512, size));
    }
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor.get(), 0);
    if (data == MAP_FAILED) {
        return failed(fmt::format("mmap of {} bytes", size));
    }
    Mapping mapping(std::move(descriptor), static_cast<std::byte*>(data), size);
    if (::madvise(data, size, MADV_DONTDUMP) != 0) {
        return failed("madvise");
    }
    return mapping;
}

CommandRegion::CommandRegion(Mapping mapping)
    : mapping_(std::move(mapping)), block_(new(mapping_.data()) CommandBlock{}) {}

std::expected<CommandRegion, std::string> CommandRegion::create(Epoch epoch) {
    auto mapping = Mapping::create("flowtap-command", command_region_size);
    if (!mapping) {
        return std::unexpected("the command region: " + mapping.error());
    }
    if (::mlock(mapping->data(), mapping->size()) != 0) {
        return failed(
            fmt::format("the command region: mlock of {} bytes (raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK)",
                        mapping->size()));
    }
    CommandRegion region(std::move(*mapping));
    region.block_->header = make_header(command_magic, command_region_size, {}, epoch);
    return region;
}

void CommandRegion::restart_rings() {
    std::memset(static_cast<void*>(&block_->commands.slots), 0, sizeof(block_->commands.slots));
    block_->commands.produced.value.store(0);
    block_->completions_consumed.value.store(0);
}

CommandView::CommandView(Mapping mapping, Epoch epoch)
    : mapping_(std::move(mapping)),
      block_(view_of<CommandBlock>(std::as_const(mapping_).data())),
      epoch_(epoch) {}

std::expected<CommandView, std::string> CommandView::receive(FileDescriptor descriptor) {
    auto mapping = Mapping::receive(std::move(descriptor), command_region_size);
    if (!mapping) {
        return std::unexpected("the command region: " + mapping.error());
    }
    const auto epoch = check_header(view_of<CommandBlock>(std::as_const(*mapping).data())->header,
                                    make_header(command_magic, command_region_size, {}, {}));
    if (!epoch) {
        return std::unexpected("the command region: " + epoch.error());
    }
    return CommandView(std::move(*mapping), *epoch);
}

StatusRegion::StatusRegion(Mapping mapping, const RegionShape& shape)
    : mapping_(std::move(mapping)), block_(new(mapping_.data()) StatusBlock{}), shape_(shape) {
    auto* counters = reinterpret_cast<TapCounters*>(mapping_.data() + tap_counters_offset);
    const std::size_t count = std::size_t{shape.max_taps} * shape.worker_count;
    std::uninitialized_value_construct_n(counters, count);
    taps_ = {std::launder(counters), count};
    auto* losses = reinterpret_cast<CopyLosses*>(mapping_.data() + tap_losses_offset(shape));
    std::uninitialized_value_construct_n(losses, count);
    losses_ = {std::launder(losses), count};
}

std::expected<StatusRegion, std::string> StatusRegion::create(const RegionShape& shape, Epoch epoch) {
    if (shape.worker_count > max_workers) {
        return std::unexpected(fmt::format("the status region: {} workers: at most {} are possible",
                                           shape.worker_count, max_workers));
    }
    const std::size_t size = status_region_size(shape);
    auto mapping = Mapping::create("flowtap-status", size);
    if (!mapping) {
        return std::unexpected("the status region: " + mapping.error());
    }
    StatusRegion region(std::move(*mapping), shape);
    region.block_->header = make_header(status_magic, size, shape, epoch);
    return region;
}

void StatusRegion::restart_rings() {
    block_->completions.produced.value.store(0);
    block_->commands_consumed.value.store(0);
}

StatusView::StatusView(Mapping mapping, const RegionShape& shape, Epoch epoch)
    : mapping_(std::move(mapping)),
      block_(view_of<StatusBlock>(std::as_const(mapping_).data())),
      shape_(shape),
      taps_(view_of<TapCounters>(std::as_const(mapping_).data() + tap_counters_offset),
            std::size_t{shape.max_taps} * shape.worker_count),
      losses_(view_of<CopyLosses>(std::as_const(mapping_).data() + tap_losses_offset(shape)), taps_.size()),
      epoch_(epoch) {}

std::expected<StatusView, std::string> StatusView::receive(FileDescriptor descriptor,
                                                           const RegionShape& shape) {
    const std::size_t size = status_region_size(shape);
    auto mapping = Mapping::receive(std::move(descriptor), size);
    if (!mapping) {
        return std::unexpected("the status region: " + mapping.error());
    }
    const auto epoch = check_header(view_of<StatusBlock>(std::as_const(*mapping).data())->header,
                                    make_header(status_magic, size, shape, {}));
    if (!epoch) {
        return std::unexpected("the status region: " + epoch.error());
    }
    return StatusView(std::move(*mapping), shape, *epoch);
}

}  // namespace flowtap::lib
