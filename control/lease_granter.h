// Has leases recorded by a thread of its own: a medium may take its time, and nothing else waits for it.
#pragma once

#include "control/lease_store.h"

#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace flowtap::control {

class LeaseGranter {
  public:
    using Done = std::function<void(std::expected<lib::Lease, std::string>)>;

    /// `io` runs the answers and must outlive this.
    LeaseGranter(asio::io_context& io, std::filesystem::path directory);
    ~LeaseGranter();
    LeaseGranter(const LeaseGranter&) = delete;
    LeaseGranter& operator=(const LeaseGranter&) = delete;

    /// What is on record of the keys, in their order; nothing of any where the record
    /// cannot be read, and then no lease is granted either. Waits for the medium: before the event loop runs.
    std::vector<KeyUse> uses(const std::vector<KeyDigest>& keys);

    /// `done` is called on `io`. The record must not say less than `witness`.
    void grant(const KeyDigest& key, const SequenceSpace& space, std::uint64_t witness, Done done);

    /// `failed` is called on `io` with the reason, and what was to be recorded, if it could not be.
    using Failed = std::function<void(std::string, std::vector<UseRecord>)>;
    void record(std::vector<UseRecord> uses, Failed failed);

  private:
    std::expected<void, std::string> open_now();
    std::expected<lib::Lease, std::string> grant_now(const KeyDigest& key, const SequenceSpace& space,
                                                     std::uint64_t witness);

    asio::io_context& io_;
    std::filesystem::path directory_;
    std::optional<LeaseStore> store_;  ///< the thread's; empty: to be opened
    asio::thread_pool thread_{1};
};

}  // namespace flowtap::control
