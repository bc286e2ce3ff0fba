// Control's end of the link to the dataplane: connects again and again, restores everything, then carries
// changes.
//
// After each connection, in this order: the registry changes hands (the dataplane's, when it kept one; else
// ours), leases are recorded, everything is sent as one resync, and only its completion makes the link ready.
// One commit is on its way at a time; what comes up meanwhile goes into the next.
//
// A dataplane that hangs is noticed within a second: no change is sent any more. When it does not go on
// within the time that operations wait, it is treated like a dead one, and the link is made again. Thread:
// the event loop's.
#pragma once

#include "control/associations.h"
#include "control/lease_granter.h"
#include "control/restore.h"
#include "control/service.h"
#include "control/tasking.h"
#include "lib/heartbeat.h"
#include "lib/link.h"

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace flowtap::control {

class DataplaneLink {
  public:
    struct Parts {
        asio::io_context& io;
        const lib::Config& config;
        Sources& sources;
        Tasking& tasking;
        Associations& associations;
        LeaseGranter& granter;
        Service& service;
        lib::CommandRegion& region;
    };

    /// `progress` is called after anything that the service may have to answer.
    DataplaneLink(const Parts& parts, std::function<void()> progress);
    DataplaneLink(const DataplaneLink&) = delete;
    DataplaneLink& operator=(const DataplaneLink&) = delete;
    ~DataplaneLink();

    /// Until stop(). Call once.
    asio::awaitable<void> run();
    void stop();

    /// Changes may wait in tasking: sends them, if the link is free.
    void step();
    /// Every 100 ms.
    void tick(Now now);

    /// Everything is in the dataplane, and changes go through.
    bool ready() const {
        return (phase_ == Phase::ready || phase_ == Phase::committing) && !parts_.tasking.resync_wanted() &&
               !hanging();
    }
    /// nullptr: there is no link.
    const lib::StatusView* status() const { return session_ ? &session_->status : nullptr; }
    pid_t pid() const { return session_ ? session_->pid : 0; }
    /// Why there is no link.
    const std::string& trouble() const { return trouble_; }
    /// Ports whose device has disappeared, by index.
    const std::set<std::uint32_t>& lost_ports() const { return lost_ports_; }
    std::uint64_t connections() const { return connections_; }

  private:
    enum class Phase : std::uint8_t { down, hello, keeping, leasing, resyncing, ready, committing };
    struct LinkSession {
        lib::StatusView status;
        pid_t pid = 0;
        lib::CommandProducer commands;
        lib::CompletionConsumer completions;
        lib::HeartbeatWatch heartbeat{lib::HeartbeatWatch::Clock::now()};
        lib::HeartbeatWatch last_chance{lib::HeartbeatWatch::Clock::now(),
                                        std::chrono::nanoseconds{Tasking::patience}};
        bool hanging = false;
    };

    bool hanging() const { return session_ && session_->hanging; }
    void watch();
    void connect();
    void lose(const std::string& reason);
    void poll();
    void bring_up(lib::DataplaneUp up);
    bool take_registry(lib::FileDescriptor kept);
    void keep_registry();
    void ask(const std::vector<Associations::Need>& needs);
    void take_completions();
    void complete(const lib::CompletionRecord& record);
    void advance();
    void look_at_lifetimes(Now now);
    void record(std::vector<UseRecord> uses);
    void push();
    void commit(Phase phase);

    Parts parts_;
    std::function<void()> progress_;
    std::optional<lib::LinkClient> client_;
    std::optional<LinkSession> session_;
    asio::posix::stream_descriptor readable_;
    asio::steady_timer retry_;
    asio::steady_timer push_again_;
    Phase phase_ = Phase::down;
    lib::CommandBatch batch_;
    bool batch_whole_ = false;  ///< the commit record is in the batch
    std::uint64_t token_ = 0;
    std::uint64_t resync_not_before_ = 0;  ///< CLOCK_BOOTTIME, ns
    std::uint64_t lease_retry_ = 0;
    std::uint64_t link_number_ = 0;  ///< answers of the granter for an earlier link are late
    std::uint64_t connections_ = 0;
    std::string trouble_ = "not connected yet";
    std::set<std::uint32_t> lost_ports_;
    std::vector<UseRecord> unrecorded_;
    std::set<std::string> alarms_;  ///< of the associations, as they were last logged
    bool stopping_ = false;
};

}  // namespace flowtap::control
