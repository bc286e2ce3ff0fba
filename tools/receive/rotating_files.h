// Originals in a folder of pcap files, for a receiver that runs for ever: a new file by size and by age.
//
// A file is written as NAME.pcap.partial and gets its own name, NAME.pcap, when it is complete: whoever looks
// for *.pcap finds whole files only. What a receiver that was killed left stays as it is, a .partial file.
// NAME is flowtap-, the UTC time of its first packet's writing, and a number that grows: the order of names
// is the order of files. No file is there without a packet in it, none is ever overwritten, and each packet
// is in one file. (Complete for other processes: what a machine that loses its power has on its disk is the
// file system's affair.)
//
// Not thread-safe: one owner.
#pragma once

#include "tools/receive/capture.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace flowtap::tools::receive {

struct Rotation {
    std::filesystem::path folder;
    std::optional<std::uint64_t> bytes;           ///< a file is no longer, unless one packet is
    std::optional<std::chrono::nanoseconds> age;  ///< since its first packet: it is complete then
    std::optional<std::size_t> keep;              ///< complete files; the oldest go. Not 0
};

class RotatingFiles {
  public:
    using Clock = std::chrono::steady_clock;

    explicit RotatingFiles(Rotation rotation) : rotation_(std::move(rotation)) {}
    RotatingFiles(const RotatingFiles&) = delete;
    RotatingFiles& operator=(const RotatingFiles&) = delete;
    RotatingFiles(RotatingFiles&&) = default;
    RotatingFiles& operator=(RotatingFiles&&) = default;
    ~RotatingFiles() = default;

    /// Errors say what could not be done, and why; the packet is lost then.
    std::expected<void, std::string> write(std::span<const std::uint8_t> packet, const timeval& time,
                                           Clock::time_point now);
    /// Brings what was written to the file, and completes one that is old enough.
    std::expected<void, std::string> tend(Clock::time_point now);
    /// Completes the file that is being written, if there is one.
    std::expected<void, std::string> close();

    /// Complete files, those that have been deleted included.
    std::uint64_t completed() const { return completed_; }

  private:
    std::expected<void, std::string> open(Clock::time_point now);
    void delete_oldest() const;

    Rotation rotation_;
    std::optional<Sink> sink_;
    std::filesystem::path name_;  ///< of the file that is being written, when it is complete
    Clock::time_point opened_;
    std::uint64_t bytes_ = 0;
    std::uint64_t number_ = 0;
    std::uint64_t completed_ = 0;
};

}  // namespace flowtap::tools::receive
