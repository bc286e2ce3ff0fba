#include "control/application.h"

#include "control/peer_credentials.h"
#include "control/udp_socket.h"
#include "control/unix_listener.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

namespace flowtap::control {

namespace {

constexpr std::chrono::milliseconds tick_time{100};
constexpr unsigned ticks_per_second = 10;
constexpr std::uint64_t events_per_second = 20;

std::string joined(const std::vector<std::string>& errors) {
    std::string text;
    for (const auto& error : errors) {
        text += (text.empty() ? "" : "\n") + error;
    }
    return text;
}

SequenceStore open_sequences(const lib::Config& config, Sources& sources) {
    auto store = SequenceStore::open(config.control.state_dir, sources);
    if (!store) {
        throw std::runtime_error{store.error()};
    }
    for (std::uint32_t i = 0; i < sources.size() && !config.udp.listen.empty(); ++i) {
        if (config.sources[i].udp && store->record(SourceIndex{i}) != SequenceRecord::good) {
            spdlog::error("security: dtcp: {} (source {})", to_string(SecurityReason::no_sequence_record),
                          i + 1);
        }
    }
    return std::move(*store);
}

/// IPv4 and IPv6; a machine may have but one of them.
std::array<lib::FileDescriptor, 2> notification_sockets() {
    std::array<lib::FileDescriptor, 2> sockets;
    for (const auto family : {lib::Family::ipv4, lib::Family::ipv6}) {
        if (auto socket = open_udp(family)) {
            sockets[family == lib::Family::ipv4 ? 0 : 1] = std::move(*socket);
        }
    }
    return sockets;
}

std::expected<lib::FileDescriptor, Trouble> lock_directory(const std::filesystem::path& directory,
                                                           const Account& account) {
    const auto file = directory / "lock";
    lib::FileDescriptor lock{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!lock) {
        return std::unexpected{
            Trouble{errno == EACCES ? ExitCode::privilege : ExitCode::failure,
                    fmt::format("{}: cannot open: {}", file.string(), std::strerror(errno))}};
    }
    if (::geteuid() == 0) {
        static_cast<void>(::fchown(lock.get(), account.uid, account.gid));
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return std::unexpected{
            Trouble{ExitCode::failure, fmt::format("{}: another flowtap-control is running", file.string())}};
    }
    return lock;
}

}  // namespace

std::expected<OpenedKeys, Trouble> open_keys(const lib::Config& config) {
    auto account = choose_account(config.control.user);
    if (!account) {
        return std::unexpected{account.error()};
    }
    if (::geteuid() == 0) {
        // Keys and the command region are locked in memory; as the account that we become there is little of
        // that.
        const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
        static_cast<void>(::setrlimit(RLIMIT_MEMLOCK, &unlimited));
    }
    auto sources = Sources::load(config);
    if (!sources) {
        return std::unexpected{Trouble{ExitCode::configuration, joined(sources.error())}};
    }
    auto sas = load_sas(config);
    if (!sas) {
        return std::unexpected{Trouble{ExitCode::configuration, joined(sas.error())}};
    }
    const auto& state_dir = config.control.state_dir;
    if (auto made = prepare_directory(state_dir, 0700); !made) {
        return std::unexpected{made.error()};
    }
    if (auto given = give_directory(state_dir, *account); !given) {
        return std::unexpected{given.error()};
    }
    auto lock = lock_directory(config.control.state_dir, *account);
    if (!lock) {
        return std::unexpected{lock.error()};
    }
    return OpenedKeys{std::move(*account), std::move(*sources), std::move(*sas), std::move(*lock)};
}

std::expected<Opened, Trouble> open_all(const lib::Config& config) {
    auto keys = open_keys(config);
    if (!keys) {
        return std::unexpected{keys.error()};
    }
    const auto dtcp_group = find_group("flowtap-operation");
    const auto ctl_group = find_group("flowtap");
    for (const auto* const group : {&dtcp_group, &ctl_group}) {
        if (!*group) {
            return std::unexpected{Trouble{ExitCode::privilege, group->error()}};
        }
    }
    auto region = lib::CommandRegion::create(lib::new_epoch());
    if (!region) {
        return std::unexpected{Trouble{ExitCode::privilege, region.error()}};
    }
    const auto& run_dir = config.control.run_dir;
    if (auto made = prepare_directory(run_dir, 0755); !made) {
        return std::unexpected{made.error()};
    }
    auto dtcp = listen_unix(run_dir / "dtcp.sock", keys->account.uid, *dtcp_group);
    if (!dtcp) {
        return std::unexpected{dtcp.error()};
    }
    auto ctl = listen_unix(run_dir / "ctl.sock", keys->account.uid, *ctl_group);
    if (!ctl) {
        return std::unexpected{ctl.error()};
    }
    auto udp = open_udp(config.udp);
    if (!udp) {
        return std::unexpected{udp.error()};
    }
    return Opened{std::move(keys->account),
                  std::move(keys->sources),
                  std::move(keys->sas),
                  std::move(*region),
                  std::move(keys->lock),
                  std::move(*dtcp),
                  std::move(*ctl),
                  std::move(*udp),
                  *dtcp_group,
                  *ctl_group};
}

Application::Application(const lib::Config& config, Opened opened, CriteriaIds ids)
    : config_{config},
      opened_{std::move(opened)},
      ids_{std::move(ids)},
      associations_{std::move(opened_.sas)},
      tasking_{config.dataplane.max_taps, opened_.sources.size()},
      service_{config, opened_.sources, ids_, tasking_},
      sequences_{open_sequences(config, opened_.sources)},
      datagrams_{service_, opened_.sources, sequences_},
      notifier_{opened_.sources, service_.counters()},
      alerts_{config, tasking_, notifier_, service_.counters()},
      granter_{io_, config.control.state_dir},
      link_{{io_, config, opened_.sources, tasking_, associations_, granter_, service_, opened_.region},
            [this] { settle(); }},
      dtcp_{io_,
            std::move(opened_.dtcp),
            opened_.dtcp_group,
            std::chrono::seconds{config.ssh.idle_timeout},
            service_,
            [this] { link_.step(); }},
      udp_{io_,        std::move(opened_.udp), datagrams_,
           sequences_, service_.counters(),    [this] { link_.step(); }},
      notifications_{io_, notification_sockets(), notifier_, service_.counters()},
      ctl_{io_, std::move(opened_.ctl), opened_.ctl_group,
           [this](std::string_view line) {
               const ViewSources sources{config_, tasking_, service_, associations_, link_, load_, started_};
               return answer_command(sources, line, Now::read())
                   .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
           }},
      timer_{io_},
      signals_{io_, SIGTERM, SIGINT},
      started_{Now::read().boot} {
    std::vector<KeyDigest> keys;
    for (const auto& association : associations_.all()) {
        keys.push_back(association.digest);
    }
    associations_.begin(granter_.uses(keys), Now::read());
}

void Application::run() {
    ::signal(SIGPIPE, SIG_IGN);
    signals_.async_wait([this](const asio::error_code& error, int) {
        if (!error) {
            stop();
        }
    });
    asio::co_spawn(io_, link_.run(), asio::detached);
    asio::co_spawn(io_, dtcp_.run(), asio::detached);
    asio::co_spawn(io_, dtcp_.watch(), asio::detached);
    asio::co_spawn(io_, ctl_.run(), asio::detached);
    udp_.start();
    tick();
    spdlog::info("ready: serving {} and {}", (config_.control.run_dir / "dtcp.sock").string(),
                 (config_.control.run_dir / "ctl.sock").string());
    io_.run();
}

void Application::stop() {
    spdlog::info("stopping; the taps stay with the dataplane");
    signals_.cancel();
    timer_.cancel();
    dtcp_.stop();
    udp_.stop();
    notifications_.stop();
    ctl_.stop();
    link_.stop();
    io_.stop();
}

void Application::settle() {
    service_.advance(Now::read());
    work();
    notify();
    const auto touched = service_.take_touched();
    dtcp_.pump(touched);
    udp_.pump(touched);
    notify();  // of what started just now
    log_events();
}

void Application::notify() {
    const auto now = Now::read();
    alerts_.ended(tasking_.take_events(), now);
    alerts_.asked(service_.take_noops(), now);
    for (const auto source : datagrams_.take_rollovers()) {
        notifier_.notify(source, lib::dtcp::RolloverNotification{}, now);
    }
    if (tasking_.started() && !std::exchange(restart_told_, true) && tasking_.taps().size() == 0) {
        notifier_.notify_all(lib::dtcp::RestartNotification{"restarted: no criteria are installed"}, now);
    }
    for (const auto& [source, text] : notifier_.take_for_sessions()) {
        service_.notify(source, text, now);
    }
    notifications_.pump();
}

void Application::work() {
    if (working_) {
        return;
    }
    // A slice now, the next after everybody else has had a turn.
    if (service_.work(Now::read())) {
        working_ = true;
        asio::post(io_, [this] {
            working_ = false;
            settle();
        });
    }
}

/// All of them at once would hold up whoever asks meanwhile.
void Application::look_at_taps() {
    if (tasking_.tick_some(Now::read())) {
        asio::post(io_, [this] { look_at_taps(); });
        return;
    }
    looking_ = false;
    link_.step();
}

void Application::tick() {
    timer_.expires_after(tick_time);
    timer_.async_wait([this](const asio::error_code& error) {
        if (error) {
            return;
        }
        tick();
    });
    alerts_.begin();
    if (!std::exchange(looking_, true)) {
        look_at_taps();
    }
    const auto now = Now::read();
    service_.tick(now);
    link_.tick(now);
    if (++ticks_ % ticks_per_second == 0) {
        alerts_.tick(now);
        if (const auto* const status = link_.status()) {
            load_.sample(*status);
        }
        const auto ignored = service_.counters()[ServiceCounter::parameters_ignored];
        if (ignored != ignored_logged_) {
            spdlog::info("dtcp: {} unknown X- parameters ignored", ignored - ignored_logged_);
            ignored_logged_ = ignored;
        }
        if (events_silent_ != 0) {
            spdlog::warn("security: {} more events in this second", events_silent_);
        }
        events_logged_ = 0;
        events_silent_ = 0;
    }
}

void Application::log_events() {
    for (const auto& event : service_.take_events()) {
        log_event(event);
    }
    for (const auto& event : datagrams_.take_events()) {
        log_event(event);
    }
}

void Application::log_event(const SecurityEvent& event) {
    // The log is not the client's to fill; the counters have them all.
    if (events_logged_ == events_per_second) {
        ++events_silent_;
        return;
    }
    ++events_logged_;
    const auto source =
        event.source ? fmt::format("source {}", static_cast<std::uint32_t>(*event.source) + 1) : "no source";
    spdlog::warn("security: dtcp: {} (account {}, {})", to_string(event.reason), event.user, source);
}

}  // namespace flowtap::control
