// Which SA of a tunnel seals: in the order of the configuration, made before broken, never again once it is
// through, whatever dies.
#include "test/unit/control/association_lab.h"

#include <cstdint>
#include <optional>

namespace flowtap::test {

namespace {

using Catch::Contains;

constexpr std::uint64_t second = control::nanoseconds_per_second;

/// One tunnel with three SAs; `first` is what the file of the first says of its lifetimes.
struct ThreeSas {
    explicit ThreeSas(
        const std::string& first = "soft-lifetime-packets = 300\nhard-lifetime-packets = 1000\n") {
        write_sa(scratch / "a", 0x1001, 'a', first);
        write_sa(scratch / "b", 0x1002, 'b');
        write_sa(scratch / "c", 0x1003, 'c');
        config.file = "test";
        config.tunnels = {{"ttp", {}, {}, {scratch / "a", scratch / "b", scratch / "c"}}};
        record_keys(scratch, config);
        control.emplace(scratch, config);
        control->link(dataplane, registry);
    }

    /// The SPI that seals; 0: none does.
    unsigned sealing() {
        const auto* const sa = dataplane.sealing(0);
        if (sa == nullptr) {
            return 0;
        }
        for (const auto& association : control->associations.all()) {
            if (association.id == sa->id) {
                return static_cast<unsigned>(association.sa.spi);
            }
        }
        return 1;
    }

    std::size_t installed() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(dataplane.sas, [](const auto& sa) { return sa.id != 0; }));
    }

    void seal(std::uint64_t packets) {
        auto* const sa = dataplane.sealing(0);
        REQUIRE(sa != nullptr);
        REQUIRE(sa->end - sa->next >= packets);
        sa->next += packets;
        dataplane.publish();
    }

    void look() { control->look(dataplane, registry); }

    void restart_control() {
        const auto now = control->now;
        control.emplace(scratch, config, now);
        control->link(dataplane, registry);
    }

    void restart_both() {
        dataplane.sas = {};
        dataplane.publish();
        registry = Registry::create(max_taps).value();
        restart_control();
    }

    std::string alarms() const {
        std::string text;
        for (const auto& alarm : control->associations.alarms(config, true)) {
            text += alarm + "\n";
        }
        return text;
    }

    Scratch scratch;
    lib::Config config;
    Registry registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    std::optional<Control> control;
};

}  // namespace

TEST_CASE_METHOD(ThreeSas, "of a tunnel's SAs the first is installed, and it alone") {
    CHECK(sealing() == 0x1001);
    CHECK(installed() == 1);
    CHECK(dataplane.sealing(0)->end == 1001);  // no counter value is leased beyond the hard lifetime
    look();
    CHECK(installed() == 1);
    CHECK(alarms() == "");
}

TEST_CASE_METHOD(ThreeSas, "at the soft lifetime the next SA is live before the one before it goes") {
    seal(299);
    look();
    CHECK(sealing() == 0x1001);
    seal(1);
    control->meet(control->associations.look(dataplane.view, registry, control->now), dataplane, registry);
    REQUIRE(control->commit(dataplane, registry));
    CHECK(installed() == 2);
    CHECK(sealing() == 0x1002);
    REQUIRE(control->commit(dataplane, registry));
    CHECK(installed() == 1);
    CHECK(sealing() == 0x1002);
    CHECK_FALSE(control->commit(dataplane, registry));
    CHECK(alarms() == "");
    const auto events = control->associations.take_events(config);
    REQUIRE_FALSE(events.empty());
    CHECK_THAT(events.back(), Contains("tunnel \"ttp\": SPI 0x1002"));
}

TEST_CASE_METHOD(ThreeSas, "an SA that was replaced is not used again, whatever dies") {
    seal(300);
    look();
    REQUIRE(sealing() == 0x1002);
    SECTION("control") {
        restart_control();
    }
    SECTION("both") {
        restart_both();
    }
    SECTION("both, twice") {
        restart_both();
        restart_both();
    }
    CHECK(sealing() == 0x1002);
    look();
    CHECK(sealing() == 0x1002);
    CHECK(installed() == 1);
}

TEST_CASE_METHOD(ThreeSas,
                 "control dies between make and break: the SA that took over stays, the other goes") {
    seal(300);
    control->meet(control->associations.look(dataplane.view, registry, control->now), dataplane, registry);
    REQUIRE(control->commit(dataplane, registry));
    REQUIRE(installed() == 2);
    restart_control();
    CHECK(installed() == 1);
    CHECK(sealing() == 0x1002);
    restart_both();
    CHECK(sealing() == 0x1002);
}

TEST_CASE_METHOD(
    ThreeSas,
    "after the last SA comes the first again once its key was replaced, also if control dies then") {
    seal(300);
    look();
    REQUIRE(sealing() == 0x1002);
    control->now.boot += 10 * second;
    config.tunnels[0].sas.pop_back();
    write_sa(scratch / "a", 0x1004, 'd');
    write_sa(scratch / "b", 0x1002, 'b', "soft-lifetime-packets = 500\n");
    record_keys(scratch, config);
    restart_control();
    look();
    REQUIRE(sealing() == 0x1002);
    CHECK(installed() == 1);
    seal(500);
    control->meet(control->associations.look(dataplane.view, registry, control->now), dataplane, registry);
    REQUIRE(control->commit(dataplane, registry));
    CHECK(installed() == 2);
    CHECK(sealing() == 0x1004);
    SECTION("") {
        look();
    }
    SECTION("control dies between make and break") {
        restart_control();
    }
    CHECK(installed() == 1);
    CHECK(sealing() == 0x1004);
    look();
    CHECK(sealing() == 0x1004);
    CHECK(alarms() == "");
}

TEST_CASE_METHOD(
    ThreeSas, "the last SA: an alarm at its soft lifetime; at its hard one it is removed and nothing seals") {
    write_sa(scratch / "c", 0x1003, 'c', "soft-lifetime-packets = 10\nhard-lifetime-packets = 20\n");
    restart_both();
    REQUIRE(sealing() == 0x1002);  // what was leased of the first counts as used
    SECTION("") {}
    control->associations.refused(lib::Refusal::bad_key, *control->associations.sealing(0)->slot);
    dataplane.sas = {};
    dataplane.publish();
    look();
    REQUIRE(sealing() == 0x1003);
    CHECK_THAT(alarms(), !Contains("lost"));
    seal(10);
    look();
    CHECK(sealing() == 0x1003);
    CHECK_THAT(alarms(), Contains("tunnel \"ttp\": SPI 0x1003: its soft lifetime in packets is over"));
    seal(10);
    look();
    CHECK(installed() == 0);
    CHECK_THAT(alarms(), Contains("tunnel \"ttp\" has no security association"));
    restart_both();
    CHECK(sealing() == 0x1002);  // it was refused by one life of the dataplane, and is not spent
}

TEST_CASE("a lifetime in seconds counts from the first use, over restarts of both, and ends an SA") {
    ThreeSas lab{"soft-lifetime-seconds = 100\nhard-lifetime-seconds = 200\n"};
    lab.control->now.boot += 60 * second;
    lab.look();
    CHECK(lab.sealing() == 0x1001);
    lab.restart_both();
    lab.control->now.boot += 39 * second;
    lab.look();
    CHECK(lab.sealing() == 0x1001);
    SECTION("soft: the next takes over") {
        lab.control->now.boot += 2 * second;
        lab.look();
        CHECK(lab.sealing() == 0x1002);
    }
    SECTION("hard, while control was away: it is not installed again") {
        lab.control->now.boot += 200 * second;
        lab.restart_both();
        lab.look();
        CHECK(lab.sealing() == 0x1002);
    }
}

TEST_CASE("at the hard lifetime an SA is removed though none follows, and drops are what is left") {
    ThreeSas lab{"soft-lifetime-seconds = 100\nhard-lifetime-seconds = 200\n"};
    lab.control->medium_works = false;
    lab.control->now.boot += 150 * second;
    lab.look();
    CHECK(lab.sealing() == 0x1001);
    CHECK_THAT(lab.alarms(),
               Contains("SPI 0x1002: no lease") && Contains("no other security association follows"));
    lab.control->now.boot += 50 * second;
    lab.look();
    CHECK(lab.installed() == 0);
    CHECK_THAT(lab.alarms(), Contains("has no security association"));
    // The medium is well again.
    lab.control->medium_works = true;
    lab.control->meet(lab.control->associations.retry(lab.dataplane.view, lab.registry), lab.dataplane,
                      lab.registry);
    lab.look();
    CHECK(lab.sealing() == 0x1002);
}

TEST_CASE("a lifetime in bytes is never under-counted: a restart costs no more than a 32nd of it") {
    ThreeSas lab{"soft-lifetime-bytes = 640000\nhard-lifetime-bytes = 1280000\n"};
    const auto count = [&](std::uint64_t bytes) {
        auto& counter = lab.dataplane.sealed_bytes(0);
        counter.store(counter.load() + bytes);
    };
    const auto used = [&] { return lab.control->associations.all()[0].used[lib::LifeUnit::bytes]; };
    count(300'000);
    lab.look();
    CHECK(used() == 300'000);
    lab.restart_control();
    lab.look();
    CHECK(used() >= 300'000);
    CHECK(used() <= 340'000);
    count(250'000);
    lab.look();
    CHECK(lab.sealing() == 0x1001);
    const auto before = used();
    CHECK(before >= 550'000);
    lab.dataplane.sealed_bytes(0).store(0);
    lab.restart_both();
    lab.look();
    CHECK(used() >= before);
    CHECK(lab.sealing() == 0x1001);
    count(100'000);
    lab.look();
    CHECK(lab.sealing() == 0x1002);
}

TEST_CASE("an SA that can get no lease makes way for the next one, and is not lost while it has one") {
    ThreeSas lab{""};
    lab.control->medium_works = false;
    const auto need = lab.control->associations.lease_low(lib::SaSlot{0}, lab.registry);
    REQUIRE(need.has_value());
    lab.control->meet({*need}, lab.dataplane, lab.registry);
    lab.look();
    CHECK(lab.sealing() == 0x1001);
    CHECK_THAT(lab.alarms(), Contains("SPI 0x1001: no lease"));
    lab.control->medium_works = true;
    lab.control->meet(lab.control->associations.retry(lab.dataplane.view, lab.registry), lab.dataplane,
                      lab.registry);
    lab.look();
    CHECK(lab.alarms() == "");
}

TEST_CASE("an SA without a counter record is passed over, by name; the next one seals") {
    Scratch scratch;
    lib::Config config;
    config.tunnels = {{"ttp", {}, {}, {scratch / "b"}}};
    write_sa(scratch / "a", 0x1001, 'a');
    write_sa(scratch / "b", 0x1002, 'b');
    record_keys(scratch, config);
    config.tunnels[0].sas = {scratch / "a", scratch / "b"};
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.medium_works = true;
    control.link(dataplane, registry);
    REQUIRE(dataplane.sealing(0) != nullptr);
    CHECK(dataplane.sealing(0)->id == control.associations.all()[1].id);
    const auto alarms = control.associations.alarms(config, true);
    REQUIRE(alarms.size() == 1);
    CHECK_THAT(alarms[0], Contains("tunnel \"ttp\": SPI 0x1001"));
}

TEST_CASE(
    "the end of the sequence numbers: the next SA takes over in time, and no value is beyond the last") {
    Scratch scratch;
    lib::Config config;
    config.tunnels = {{"ttp", {}, {}, {scratch / "a", scratch / "b"}}};
    write_sa(scratch / "a", 0x1001, 'a');
    write_sa(scratch / "b", 0x1002, 'b');
    record_keys(scratch, config);
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.link(dataplane, registry);
    std::uint64_t last = 0;
    std::size_t leases = 0;
    while (dataplane.sealing(0)->id == control.associations.all()[0].id) {
        REQUIRE(++leases < most_steps);
        auto& sa = *dataplane.sealing(0);
        REQUIRE(sa.end <= std::uint64_t{1} << 32);
        REQUIRE(sa.next < sa.end);
        last = sa.next = sa.end - 1;
        dataplane.publish();
        if (const auto need = control.associations.lease_low(lib::SaSlot{0}, registry)) {
            control.meet({*need}, dataplane, registry);
        }
        control.look(dataplane, registry);
    }
    CHECK(last >= (std::uint64_t{7} << 29) - 1);
    CHECK(dataplane.sealing(0)->id == control.associations.all()[1].id);
}

}  // namespace flowtap::test
