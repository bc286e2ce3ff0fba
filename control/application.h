// The control process put together: what is read and opened as root, and the event loop after that.
#pragma once

#include "control/alerts.h"
#include "control/associations.h"
#include "control/criteria_ids.h"
#include "control/ctl_server.h"
#include "control/datagram_service.h"
#include "control/dataplane_link.h"
#include "control/dtcp_server.h"
#include "control/lease_granter.h"
#include "control/notifier.h"
#include "control/privileges.h"
#include "control/sequence_store.h"
#include "control/service.h"
#include "control/sources.h"
#include "control/udp_server.h"
#include "control/views.h"
#include "control/worker_load.h"

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <expected>
#include <vector>

namespace flowtap::control {

/// Everything that may need root: secrets, directories, sockets.
struct Opened {
    Account account;
    Sources sources;
    ConfiguredSas sas;
    lib::CommandRegion region;
    lib::FileDescriptor lock;  ///< held: no second process writes to the state directory
    lib::FileDescriptor dtcp;
    lib::FileDescriptor ctl;
    std::vector<lib::FileDescriptor> udp;
    gid_t dtcp_group = 0;
    gid_t ctl_group = 0;
};

std::expected<Opened, Trouble> open_all(const lib::Config& config);

/// Without sockets: only what --new-keys needs, and the state directory's lock.
struct OpenedKeys {
    Account account;
    Sources sources;
    ConfiguredSas sas;
    lib::FileDescriptor lock;
};

std::expected<OpenedKeys, Trouble> open_keys(const lib::Config& config);

/// Runs until SIGTERM or SIGINT, as the account that we are by now.
class Application {
  public:
    /// Throws std::runtime_error where the record of sequence numbers cannot be read.
    Application(const lib::Config& config, Opened opened, CriteriaIds ids);

    void run();

  private:
    /// After anything that may have moved something.
    void settle();
    void tick();
    void look_at_taps();
    void work();
    void log_events();
    void log_event(const SecurityEvent& event);
    void notify();
    void stop();

    const lib::Config& config_;
    Opened opened_;
    CriteriaIds ids_;
    Associations associations_;
    asio::io_context io_{1};
    Tasking tasking_;
    Service service_;
    SequenceStore sequences_;
    DatagramService datagrams_;
    Notifier notifier_;
    Alerts alerts_;
    LeaseGranter granter_;
    DataplaneLink link_;
    DtcpServer dtcp_;
    UdpServer udp_;
    NotificationSender notifications_;
    CtlServer ctl_;
    WorkerLoad load_;
    asio::steady_timer timer_;
    asio::signal_set signals_;
    std::uint64_t started_ = 0;
    unsigned ticks_ = 0;
    bool working_ = false;
    bool looking_ = false;  ///< slices of a tick of tasking_ are under way
    bool restart_told_ = false;
    std::uint64_t events_logged_ = 0;  ///< this second
    std::uint64_t events_silent_ = 0;
    std::uint64_t ignored_logged_ = 0;  ///< of parameters-ignored
};

}  // namespace flowtap::control
