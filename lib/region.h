// The two shared-memory regions between control and dataplane.
//
// Each is a memfd that its creator maps writable once and then seals (F_SEAL_SHRINK, F_SEAL_GROW,
// F_SEAL_FUTURE_WRITE, F_SEAL_SEAL): whoever receives the descriptor can only read, and no access to it can
// fault. Where things are in a region follows from (layout_version, max_taps, worker_count), which both sides
// know from their own program and configuration: no offset, size or count is ever read from the peer's
// region.
//
// Who writes what: control writes all of the command region, the dataplane all of the status region; within
// it, per-field comments say which thread.
#pragma once

#include "lib/file_descriptor.h"
#include "lib/records.h"
#include "lib/ring.h"
#include "lib/status.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace flowtap::lib {

inline constexpr std::size_t command_capacity = 4096;
inline constexpr std::size_t completion_capacity = 4096;

/// One life of a process: a restarted one has another, later one.
enum class Epoch : std::uint64_t {};

/// CLOCK_BOOTTIME in nanoseconds: grows from process to process.
Epoch new_epoch();

/// What the size of the status region depends on; equal on both sides, or the link is refused.
struct RegionShape {
    std::uint32_t max_taps = 0;
    std::uint32_t worker_count = 0;  ///< at most max_workers

    bool operator==(const RegionShape&) const = default;
};

inline constexpr std::uint64_t command_magic = 0x646d'6320'7061'7466;  ///< "ftap cmd"
inline constexpr std::uint64_t status_magic = 0x7473'6420'7061'7466;   ///< "ftap dst"

/// Written once by the creator, before the descriptor leaves it.
struct alignas(64) RegionHeader {
    std::uint64_t magic = 0;
    std::uint32_t layout_version = 0;
    std::uint32_t worker_count = 0;
    std::uint32_t max_taps = 0;
    std::uint32_t reserved = 0;
    std::uint64_t size = 0;  ///< of the region, bytes
    Epoch epoch{};

    bool operator==(const RegionHeader&) const = default;
};

using CommandRing = RingMemory<CommandRecord, command_capacity>;
using CommandProducer = RingProducer<CommandRecord, command_capacity>;
using CommandConsumer = RingConsumer<CommandRecord, command_capacity>;
using CompletionRing = RingMemory<CompletionRecord, completion_capacity>;
using CompletionProducer = RingProducer<CompletionRecord, completion_capacity>;
using CompletionConsumer = RingConsumer<CompletionRecord, completion_capacity>;

/// All of the command region. Control's main thread writes; the dataplane's manager reads.
struct CommandBlock {
    RegionHeader header;
    alignas(64) Counter heartbeat;   ///< grows at least every 100 ms
    RingIndex completions_consumed;  ///< of StatusBlock::completions
    CommandRing commands;
};

/// The fixed part of the status region; TapCounters[worker_count][max_taps] follow at tap_counters_offset,
/// and after them CopyLosses[worker_count][max_taps]. The dataplane's manager writes, except where
/// lib/status.h names a worker; control reads.
struct StatusBlock {
    RegionHeader header;
    RingIndex commands_consumed;  ///< of CommandBlock::commands
    CompletionRing completions;
    Status status;
};

inline constexpr std::size_t region_alignment = 4096;

constexpr std::size_t round_up(std::size_t bytes, std::size_t alignment) {
    return (bytes + alignment - 1) / alignment * alignment;
}

inline constexpr std::size_t tap_counters_offset = round_up(sizeof(StatusBlock), 64);
inline constexpr std::size_t command_region_size = round_up(sizeof(CommandBlock), region_alignment);

constexpr std::size_t tap_losses_offset(const RegionShape& shape) {
    return tap_counters_offset + std::size_t{shape.max_taps} * shape.worker_count * sizeof(TapCounters);
}

constexpr std::size_t status_region_size(const RegionShape& shape) {
    return round_up(
        tap_losses_offset(shape) + std::size_t{shape.max_taps} * shape.worker_count * sizeof(CopyLosses),
        region_alignment);
}

/// A shared mapping and its descriptor; both are released together. Left out of core dumps. Move-only.
class Mapping {
  public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// A new zeroed memfd of the size, all of it present, mapped writable here and nowhere else: it is sealed
    /// before this returns. `name` is what /proc shows. Errors name the call and its cause.
    static std::expected<Mapping, std::string> create(const char* name, std::size_t size);

    /// Takes a descriptor that a peer sent and maps it read-only. Refused unless it is a memfd of ordinary
    /// pages with all the seals above and exactly the size.
    static std::expected<Mapping, std::string> receive(FileDescriptor descriptor, std::size_t size);

    std::byte* data() { return data_; }
    const std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }
    int descriptor() const { return descriptor_.get(); }

  private:
    Mapping(FileDescriptor descriptor, std::byte* data, std::size_t size)
        : descriptor_(std::move(descriptor)), data_(data), size_(size) {}

    FileDescriptor descriptor_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// The command region as its owner, control, has it. Addresses in it stay valid when it is moved.
class CommandRegion {
  public:
    /// Locked in memory, since keys cross it (needs 1 MiB of RLIMIT_MEMLOCK, or CAP_IPC_LOCK).
    static std::expected<CommandRegion, std::string> create(Epoch epoch);

    CommandBlock& block() { return *block_; }
    const CommandBlock& block() const { return *block_; }
    Epoch epoch() const { return block_->header.epoch; }
    int descriptor() const { return mapping_.descriptor(); }

    /// Empties both rings on this side, wiping what is in the records: for the start of a link.
    void restart_rings();

  private:
    explicit CommandRegion(Mapping mapping);
    Mapping mapping_;
    CommandBlock* block_;
};

/// The command region as the dataplane has it: read-only. Nothing in it may be believed.
class CommandView {
  public:
    /// The header must be what this program would have written, with any epoch. Takes the descriptor.
    static std::expected<CommandView, std::string> receive(FileDescriptor descriptor);

    const CommandBlock& block() const { return *block_; }
    Epoch epoch() const { return epoch_; }

  private:
    CommandView(Mapping mapping, Epoch epoch);
    Mapping mapping_;
    const CommandBlock* block_;
    Epoch epoch_;
};

/// The status region as its owner, the dataplane, has it. Every page is present: a worker's first count
/// faults no page in. Addresses in it stay valid when it is moved.
class StatusRegion {
  public:
    static std::expected<StatusRegion, std::string> create(const RegionShape& shape, Epoch epoch);

    StatusBlock& block() { return *block_; }
    const StatusBlock& block() const { return *block_; }
    Status& status() { return block_->status; }
    /// One worker's, by TapSlot; worker < worker_count.
    std::span<TapCounters> taps(std::size_t worker) {
        return taps_.subspan(worker * shape_.max_taps, shape_.max_taps);
    }
    std::span<CopyLosses> losses(std::size_t worker) {
        return losses_.subspan(worker * shape_.max_taps, shape_.max_taps);
    }
    const RegionShape& shape() const { return shape_; }
    Epoch epoch() const { return block_->header.epoch; }
    int descriptor() const { return mapping_.descriptor(); }

    /// Empties both rings on this side; counters stay: for the start of a link.
    void restart_rings();

  private:
    StatusRegion(Mapping mapping, const RegionShape& shape);
    Mapping mapping_;
    StatusBlock* block_;
    RegionShape shape_;
    std::span<TapCounters> taps_;
    std::span<CopyLosses> losses_;
};

/// The status region as control has it: read-only.
class StatusView {
  public:
    static std::expected<StatusView, std::string> receive(FileDescriptor descriptor,
                                                          const RegionShape& shape);

    const StatusBlock& block() const { return *block_; }
    const Status& status() const { return block_->status; }
    /// One worker's, by TapSlot; worker < worker_count.
    std::span<const TapCounters> taps(std::size_t worker) const {
        return taps_.subspan(worker * shape_.max_taps, shape_.max_taps);
    }
    std::span<const CopyLosses> losses(std::size_t worker) const {
        return losses_.subspan(worker * shape_.max_taps, shape_.max_taps);
    }
    const RegionShape& shape() const { return shape_; }
    Epoch epoch() const { return epoch_; }

  private:
    StatusView(Mapping mapping, const RegionShape& shape, Epoch epoch);
    Mapping mapping_;
    const StatusBlock* block_;
    RegionShape shape_;
    std::span<const TapCounters> taps_;
    std::span<const CopyLosses> losses_;
    Epoch epoch_;
};

}  // namespace flowtap::lib
