#include "control/dataplane_link.h"

#include "control/clock.h"

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <variant>

namespace flowtap::control {

namespace {

using namespace std::chrono_literals;

/// Records of one commit, about: a few hundred taps, applied in well under a millisecond.
constexpr std::size_t commit_records = 2048;
constexpr std::uint64_t refused_pause = nanoseconds_per_second;
constexpr std::uint64_t lease_pause = 10 * nanoseconds_per_second;

std::string_view to_string(lib::Refusal refusal) {
    switch (refusal) {
        case lib::Refusal::none:
            return "none";
        case lib::Refusal::malformed_record:
            return "malformed record";
        case lib::Refusal::unknown_slot:
            return "unknown slot";
        case lib::Refusal::slot_in_use:
            return "slot in use";
        case lib::Refusal::table_full:
            return "table full";
        case lib::Refusal::bad_key:
            return "unusable key";
        case lib::Refusal::bad_lease:
            return "unusable lease";
        case lib::Refusal::no_memory:
            return "no memory";
    }
    return "unknown";
}

bool same_file(int left, int right) {
    struct stat one{};
    struct stat other{};
    return ::fstat(left, &one) == 0 && ::fstat(right, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

}  // namespace

DataplaneLink::DataplaneLink(const Parts& parts, std::function<void()> progress)
    : parts_{parts},
      progress_{std::move(progress)},
      readable_{parts.io},
      retry_{parts.io},
      push_again_{parts.io} {}

DataplaneLink::~DataplaneLink() {
    if (readable_.is_open()) {
        static_cast<void>(readable_.release());
    }
}

void DataplaneLink::stop() {
    stopping_ = true;
    retry_.cancel();
    lose("stopped");
}

asio::awaitable<void> DataplaneLink::run() {
    asio::error_code ignored;
    while (!stopping_) {
        if (!client_) {
            connect();
            step();
        }
        if (client_) {
            co_await readable_.async_wait(asio::posix::stream_descriptor::wait_read,
                                          asio::redirect_error(asio::use_awaitable, ignored));
            step();
        } else {
            retry_.expires_after(100ms);
            co_await retry_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
    }
}

void DataplaneLink::connect() {
    const lib::RegionShape shape{parts_.config.dataplane.max_taps,
                                 static_cast<std::uint32_t>(parts_.config.dataplane.workers.size())};
    auto client = lib::LinkClient::connect(parts_.config.control.run_dir / "dataplane.sock", parts_.region,
                                           shape, parts_.config.digest, uid_t{0});
    if (!client) {
        if (trouble_ != client.error().message) {
            trouble_ = client.error().message;
            spdlog::warn("dataplane: {}", trouble_);
        }
        return;
    }
    client_ = std::move(*client);
    readable_.assign(client_->fd());
    phase_ = Phase::hello;
}

void DataplaneLink::lose(const std::string& reason) {
    if (!client_) {
        return;
    }
    if (session_ || trouble_ != reason) {
        spdlog::log(stopping_ ? spdlog::level::info : spdlog::level::err, "dataplane: link lost: {}", reason);
    }
    trouble_ = reason;
    parts_.tasking.link_down(Now::read());
    static_cast<void>(readable_.release());
    session_.reset();
    client_.reset();
    batch_.clear();
    push_again_.cancel();
    phase_ = Phase::down;
    ++link_number_;
}

void DataplaneLink::step() {
    poll();
    if (session_) {
        take_completions();
    }
    if (session_) {
        advance();
    }
    progress_();
    if (session_) {
        advance();  // what waited for an outcome may have become a change
    }
}

void DataplaneLink::poll() {
    while (client_) {
        auto event = client_->poll();
        if (!event) {
            return;
        }
        if (auto* const up = std::get_if<lib::DataplaneUp>(&*event)) {
            bring_up(std::move(*up));
        } else if (const auto* const lost = std::get_if<lib::DataplaneLost>(&*event)) {
            lose(lost->reason.message);
        }
    }
}

void DataplaneLink::bring_up(lib::DataplaneUp up) {
    auto& block = parts_.region.block();
    lib::CommandProducer commands{block.commands, up.status.block().commands_consumed};
    lib::CompletionConsumer completions{up.status.block().completions, block.completions_consumed};
    session_.emplace(std::move(up.status), up.pid, commands, completions);
    ++connections_;
    trouble_.clear();
    lost_ports_.clear();
    spdlog::info("dataplane: connected to process {}", session_->pid);
    if (take_registry(std::move(up.kept))) {
        parts_.tasking.link_up(session_->status, Now::read());
        phase_ = Phase::keeping;
    }
}

/// False: there is none, and the link is given up.
bool DataplaneLink::take_registry(lib::FileDescriptor kept) {
    auto& tasking = parts_.tasking;
    if (tasking.started()) {
        if (kept && !same_file(kept.get(), tasking.registry().descriptor())) {
            spdlog::warn("dataplane: keeps the registry of another control process; ours replaces it");
        }
        return true;
    }
    if (kept) {
        auto adopted = Registry::adopt(std::move(kept), parts_.config.dataplane.max_taps);
        if (adopted) {
            auto restored = restore(*adopted, parts_.sources, parts_.config);
            parts_.service.counters().add(ServiceCounter::taps_restored, restored.taps.size());
            parts_.service.counters().add(ServiceCounter::taps_not_restored, restored.rejected);
            spdlog::info("registry: {} taps go on", restored.taps.size());
            if (restored.rejected != 0) {
                spdlog::error("security: {}: {}", to_string(SecurityReason::taps_not_restored),
                              restored.rejected);
            }
            tasking.start(std::move(*adopted), std::move(restored.taps));
            return true;
        }
        spdlog::error("{}: taps are lost", adopted.error());
        parts_.service.counters().add(ServiceCounter::taps_not_restored);
    }
    auto created = Registry::create(parts_.config.dataplane.max_taps);
    if (!created) {
        lose(created.error());
        return false;
    }
    spdlog::info("registry: new, no taps");
    tasking.start(std::move(*created), {});
    return true;
}

void DataplaneLink::keep_registry() {
    const auto kept = client_->keep(parts_.tasking.registry().descriptor());
    if (!kept) {
        if (kept.error().failure != lib::LinkFailure::busy) {
            lose(kept.error().message);
        }
        return;
    }
    phase_ = Phase::leasing;
    ask(parts_.associations.begin_link(session_->status, parts_.tasking.registry(), Now::read()));
}

void DataplaneLink::ask(const std::vector<Associations::Need>& needs) {
    for (const auto& need : needs) {
        const auto done = [this, place = need.place, link = link_number_](const auto& lease) {
            if (link != link_number_) {
                return;
            }
            auto& associations = parts_.associations;
            const auto& association = associations.all()[place];
            if (!lease) {
                spdlog::error("tunnel \"{}\": SPI {:#x}: no counter lease: {}",
                              parts_.config.tunnels[association.tunnel].name,
                              static_cast<std::uint32_t>(association.sa.spi), lease.error());
            }
            ask(associations.granted(place, lease, session_->status.epoch(), session_->status,
                                     parts_.tasking.registry()));
            step();
        };
        parts_.granter.grant(need.key, need.space, need.witness, done);
    }
}

void DataplaneLink::take_completions() {
    lib::CompletionRecord record;
    while (session_) {
        const auto popped = session_->completions.pop(record);
        if (!popped) {
            lose("its completion ring is corrupt");
            return;
        }
        if (!*popped) {
            return;
        }
        complete(record);
    }
}

void DataplaneLink::complete(const lib::CompletionRecord& record) {
    auto& tasking = parts_.tasking;
    const bool waiting = phase_ == Phase::committing || phase_ == Phase::resyncing;
    switch (record.kind) {
        case lib::CompletionKind::committed:
            if (!waiting || record.id != token_) {
                lose("it confirmed a commit that was not made");
                return;
            }
            static_cast<void>(session_->commands.wipe());  // a slot may have held a key
            batch_.clear();
            if (phase_ == Phase::resyncing) {
                spdlog::info("dataplane: restored, {} taps are live", tasking.taps().size());
            }
            parts_.associations.committed(session_->status, Now::read());
            tasking.committed();
            phase_ = Phase::ready;
            return;
        case lib::CompletionKind::refused:
            if (!waiting || record.id != token_) {
                lose("it refused a commit that was not made");
                return;
            }
            static_cast<void>(session_->commands.wipe());
            batch_.clear();
            spdlog::error("dataplane: refused a change: {} (slot {})", to_string(record.refusal),
                          record.slot);
            resync_not_before_ = Now::read().boot + refused_pause;
            tasking.refused(record.refusal, record.slot);
            if (parts_.associations.in_flight()) {
                tasking.want_resync();
            }
            parts_.associations.refused(record.refusal, lib::SaSlot{record.slot});
            phase_ = Phase::ready;
            return;
        case lib::CompletionKind::tap_over:
            tasking.tap_over(lib::TapSlot{record.slot}, lib::TapId{record.id}, Now::read());
            return;
        case lib::CompletionKind::lease_low:
            if (const auto need =
                    parts_.associations.lease_low(lib::SaSlot{record.slot}, tasking.registry())) {
                ask({*need});
            }
            return;
        case lib::CompletionKind::port_lost:
            if (record.slot < parts_.config.ports.size() && lost_ports_.insert(record.slot).second) {
                spdlog::error("dataplane: port \"{}\" has lost its device",
                              parts_.config.ports[record.slot].name);
            }
            return;
        case lib::CompletionKind::none:
            break;
    }
    lose("it sent a completion of no known kind");
}

void DataplaneLink::commit(Phase phase) {
    batch_.commit(lib::Token{++token_});
    batch_whole_ = true;
    phase_ = phase;
}

void DataplaneLink::advance() {
    auto& tasking = parts_.tasking;
    if (phase_ == Phase::keeping) {
        keep_registry();
    }
    if (phase_ == Phase::ready && tasking.resync_wanted() && Now::read().boot >= resync_not_before_) {
        phase_ = Phase::leasing;
    }
    if (phase_ == Phase::leasing && !parts_.associations.waiting()) {
        batch_.clear();
        batch_whole_ = false;
        batch_.resync_begin();
        parts_.associations.fill_resync(batch_, tasking.registry());
        tasking.begin_resync();
        phase_ = Phase::resyncing;
    }
    if (phase_ == Phase::ready) {
        if (tasking.resync_wanted() || session_->hanging) {
            return;  // in a while
        }
        const bool leases = parts_.associations.fill(batch_, session_->status, tasking.registry());
        const bool taps = !leases && tasking.fill(batch_, commit_records);
        if (leases || taps) {
            commit(Phase::committing);
        }
    }
    push();
}

void DataplaneLink::push() {
    if (phase_ != Phase::committing && phase_ != Phase::resyncing) {
        return;
    }
    bool pushed = false;
    for (;;) {
        if (batch_.drained()) {
            if (batch_whole_) {
                break;
            }
            batch_.clear();
            if (parts_.tasking.fill_resync(batch_, commit_records)) {
                commit(Phase::resyncing);
            }
        }
        const auto drained = batch_.drain(session_->commands);
        if (!drained) {
            lose("its command ring index is corrupt");
            return;
        }
        pushed = true;
        if (!*drained) {
            // The ring is full: the dataplane is at work on it.
            push_again_.expires_after(1ms);
            push_again_.async_wait([this](const asio::error_code& error) {
                if (!error && session_) {
                    step();
                }
            });
            break;
        }
    }
    if (pushed) {
        client_->wake();
    }
}

void DataplaneLink::watch() {
    const auto now = lib::HeartbeatWatch::Clock::now();
    const auto counter = session_->status.status().manager.heartbeat.load(std::memory_order_relaxed);
    const bool hangs = session_->heartbeat.observe(now, counter) == lib::Health::stalled;
    if (session_->last_chance.observe(now, counter) == lib::Health::stalled) {
        lose("it does not move any more");
        return;
    }
    if (hangs != session_->hanging) {
        session_->hanging = hangs;
        trouble_ = hangs ? "it does not move" : "";
        spdlog::log(hangs ? spdlog::level::err : spdlog::level::info, "dataplane: {}",
                    hangs ? "hangs: changes wait" : "goes on");
    }
}

/// What the medium does not take now is offered again later.
void DataplaneLink::record(std::vector<UseRecord> uses) {
    parts_.granter.record(std::move(uses), [this](const std::string& reason, const auto& unrecorded) {
        spdlog::error("the use of keys is not recorded: {}", reason);
        unrecorded_.insert(unrecorded_.end(), unrecorded.begin(), unrecorded.end());
    });
}

/// An alarm is logged once, when it begins.
void DataplaneLink::look_at_lifetimes(Now now) {
    auto& associations = parts_.associations;
    if (ready()) {
        ask(associations.look(session_->status, parts_.tasking.registry(), now));
    }
    if (auto records = associations.take_records(); !records.empty()) {
        record(std::move(records));
    }
    for (const auto& event : associations.take_events(parts_.config)) {
        spdlog::warn("{}", event);
    }
    std::set<std::string> alarms;
    for (auto& alarm : associations.alarms(parts_.config, ready())) {
        if (!alarms_.contains(alarm)) {
            spdlog::error("alarm: {}", alarm);
        }
        alarms.insert(std::move(alarm));
    }
    alarms_ = std::move(alarms);
}

void DataplaneLink::tick(Now now) {
    lib::add(parts_.region.block().heartbeat, 1);
    if (session_) {
        watch();
    }
    if (ready() && lease_retry_ <= now.boot) {
        lease_retry_ = now.boot + lease_pause;
        if (!unrecorded_.empty()) {
            record(std::exchange(unrecorded_, {}));
        }
        ask(parts_.associations.retry(session_->status, parts_.tasking.registry()));
    }
    look_at_lifetimes(now);
    step();
}

}  // namespace flowtap::control
