// The bridge: every byte arrives, both half-closes are passed on, nothing grows, and it ends when it should.
#include "control/ssh/bridge.h"

#include "lib/file_descriptor.h"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <fcntl.h>
#include <signal.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace flowtap::control::ssh {
namespace {

using lib::FileDescriptor;

struct Pair {
    FileDescriptor bridge;  ///< the bridge's end, non-blocking
    FileDescriptor far;     ///< the client's or the service's
};

Pair socket_pair() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
    REQUIRE(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    return {FileDescriptor{ends[0]}, FileDescriptor{ends[1]}};
}

std::string pattern(std::size_t size) {
    std::string bytes(size, '\0');
    std::uint32_t state = 1;
    for (auto& byte : bytes) {
        state = state * 1664525U + 1013904223U;
        byte = static_cast<char>(state >> 24U);
    }
    return bytes;
}

void send_all(int to, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto sent = ::write(to, bytes.data(), bytes.size());
        if (sent <= 0) {
            return;
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::string read_to_end(int from) {
    std::string bytes;
    std::array<char, 16384> buffer{};
    for (;;) {
        const auto got = ::read(from, buffer.data(), buffer.size());
        if (got <= 0) {
            return bytes;
        }
        bytes.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

/// The bridge between a client's and a service's socket, as sshd makes it: one socket is its input and
/// output.
class Running {
  public:
    Running() {
        ::signal(SIGPIPE, SIG_IGN);
        thread_ = std::jthread([this] {
            end_ = run_bridge({client_.bridge.get(), client_.bridge.get(), service_.bridge.get()});
            // As the process's end does.
            client_.bridge.reset();
            service_.bridge.reset();
        });
    }
    FileDescriptor& client() { return client_.far; }
    FileDescriptor& service() { return service_.far; }
    BridgeEnd wait() {
        thread_.join();
        return end_;
    }

  private:
    Pair client_ = socket_pair();
    Pair service_ = socket_pair();
    BridgeEnd end_ = BridgeEnd::cut;
    std::jthread thread_;
};

TEST_CASE("all bytes pass both ways at once, and the client's end is passed on") {
    Running bridge;
    const auto requests = pattern(3'000'000);
    const auto answers = pattern(5'000'001);
    std::jthread client([&] {
        send_all(bridge.client().get(), requests);
        ::shutdown(bridge.client().get(), SHUT_WR);
    });
    std::string served;
    std::jthread service([&] {
        std::jthread answering([&] { send_all(bridge.service().get(), answers); });
        served = read_to_end(bridge.service().get());
        answering.join();
        bridge.service().reset();
    });
    CHECK(read_to_end(bridge.client().get()) == answers);
    service.join();
    CHECK(served == requests);
    CHECK(bridge.wait() == BridgeEnd::served);
}

TEST_CASE("after the client's end the service may answer as long as it likes") {
    Running bridge;
    send_all(bridge.client().get(), "request");
    ::shutdown(bridge.client().get(), SHUT_WR);
    REQUIRE(read_to_end(bridge.service().get()) == "request");  // returns at the passed-on end
    const auto answers = pattern(1'000'000);
    std::jthread service([&] {
        send_all(bridge.service().get(), answers);
        bridge.service().reset();
    });
    CHECK(read_to_end(bridge.client().get()) == answers);
    CHECK(bridge.wait() == BridgeEnd::served);
}

TEST_CASE("a service that ends in the middle of a request still has its answer delivered") {
    Running bridge;
    // More than the service's socket and the bridge hold, so that requests wait when it ends.
    std::jthread client([&] { send_all(bridge.client().get(), pattern(4'000'000)); });
    std::array<char, 100> some{};
    REQUIRE(::read(bridge.service().get(), some.data(), some.size()) > 0);
    const auto answer = pattern(150'000);
    send_all(bridge.service().get(), answer);
    bridge.service().reset();
    CHECK(read_to_end(bridge.client().get()) == answer);
    bridge.wait();
    bridge.client().reset();
}

TEST_CASE("a client that is gone ends the bridge though the service says nothing") {
    Running bridge;
    send_all(bridge.client().get(), "request");
    std::array<char, 7> request{};
    REQUIRE(::read(bridge.service().get(), request.data(), request.size()) == 7);
    bridge.client().reset();
    CHECK(bridge.wait() == BridgeEnd::served);
}

TEST_CASE("a slow reader stops the other side's writer: what is under way is bounded") {
    Running bridge;
    const bool to_service = GENERATE(true, false);
    const int from = to_service ? bridge.client().get() : bridge.service().get();
    const int to = to_service ? bridge.service().get() : bridge.client().get();
    // The kernel's part of what is under way, which is not the bridge's: both sockets' buffers.
    int kernel = 0;
    socklen_t size = sizeof kernel;
    REQUIRE(::getsockopt(from, SOL_SOCKET, SO_SNDBUF, &kernel, &size) == 0);

    REQUIRE(::fcntl(from, F_SETFL, O_NONBLOCK) == 0);
    const auto bytes = pattern(10'000'000);
    std::size_t sent = 0;
    // Written until nothing has been taken for a while: the way is full.
    for (int quiet = 0; quiet < 50 && sent < bytes.size();) {
        const auto put = ::write(from, &bytes[sent], bytes.size() - sent);
        if (put > 0) {
            sent += static_cast<std::size_t>(put);
            quiet = 0;
        } else {
            ++quiet;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
    CHECK(sent < 2 * static_cast<std::size_t>(kernel) + bridge_buffer);
    REQUIRE(::fcntl(from, F_SETFL, 0) == 0);
    std::jthread writer([&] {
        send_all(from, std::string_view(bytes).substr(sent));
        ::shutdown(from, SHUT_WR);
    });
    std::string received;
    std::array<char, 4096> buffer{};
    while (received.size() < bytes.size()) {
        const auto got = ::read(to, buffer.data(), buffer.size());
        REQUIRE(got > 0);
        received.append(buffer.data(), static_cast<std::size_t>(got));
    }
    CHECK(received == bytes);
    writer.join();
    bridge.service().reset();
    bridge.client().reset();
    bridge.wait();
}

}  // namespace
}  // namespace flowtap::control::ssh
