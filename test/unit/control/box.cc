#include "test/unit/control/box.h"

#include "test/unit/control/site.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <unistd.h>
#include <utility>
#include <variant>

namespace flowtap::test {

namespace {

constexpr std::string_view sources_text = R"(
[[source]]
name = "a"
key-file = "/etc/passwd"
destinations = ["192.0.2.0/28", "2001:db8:f::/64"]
max-criteria = 4
max-destinations = 3
udp = true
notify = ["198.51.100.1:1814", "[2001:db8:e::1]:1815"]
notify-sessions = true
[[source]]
name = "b"
key-file = "/etc/passwd"
users = ["b", "officer"]
notify = ["198.51.100.2:1814"]
notify-version = "0.6"
destinations = ["192.0.2.64/26"]
)";

std::vector<std::string> keys_of(const lib::Config& config) {
    std::vector<std::string> keys;
    for (const auto& source : config.sources) {
        keys.push_back("key-" + source.name);
    }
    return keys;
}

}  // namespace

void ensure(bool holds, const char* what) {
    if (!holds) {
        throw std::logic_error(what);
    }
}

const lib::Config& box_config() {
    static const lib::Config config = site_with(sources_text);
    return config;
}

std::string message(std::string_view first_line, std::initializer_list<std::string_view> lines,
                    std::string_view source, std::optional<std::string_view> key) {
    std::string text{first_line};
    text += "\r\n";
    for (const auto line : lines) {
        text += fmt::format("{}\r\n", line);
    }
    const std::string secret = key ? std::string{*key} : fmt::format("key-{}", source);
    auto hmac =
        lib::dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size()});
    ensure(hmac.has_value(), "a key can be had");
    hmac->sign(text);
    return text;
}

std::string add_message(std::uint64_t seq, std::initializer_list<std::string_view> more,
                        std::string_view source) {
    const bool b = source == "b";
    const auto given = [&](std::string_view name) {
        return std::ranges::any_of(more, [&](std::string_view line) {
            return lib::dtcp::equal_ignoring_case(line.substr(0, line.find(':')), name);
        });
    };
    std::string text = fmt::format("ADD DTCP/0.7\r\nCsource-ID: {}\r\nSeq: {}\r\n", source, seq);
    for (const auto& line :
         {std::string{"Cdest-ID: cd"}, std::string{"Source-Address: 10.0.0.1"}, std::string{"Flags: Static"},
          fmt::format("X-JTap-Cdest-Dest-Address: 192.0.2.{}", b ? 65 : 1),
          std::string{"X-JTap-Cdest-Dest-Port: 5000"},
          std::string{"X-JTap-Cdest-Source-Address: 203.0.113.1"},
          std::string{"X-JTap-Cdest-Source-Port: 5001"}}) {
        if (!given(line.substr(0, line.find(':')))) {
            text += line + "\r\n";
        }
    }
    for (const auto line : more) {
        if (!line.ends_with("-")) {
            text += fmt::format("{}\r\n", line);
        }
    }
    text.resize(text.size() - 2);
    return message(text, {}, source);
}

Box::Process::Process(const lib::Config& config, const Scratch& scratch)
    : sources{control::Sources::with_keys(config, keys_of(config)).value()},
      ids{control::CriteriaIds::open(scratch.path()).value()},
      tasking{box_taps, sources.size()},
      service{std::make_unique<control::Service>(config, sources, ids, tasking)} {}

Box::Box(const lib::Config& config, std::optional<std::uint64_t> ids) : config_{config} {
    if (ids) {
        std::ofstream{scratch_ / "criteria-ids"} << fmt::format("flowtap-criteria-ids 1\n{:032x} 1\n", *ids);
    }
    begin({});
    dataplane_starts();
}

void Box::both_restart() {
    tasking().link_down(now);
    view_.reset();
    region_.reset();
    begin({});
    dataplane_starts();
}

void Box::begin(lib::FileDescriptor kept) {
    process_ = std::make_unique<Process>(config_, scratch_);
    if (kept) {
        auto registry = control::Registry::adopt(std::move(kept), box_taps).value();
        auto restored = control::restore(registry, sources(), config_);
        service().counters().add(control::ServiceCounter::taps_not_restored, restored.rejected);
        tasking().start(std::move(registry), std::move(restored.taps));
    } else {
        tasking().start(control::Registry::create(box_taps).value(), {});
    }
}

void Box::control_restarts() {
    lib::FileDescriptor kept{::dup(tasking().registry().descriptor())};
    begin(std::move(kept));
    if (view_) {
        link();
    }
}

control::SessionId Box::open(const std::string& user) {
    return service().open({user, {}});
}

void Box::send(control::SessionId session, std::string_view bytes) {
    while (!bytes.empty() && service().wants_input(session)) {
        const auto part = bytes.substr(0, 16'384);
        service().receive(session, part, now);
        bytes.remove_prefix(part.size());
        settle();
    }
    settle();
}

std::string Box::take(control::SessionId session) {
    std::string text;
    for (;;) {
        settle();
        const std::string part{service().output(session)};
        if (part.empty()) {
            return text;
        }
        text += part;
        service().sent(session, part.size(), now);
    }
}

std::string Box::ask(std::string_view bytes, const std::string& user) {
    const auto session = open(user);
    send(session, bytes);
    auto text = take(session);
    service().close(session);
    return text;
}

bool Box::take_batch(const lib::CommandBatch& batch) {
    lib::CommandReader reader{{box_taps, 0, {}, {}}};
    for (auto record : batch.records()) {
        const auto done = reader.take(record);
        if (!done) {
            continue;
        }
        ensure(done->refusal == lib::Refusal::none, "what control sends is well-formed");
        auto next = taps_;
        for (const auto& change : done->changes) {
            if (std::holds_alternative<lib::ResyncBegin>(change)) {
                next.assign(box_taps, {});
            } else if (const auto* const add = std::get_if<lib::TapAdd>(&change)) {
                const auto slot = static_cast<std::uint32_t>(add->slot);
                ensure(next[slot].id == 0, "an addition goes to a free slot");
                if (refusing || poison == slot) {
                    tasking().refused(lib::Refusal::no_memory, slot);
                    return true;
                }
                next[slot] = {static_cast<std::uint64_t>(add->id), add->criterion, add->destinations,
                              add->service, add->action};
            } else if (const auto* const update = std::get_if<lib::TapUpdated>(&change)) {
                const auto slot = static_cast<std::uint32_t>(update->slot);
                ensure(next[slot].id == static_cast<std::uint64_t>(update->id),
                       "an update is of the slot's tap");
                if (refusing || poison == slot) {
                    tasking().refused(lib::Refusal::no_memory, slot);
                    return true;
                }
                next[slot].service = update->service;
            } else if (const auto* const gone = std::get_if<lib::TapRemove>(&change)) {
                auto& place = next[static_cast<std::uint32_t>(gone->slot)];
                ensure(place.id == static_cast<std::uint64_t>(gone->id), "a removal is of the slot's tap");
                place = {};
            }
        }
        for (std::uint32_t slot = 0; slot < box_taps; ++slot) {
            if (next[slot].id != taps_[slot].id && next[slot].id != 0) {
                for (auto& counter : region_->taps(0)[slot].values) {
                    counter.store(0);
                }
            }
        }
        taps_ = std::move(next);
        ++commits;
        if (unheard) {
            return true;
        }
        tasking().committed();
        tell_over();
        return true;
    }
    return false;
}

/// Which limits are used up, as the dataplane tells after each commit.
void Box::tell_over() {
    for (std::uint32_t slot = 0; slot < box_taps; ++slot) {
        auto& tap = taps_[slot];
        const auto& counters = region_->taps(0)[slot].values;
        const auto value = [&](lib::TapCounter index) {
            return counters[static_cast<std::size_t>(index)].load();
        };
        if (tap.id == 0) {
            continue;
        }
        const bool raised = tap.service.packet_limit > value(lib::TapCounter::matched_packets) &&
                            tap.service.byte_limit > value(lib::TapCounter::matched_bytes);
        tap.over = tap.over && !raised;
        if (!raised || tap.over) {
            tap.over = true;
            tasking().tap_over(lib::TapSlot{slot}, lib::TapId{tap.id}, now);
        }
    }
}

bool Box::apply() {
    if (!view_) {
        return false;
    }
    lib::CommandBatch batch;
    if (tasking().resync_wanted()) {
        if (now.boot < resync_not_before_) {
            return false;
        }
        link();
        return true;
    }
    if (!tasking().fill(batch, 1024)) {
        return false;
    }
    batch.commit(lib::Token{1});
    return take_batch(batch);
}

void Box::settle() {
    for (bool more = true; more;) {
        more = !paused && apply();
        service().advance(now);
        more = service().work(now) || more;
    }
    for (auto& event : tasking().take_events()) {
        ended_.push_back(std::move(event));
    }
    for (auto& event : service().take_events()) {
        events_.push_back(std::move(event));
    }
}

void Box::dataplane_dies() {
    tasking().link_down(now);
    view_.reset();
    region_.reset();
}

void Box::link() {
    if (!tasking().linked()) {
        tasking().link_up(*view_, now);
    }
    lib::CommandBatch batch;
    batch.resync_begin();
    tasking().begin_resync();
    while (!tasking().fill_resync(batch, 16)) {
    }
    batch.commit(lib::Token{1});
    take_batch(batch);
    if (tasking().resync_wanted()) {
        resync_not_before_ = now.boot + control::nanoseconds_per_second;  // it was refused
    }
    settle();
}

void Box::dataplane_starts() {
    const lib::RegionShape shape{box_taps, 1};
    region_ = lib::StatusRegion::create(shape, lib::Epoch{++epoch_}).value();
    view_ = lib::StatusView::receive(lib::FileDescriptor{::dup(region_->descriptor())}, shape).value();
    taps_.assign(box_taps, {});
    link();
}

std::optional<std::uint32_t> Box::slot_of(std::uint64_t tap) const {
    const auto found = std::ranges::find(taps_, tap, &Installed::id);
    return found == taps_.end() ? std::nullopt
                                : std::optional{static_cast<std::uint32_t>(found - taps_.begin())};
}

void Box::count(std::uint64_t tap, std::uint64_t packets, std::uint64_t bytes) {
    const auto slot = slot_of(tap).value();
    auto& place = taps_[slot];
    auto& counters = region_->taps(0)[slot];
    auto& seen_packets = counters[lib::TapCounter::matched_packets];
    auto& seen_bytes = counters[lib::TapCounter::matched_bytes];
    for (std::uint64_t packet = 0; packet < packets; ++packet) {
        const auto size = bytes / packets;
        if (place.over || seen_packets.load() + 1 > place.service.packet_limit ||
            seen_bytes.load() + size > place.service.byte_limit) {
            place.over = true;
            break;
        }
        lib::add(seen_packets, 1);
        lib::add(seen_bytes, size);
    }
    place.over = place.over || seen_packets.load() >= place.service.packet_limit ||
                 seen_bytes.load() >= place.service.byte_limit;
    if (place.over && !paused) {
        tasking().tap_over(lib::TapSlot{slot}, lib::TapId{tap}, now);
        settle();
    }
}

std::optional<lib::Criterion> Box::criterion(std::uint64_t tap) const {
    const auto slot = slot_of(tap);
    return slot ? std::optional{taps_[*slot].criterion} : std::nullopt;
}

lib::TapAction Box::action_of(std::uint64_t tap) const {
    return taps_[slot_of(tap).value()].action;
}

lib::TapService Box::service_of(std::uint64_t tap) const {
    return taps_[slot_of(tap).value()].service;
}

void Box::lose(std::uint64_t tap, std::uint64_t packets, std::uint64_t bytes) {
    count(tap, packets, bytes);
    auto& counters = region_->taps(0)[slot_of(tap).value()];
    lib::add(counters[lib::TapCounter::copies_dropped], packets);
    lib::add(counters[lib::TapCounter::dropped_bytes], bytes);
}

std::vector<lib::TapDestination> Box::destinations_of(std::uint64_t tap) const {
    return taps_[slot_of(tap).value()].destinations;
}

std::vector<std::uint64_t> Box::installed() const {
    std::vector<std::uint64_t> ids;
    for (const auto& tap : taps_) {
        if (tap.id != 0) {
            ids.push_back(tap.id);
        }
    }
    std::ranges::sort(ids);
    return ids;
}

void Box::pass(std::uint64_t milliseconds) {
    for (std::uint64_t done = 0; done < milliseconds; done += 100) {
        now.boot += 100'000'000;
        now.utc += 100'000'000;
        tasking().tick(now);
        service().tick(now);
        settle();
    }
}

std::vector<control::TapEvent> Box::ended() {
    settle();
    return std::exchange(ended_, {});
}

std::size_t Box::events(control::SecurityReason reason) {
    settle();
    return static_cast<std::size_t>(std::ranges::count(events_, reason, &control::SecurityEvent::reason));
}

}  // namespace flowtap::test
