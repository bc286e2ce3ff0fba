// Who may meet whom: wrong users, stale sockets, regions and messages that make no sense.
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

TEST_CASE_METHOD(Fixture, "link: only root, the own user and the named user may connect", "[link]") {
    constexpr uid_t nobody = 65534;
    REQUIRE(::geteuid() == 0);  // as everybody else this test would prove nothing
    std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
    const auto connect_as_nobody = [&] {
        return start_child([&] {
            auto command = CommandRegion::create(new_epoch()).value();
            if (::setuid(nobody) != 0) {
                ::_exit(1);
            }
            auto client = LinkClient::connect(path, command, shape, digest);
            if (!client) {
                ::_exit(2);
            }
            const auto there = client->wait_up(patience);
            ::_exit(there ? 42 : there.error().failure == LinkFailure::not_permitted ? 43 : 44);
        });
    };
    SECTION("a stranger is refused even where the file would let it in") {
        Dataplane dataplane(path);
        std::filesystem::permissions(path, std::filesystem::perms::all);
        const pid_t child = connect_as_nobody();
        const auto refused = wait_for<ControlRefused>(dataplane.server).reason;
        CHECK(refused.failure == LinkFailure::not_permitted);
        CHECK_THAT(refused.message, Contains("user 65534"));
        CHECK(wait_for_child(child).code == 43);
    }
    SECTION("the named user is let in, by the file too") {
        Dataplane dataplane(path, shape, digest, nobody);
        struct stat status{};
        REQUIRE(::stat(path.c_str(), &status) == 0);
        CHECK(status.st_uid == nobody);
        CHECK((status.st_mode & 07777U) == 0600);
        const pid_t child = connect_as_nobody();
        static_cast<void>(wait_for<ControlUp>(dataplane.server));
        CHECK(wait_for_child(child).code == 42);
    }
    SECTION("without a named user, the file lets nobody else in") {
        Dataplane dataplane(path);
        struct stat status{};
        REQUIRE(::stat(path.c_str(), &status) == 0);
        CHECK(status.st_uid == 0);
        CHECK((status.st_mode & 07777U) == 0600);
        CHECK(wait_for_child(connect_as_nobody()).code == 2);
    }
    SECTION("control does not hand its secrets to a stranger that listens there") {
        const pid_t child = start_child([&] {
            if (::setuid(nobody) != 0) {
                ::_exit(1);
            }
            const FileDescriptor listener = listen_raw(path);
            std::filesystem::permissions(path, std::filesystem::perms::all);
            const FileDescriptor peer(::accept(listener.get(), nullptr, nullptr));
            std::array<char, 64> bytes{};
            ::_exit(::recv(peer.get(), bytes.data(), bytes.size(), 0) == 0 ? 42 : 43);
        });
        auto command = CommandRegion::create(new_epoch()).value();
        LinkError error;
        while (error.failure != LinkFailure::not_permitted) {
            error = LinkClient::connect(path, command, shape, digest).error();
        }
        CHECK(wait_for_child(child).code == 42);
    }
}

TEST_CASE_METHOD(Fixture, "link: the socket file: stale is replaced, live and foreign are not", "[link]") {
    auto status = StatusRegion::create(shape, new_epoch()).value();
    const auto listen = [&] { return LinkServer::listen(path, status, digest); };
    SECTION("stale") {
        listen_raw(path).reset();
        REQUIRE(std::filesystem::exists(path));
        CHECK(listen().has_value());
    }
    SECTION("live") {
        Dataplane first(path);
        const auto second = listen();
        REQUIRE_FALSE(second);
        CHECK(second.error().failure == LinkFailure::busy);
        CHECK_THAT(second.error().message, Contains(path.native()));
        Control control(path);
        static_cast<void>(wait_for<ControlUp>(first.server));
    }
    SECTION("a file that is no socket") {
        std::ofstream(path) << "precious";
        CHECK_THAT(listen().error().message, Contains("not a socket"));
        CHECK(std::filesystem::file_size(path) == 8);
    }
    SECTION("no folder") {
        path = folder.path() / "none" / "dataplane.sock";
        CHECK_THAT(listen().error().message, Contains(path.native()) && Contains("No such file"));
    }
    SECTION("a path that is too long") {
        path = folder.path() / std::string(120, 'x');
        CHECK_THAT(listen().error().message, Contains("1 to 107 bytes"));
    }
    SECTION("it goes with the server, but only its own") {
        auto first = std::make_optional(listen().value());
        CHECK(std::filesystem::exists(path));
        std::filesystem::remove(path);
        const auto second = listen();
        first.reset();
        CHECK(std::filesystem::exists(path));
    }
    SECTION("it goes with the server") {
        listen().value();
        CHECK_FALSE(std::filesystem::exists(path));
    }
    SECTION("control without a dataplane") {
        auto command = CommandRegion::create(new_epoch()).value();
        const auto client = LinkClient::connect(path, command, shape, digest);
        REQUIRE_FALSE(client);
        CHECK(client.error().failure == LinkFailure::system);
        CHECK_THAT(client.error().message, Contains(path.native()));
    }
}

TEST_CASE_METHOD(Fixture, "link: a dataplane that does not answer is silent, not a hang", "[link]") {
    const FileDescriptor listener = listen_raw(path);
    Control control(path);
    CHECK(control.client.wait_up(milliseconds(50)).error().failure == LinkFailure::silent);
}

TEST_CASE_METHOD(Fixture, "link: connections that say nothing keep nobody out", "[link]") {
    Dataplane dataplane(path);
    std::vector<FileDescriptor> silent;
    for (int i = 0; i < 12; ++i) {
        silent.push_back(connect_raw(path));
    }
    Control control(path);
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK(control.client.wait_up(patience).has_value());
}

TEST_CASE_METHOD(Fixture, "link: a region that is not sealed, or of another size, is refused", "[link]") {
    Dataplane dataplane(path);
    const auto offer = [&](int descriptor) {
        const FileDescriptor control = connect_raw(path);
        const std::array descriptors{descriptor};
        REQUIRE(send_message(control.get(), make_hello(shape, digest, Epoch{1}), descriptors).has_value());
        return wait_for<ControlRefused>(dataplane.server).reason;
    };
    const FileDescriptor unsealed(::memfd_create("link-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(unsealed.get(), static_cast<off_t>(command_region_size)) == 0);
    const auto refused = offer(unsealed.get());
    CHECK(refused.failure == LinkFailure::region);
    CHECK_THAT(refused.message, Contains("the command region") && Contains("seals"));
    CHECK(offer(dataplane.status.descriptor()).failure == LinkFailure::region);
    const auto other_epoch = CommandRegion::create(Epoch{2}).value();
    CHECK_THAT(offer(other_epoch.descriptor()).message, Contains("two epochs"));
    CHECK_FALSE(dataplane.server.connected());
}

TEST_CASE_METHOD(Fixture, "link: garbage ends the garbage's connection only, and leaks no descriptor",
                 "[link]") {
    Dataplane dataplane(path);
    const std::size_t before = open_descriptors();
    std::mt19937_64 random(7);
    const auto hello = make_hello(shape, digest, Epoch{1});
    std::vector<std::byte> sample(sizeof(hello));
    std::memcpy(sample.data(), &hello, sizeof(hello));
    const std::uint32_t size = sizeof(hello);
    std::memcpy(sample.data() + offsetof(LinkPrefix, size), &size, sizeof(size));

    for (int round = 0; round < 2000; ++round) {
        const FileDescriptor raw = connect_raw(path);
        std::vector<std::byte> bytes = sample;
        if (round % 3 == 0) {
            bytes.resize(1 + random() % 600);
            for (std::byte& byte : bytes) {
                byte = static_cast<std::byte>(random());
            }
        } else {
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
            bytes.resize(round % 3 == 1 ? bytes.size() : 1 + random() % bytes.size());
        }
        const std::array<int, 2> descriptors{raw.get(), raw.get()};
        REQUIRE(send_message(raw.get(), std::span<const std::byte>(bytes),
                             std::span(descriptors).first(random() % 3))
                    .has_value());
        static_cast<void>(wait_for<ControlRefused>(dataplane.server));
        REQUIRE_FALSE(dataplane.server.connected());
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE_METHOD(Fixture, "link: a control that stops making sense is left, and told why", "[link]") {
    Dataplane dataplane(path);
    auto command = CommandRegion::create(Epoch{1}).value();
    const FileDescriptor raw = connect_raw(path);
    const std::array descriptors{command.descriptor()};
    REQUIRE(send_message(raw.get(), make_hello(shape, digest, Epoch{1}), descriptors).has_value());
    static_cast<void>(wait_for<ControlUp>(dataplane.server));
    CHECK(wait_for_message(raw.get()).prefix.kind == LinkMessageKind::hello);
    SECTION("a second hello") {
        REQUIRE(send_message(raw.get(), make_hello(shape, digest, Epoch{1}), descriptors).has_value());
        CHECK(wait_for<ControlLost>(dataplane.server).reason.failure == LinkFailure::malformed);
        CHECK(read_refusal(wait_for_message(raw.get()), "x").failure == LinkFailure::malformed);
    }
    SECTION("a keep without a memfd") {
        REQUIRE(send_signal(raw.get(), LinkMessageKind::keep).has_value());
        CHECK(wait_for<ControlLost>(dataplane.server).reason.failure == LinkFailure::malformed);
    }
    SECTION("a refusal, whose text is made printable") {
        send_refusal(raw.get(), {LinkFailure::region, "no\x1b[2J\nthanks"});
        const auto reason = wait_for<ControlLost>(dataplane.server).reason;
        CHECK(reason.failure == LinkFailure::region);
        CHECK(reason.message == "control refused: no?[2J?thanks");
    }
    CHECK_FALSE(dataplane.server.connected());
}

TEST_CASE_METHOD(Fixture, "link: control leaves a dataplane that does not make sense", "[link]") {
    const FileDescriptor listener = listen_raw(path);
    Control control(path);
    const FileDescriptor server(::accept(listener.get(), nullptr, nullptr));
    auto status = StatusRegion::create(shape, Epoch{1}).value();
    LinkHello hello = make_hello(shape, digest, Epoch{1});
    std::array descriptors{status.descriptor(), -1};
    LinkFailure expected = LinkFailure::malformed;
    SECTION("a wake instead of a hello") {
        REQUIRE(send_signal(server.get(), LinkMessageKind::wake).has_value());
    }
    SECTION("a hello without a region") {
        REQUIRE(send_message(server.get(), hello).has_value());
    }
    SECTION("a hello of another shape") {
        hello.max_taps = 1;
        REQUIRE(send_message(server.get(), hello, std::span(descriptors).first(1)).has_value());
        expected = LinkFailure::shape;
    }
    SECTION("a region of another epoch") {
        hello.epoch = Epoch{2};
        REQUIRE(send_message(server.get(), hello, std::span(descriptors).first(1)).has_value());
        expected = LinkFailure::region;
    }
    SECTION("a region that is none") {
        descriptors[0] = control.command.descriptor();
        REQUIRE(send_message(server.get(), hello, std::span(descriptors).first(1)).has_value());
        expected = LinkFailure::region;
    }
    SECTION("a hello after the hello") {
        REQUIRE(send_message(server.get(), hello, std::span(descriptors).first(1)).has_value());
        REQUIRE(control.client.wait_up(patience).has_value());
        REQUIRE(send_message(server.get(), hello, std::span(descriptors).first(1)).has_value());
        CHECK(wait_for<DataplaneLost>(control.client).reason.failure == expected);
        return;
    }
    CHECK(control.client.wait_up(patience).error().failure == expected);
    static_cast<void>(wait_for_message(server.get()));  // control's hello
    CHECK(read_refusal(wait_for_message(server.get()), "control").failure == expected);
}
