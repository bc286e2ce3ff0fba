// How control and dataplane meet, are told apart, wake one another, and part.
#include "test/unit/lib/link_fixture.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <poll.h>
#include <random>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>

namespace {

using namespace flowtap::lib;
using Catch::Contains;
using flowtap::test::run_in_child;
using flowtap::test::start_child;
using flowtap::test::wait_for_child;
using namespace flowtap::lib::test;

}  // namespace

TEST_CASE_METHOD(Fixture, "link: hellos exchanged, each reads what the other writes", "[link]") {
    Dataplane dataplane(path);
    CHECK_FALSE(dataplane.server.poll());
    Control control(path);
    CHECK_FALSE(dataplane.server.connected());
    auto up = wait_for<ControlUp>(dataplane.server);
    auto there = control.client.wait_up(patience).value();
    CHECK(dataplane.server.connected());
    CHECK(control.client.connected());
    CHECK(up.pid == ::getpid());
    CHECK(there.pid == ::getpid());
    CHECK(up.command.epoch() == control.command.epoch());
    CHECK(there.status.epoch() == dataplane.status.epoch());
    CHECK_FALSE(there.kept);

    control.command.block().heartbeat = 5;
    CHECK(up.command.block().heartbeat == 5);
    dataplane.status.status().manager.taps = 6;
    CHECK(there.status.status().manager.taps == 6);

    CommandProducer commands(control.command.block().commands, there.status.block().commands_consumed);
    CommandConsumer incoming(up.command.block().commands, dataplane.status.block().commands_consumed);
    CommandRecord record;
    record.bytes[0] = std::byte{42};
    REQUIRE(commands.push(record) == true);
    CommandRecord copy;
    REQUIRE(incoming.pop(copy) == true);
    CHECK(copy.bytes == record.bytes);
    CHECK(commands.drained() == true);
}

TEST_CASE_METHOD(Fixture, "link: another configuration is refused, and both sides are told", "[link]") {
    Dataplane dataplane(path);
    SECTION("another number of taps") {
        Control control(path, {.max_taps = 17, .worker_count = 2});
        const auto server_error = wait_for<ControlRefused>(dataplane.server).reason;
        const auto client_error = control.client.wait_up(patience).error();
        for (const LinkError& error : {server_error, client_error}) {
            CHECK(error.failure == LinkFailure::shape);
            CHECK_THAT(error.message, Contains("16 taps and 2 workers") && Contains("17 and 2"));
        }
        CHECK_THAT(server_error.message, Contains(fmt::format("process {}", ::getpid())));
    }
    SECTION("another number of workers") {
        Control control(path, {.max_taps = 16, .worker_count = 1});
        CHECK_THAT(wait_for<ControlRefused>(dataplane.server).reason.message,
                   Contains("control for 16 and 1"));
        CHECK(control.client.wait_up(patience).error().failure == LinkFailure::shape);
    }
    SECTION("another file") {
        Control control(path, shape, {0xab, 0xcd});
        const auto server_error = wait_for<ControlRefused>(dataplane.server).reason;
        const auto client_error = control.client.wait_up(patience).error();
        for (const LinkError& error : {server_error, client_error}) {
            CHECK(error.failure == LinkFailure::configuration);
            CHECK_THAT(error.message, Contains("0102030000000000") && Contains("abcd000000000000"));
        }
    }
    CHECK_FALSE(dataplane.server.connected());
    // The dataplane serves on.
    Control right(path);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK(right.client.wait_up(patience).has_value());
}

TEST_CASE_METHOD(Fixture, "link: another layout version is refused, whatever the rest looks like", "[link]") {
    const std::string versions = fmt::format("{}", layout_version + 1);
    SECTION("of control") {
        Dataplane dataplane(path);
        const FileDescriptor control = connect_raw(path);
        std::vector<std::byte> hello(GENERATE(16U, 80U, 500U, 3000U));
        const LinkPrefix prefix{.kind = LinkMessageKind::hello,
                                .layout_version = layout_version + 1,
                                .size = static_cast<std::uint32_t>(hello.size())};
        std::memcpy(hello.data(), &prefix, sizeof(prefix));
        REQUIRE(send_message(control.get(), std::span<const std::byte>(hello)).has_value());
        const auto server_error = wait_for<ControlRefused>(dataplane.server).reason;
        CHECK(server_error.failure == LinkFailure::version);
        CHECK_THAT(server_error.message,
                   Contains(fmt::format("version {}", layout_version)) && Contains(versions));
        const auto refusal = read_refusal(wait_for_message(control.get()), "the dataplane");
        CHECK(refusal.failure == LinkFailure::version);
        CHECK_THAT(refusal.message, Contains(versions));
    }
    SECTION("of the dataplane") {
        const FileDescriptor listener = listen_raw(path);
        Control control(path);
        const FileDescriptor server(::accept(listener.get(), nullptr, nullptr));
        LinkHello hello = make_hello(shape, digest, new_epoch());
        hello.prefix.layout_version = layout_version + 1;
        REQUIRE(send_message(server.get(), hello).has_value());
        const auto error = control.client.wait_up(patience).error();
        CHECK(error.failure == LinkFailure::version);
        CHECK_THAT(error.message, Contains(versions));
        static_cast<void>(wait_for_message(server.get()));  // control's hello
        CHECK(read_refusal(wait_for_message(server.get()), "control").failure == LinkFailure::version);
        CHECK(control.client.fd() == -1);
        CHECK_FALSE(control.client.poll());
    }
}

TEST_CASE_METHOD(Fixture, "link: one control at a time; the next one when the first is gone", "[link]") {
    Dataplane dataplane(path);
    auto first = std::make_optional<Control>(path);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    REQUIRE(first->client.wait_up(patience).has_value());

    Control second(path);
    CHECK(wait_for<ControlRefused>(dataplane.server).reason.failure == LinkFailure::busy);
    const auto error = second.client.wait_up(patience).error();
    CHECK(error.failure == LinkFailure::busy);
    CHECK_THAT(error.message, Contains(fmt::format("process {} is connected already", ::getpid())));

    // The first one has not noticed.
    dataplane.server.wake();
    static_cast<void>(wait_for<LinkWoken>(first->client));
    first->client.wake();
    static_cast<void>(wait_for<LinkWoken>(dataplane.server));

    // The next one may come before the dataplane has looked: it is not turned away for the dead one's sake.
    first.reset();
    Control third(path);
    static_cast<void>(wait_for<ControlLost>(dataplane.server));
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK(third.client.wait_up(patience).has_value());
}

TEST_CASE_METHOD(Fixture, "link: a restarted control starts a new epoch, and both rings are empty",
                 "[link]") {
    Dataplane dataplane(path);
    auto first = std::make_optional<Control>(path);
    Epoch first_epoch{};
    {
        auto up = wait_for<ControlUp>(dataplane.server);
        auto there = first->client.wait_up(patience).value();
        first_epoch = up.command.epoch();
        CommandProducer commands(first->command.block().commands, there.status.block().commands_consumed);
        CompletionProducer completions(dataplane.status.block().completions,
                                       up.command.block().completions_consumed);
        REQUIRE(commands.push(CommandRecord{}) == true);
        REQUIRE(completions.push(CompletionRecord{.id = 1}) == true);
    }
    first.reset();
    Control second(path);
    auto up = wait_for<ControlUp>(dataplane.server);
    auto there = second.client.wait_up(patience).value();
    CHECK(up.command.epoch() > first_epoch);
    CHECK(there.status.epoch() == dataplane.status.epoch());
    CommandConsumer commands(up.command.block().commands, dataplane.status.block().commands_consumed);
    CompletionConsumer completions(there.status.block().completions,
                                   second.command.block().completions_consumed);
    CommandRecord command;
    CompletionRecord completion;
    CHECK(commands.pop(command) == false);
    CHECK(completions.pop(completion) == false);
}

TEST_CASE_METHOD(Fixture, "link: a control that outlives the dataplane meets the next one with empty rings",
                 "[link]") {
    auto command = CommandRegion::create(new_epoch()).value();
    Epoch first_epoch{};
    {
        Dataplane dataplane(path);
        auto client = LinkClient::connect(path, command, shape, digest).value();
        static_cast<void>(wait_for<ControlUp>(dataplane.server));
        auto there = client.wait_up(patience).value();
        first_epoch = there.status.epoch();
        CommandProducer commands(command.block().commands, there.status.block().commands_consumed);
        REQUIRE(commands.push(CommandRecord{}) == true);
    }
    Dataplane dataplane(path);
    auto client = LinkClient::connect(path, command, shape, digest).value();
    auto up = wait_for<ControlUp>(dataplane.server);
    CHECK(client.wait_up(patience)->status.epoch() > first_epoch);
    CommandConsumer commands(up.command.block().commands, dataplane.status.block().commands_consumed);
    CommandRecord record;
    CHECK(commands.pop(record) == false);
}

TEST_CASE_METHOD(Fixture, "link: a killed control is noticed within 1 s", "[link]") {
    Dataplane dataplane(path);
    const pid_t child = start_child([&] {
        Control control(path);
        static_cast<void>(control.client.wait_up(patience));
        ::pause();
    });
    CHECK(wait_for<ControlUp>(dataplane.server).pid == child);
    CHECK_FALSE(dataplane.server.poll());
    ::kill(child, SIGKILL);
    REQUIRE(wait_readable(dataplane.server.fd(), milliseconds(1000)));
    const auto event = dataplane.server.poll();
    REQUIRE(event);
    REQUIRE(std::holds_alternative<ControlLost>(*event));
    CHECK(std::get<ControlLost>(*event).reason.failure == LinkFailure::closed);
    CHECK_FALSE(dataplane.server.connected());
    CHECK(wait_for_child(child).signal == SIGKILL);
}

TEST_CASE_METHOD(Fixture, "link: a killed dataplane is noticed within 1 s", "[link]") {
    const pid_t child = start_child([&] {
        Dataplane dataplane(path);
        while (true) {
            wait_readable(dataplane.server.fd());
            static_cast<void>(dataplane.server.poll());
        }
    });
    auto command = CommandRegion::create(new_epoch()).value();
    std::optional<LinkClient> client;
    while (!client) {
        if (auto connected = LinkClient::connect(path, command, shape, digest)) {
            client = std::move(*connected);
        } else {
            std::this_thread::sleep_for(milliseconds(5));
        }
    }
    const auto there = client->wait_up(patience).value();
    CHECK(there.pid == child);
    ::kill(child, SIGKILL);
    REQUIRE(wait_readable(client->fd(), milliseconds(1000)));
    const auto event = client->poll();
    REQUIRE(event);
    REQUIRE(std::holds_alternative<DataplaneLost>(*event));
    CHECK_FALSE(client->connected());
    CHECK(client->fd() == -1);
    CHECK(wait_for_child(child).signal == SIGKILL);
    // What it left is still readable, and its socket file is in nobody's way.
    CHECK(there.status.block().header.magic == status_magic);
    Dataplane next(path);
}

TEST_CASE_METHOD(Fixture, "link: a control that hangs is told by its heartbeat, and can be dropped",
                 "[link]") {
    Dataplane dataplane(path);
    const pid_t child = start_child([&] {
        Control control(path);
        static_cast<void>(control.client.wait_up(patience));
        while (true) {
            control.command.block().heartbeat.fetch_add(1);
            std::this_thread::sleep_for(milliseconds(20));
            if (auto event = control.client.poll(); event && std::holds_alternative<DataplaneLost>(*event)) {
                const auto& reason = std::get<DataplaneLost>(*event).reason;
                ::_exit(reason.message == "the dataplane refused: it hangs" ? 42 : 43);
            }
        }
    });
    const auto up = wait_for<ControlUp>(dataplane.server);
    HeartbeatWatch watch(std::chrono::steady_clock::now());
    const auto look = [&] {
        return watch.observe(std::chrono::steady_clock::now(), up.command.block().heartbeat.load());
    };
    while (up.command.block().heartbeat < 3) {
        std::this_thread::sleep_for(milliseconds(5));
    }
    CHECK(look() == Health::alive);
    ::kill(child, SIGSTOP);
    while (look() == Health::alive) {
        std::this_thread::sleep_for(milliseconds(5));
    }
    dataplane.server.drop("it hangs");
    CHECK_FALSE(dataplane.server.connected());
    ::kill(child, SIGCONT);
    CHECK(wait_for_child(child).code == 42);
    CHECK_FALSE(dataplane.server.poll());
}

namespace {

/// Looks every 100 ms until then.
Health look_on(HeartbeatWatch& watch, milliseconds from, milliseconds to, std::uint64_t counter) {
    Health health{};
    for (milliseconds at = from; at <= to; at += milliseconds(100)) {
        health = watch.observe(HeartbeatWatch::Clock::time_point{} + at, counter);
    }
    return health;
}

}  // namespace

TEST_CASE("link: a heartbeat that stands still is stalled before 1 s, and alive when it moves", "[link]") {
    const HeartbeatWatch::Clock::time_point start{};
    HeartbeatWatch watch(start);
    CHECK(look_on(watch, milliseconds(100), milliseconds(500), 0) == Health::alive);
    CHECK(watch.observe(start + milliseconds(600), 1) == Health::alive);
    CHECK(look_on(watch, milliseconds(700), milliseconds(1400), 1) == Health::alive);
    CHECK(watch.observe(start + milliseconds(1499), 1) == Health::alive);
    CHECK(watch.observe(start + milliseconds(1500), 1) == Health::stalled);
    CHECK(watch.observe(start + milliseconds(5000), 1) == Health::stalled);
    CHECK(watch.observe(start + milliseconds(5001), 0) == Health::alive);
    HeartbeatWatch never(start);
    CHECK(look_on(never, milliseconds(100), milliseconds(1000), 0) == Health::stalled);
}

TEST_CASE("link: a watcher that was stopped itself does not take its peer for stalled", "[link]") {
    const HeartbeatWatch::Clock::time_point start{};
    HeartbeatWatch watch(start);
    CHECK(watch.observe(start + milliseconds(100), 1) == Health::alive);
    CHECK(watch.observe(start + std::chrono::hours(1), 1) == Health::alive);
    CHECK(watch.observe(start + std::chrono::hours(2), 2) == Health::alive);
}

TEST_CASE_METHOD(Fixture, "link: the dataplane keeps control's registry across control's death", "[link]") {
    Dataplane dataplane(path);
    {
        Control first(path);
        static_cast<void>(wait_for<ControlUp>(dataplane.server));
        CHECK_FALSE(first.client.wait_up(patience)->kept);
        REQUIRE(first.client.keep(make_registry("old").get()).has_value());
        REQUIRE(first.client.keep(make_registry("taps").get()).has_value());
        // control dies at once: what it sent counts all the same
    }
    static_cast<void>(wait_for<ControlLost>(dataplane.server));
    {
        Control second(path);
        static_cast<void>(wait_for<ControlUp>(dataplane.server));
        auto there = second.client.wait_up(patience).value();
        CHECK(content_of(there.kept) == "taps");
        REQUIRE(::pwrite(there.kept.get(), "more", 4, 4) == 4);
    }
    static_cast<void>(wait_for<ControlLost>(dataplane.server));
    Control third(path);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK(content_of(third.client.wait_up(patience)->kept) == "tapsmore");
    // It has never been mapped.
    std::ifstream maps("/proc/self/maps");
    const std::string all{std::istreambuf_iterator<char>(maps), {}};
    CHECK_THAT(all, Contains("flowtap-status") && !Contains("link-test-registry"));
}

TEST_CASE_METHOD(Fixture, "link: nothing is kept, and nobody woken, without a link", "[link]") {
    Dataplane dataplane(path);
    dataplane.server.wake();
    dataplane.server.drop("nobody is there");
    Control control(path);
    control.client.wake();
    CHECK(control.client.keep(make_registry("x").get()).error().failure == LinkFailure::closed);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK_FALSE(dataplane.server.poll());
}

TEST_CASE_METHOD(Fixture, "link: any number of wakes blocks nobody and comes as few", "[link]") {
    Dataplane dataplane(path);
    Control control(path);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    REQUIRE(control.client.wait_up(patience).has_value());
    constexpr int wakes = 100'000;
    for (int i = 0; i < wakes; ++i) {
        control.client.wake();
        dataplane.server.wake();
    }
    // With that much unread there is no room for a memfd either: it says so instead of blocking.
    CHECK(control.client.keep(make_registry("x").get()).error().failure == LinkFailure::busy);
    int events = 0;
    while (auto event = dataplane.server.poll()) {
        CHECK(std::holds_alternative<LinkWoken>(*event));
        ++events;
    }
    CHECK(events > 0);
    CHECK(events < wakes / 1000);
    static_cast<void>(wait_for<LinkWoken>(control.client));
    CHECK(control.client.keep(make_registry("x").get()).has_value());
}

TEST_CASE_METHOD(Fixture, "link: a wake before death is not lost", "[link]") {
    Dataplane dataplane(path);
    {
        Control control(path);
        static_cast<void>(wait_for<ControlUp>(dataplane.server));
        REQUIRE(control.client.wait_up(patience).has_value());
        control.client.wake();
    }
    auto event = dataplane.server.poll();
    REQUIRE(event);
    CHECK(std::holds_alternative<LinkWoken>(*event));
    event = dataplane.server.poll();
    REQUIRE(event);
    CHECK(std::holds_alternative<ControlLost>(*event));
}
