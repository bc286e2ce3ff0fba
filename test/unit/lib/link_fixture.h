// The two ends of a link, and peers that speak for themselves.
#pragma once

#include "lib/heartbeat.h"
#include "lib/link.h"
#include "lib/link_message.h"
#include "test/unit/lib/child.h"
#include "test/unit/lib/temporary_folder.h"

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

namespace flowtap::lib::test {

using flowtap::test::TemporaryFolder;
using std::chrono::milliseconds;
inline constexpr RegionShape shape{.max_taps = 16, .worker_count = 2};
inline constexpr ConfigDigest digest{1, 2, 3};
inline constexpr milliseconds patience{60'000};

/// Waits until fd() is readable, at most the time.
inline bool wait_readable(int descriptor, milliseconds time = patience) {
    pollfd waited{.fd = descriptor, .events = POLLIN, .revents = 0};
    return ::poll(&waited, 1, static_cast<int>(time.count())) == 1;
}

/// The end's next event of the type; others are thrown away.
template <typename Event, typename End>
Event wait_for(End& end) {
    while (true) {
        REQUIRE(wait_readable(end.fd()));
        if (auto event = end.poll()) {
            if (auto* wanted = std::get_if<Event>(&*event)) {
                return std::move(*wanted);
            }
        }
    }
}

struct Dataplane {
    StatusRegion status;
    LinkServer server;

    explicit Dataplane(const std::filesystem::path& path, const RegionShape& of = shape,
                       const ConfigDigest& config = digest, std::optional<uid_t> user = {})
        : status(StatusRegion::create(of, new_epoch()).value()),
          server(LinkServer::listen(path, status, config, user).value()) {}
};

struct Control {
    CommandRegion command;
    LinkClient client;

    explicit Control(const std::filesystem::path& path, const RegionShape& of = shape,
                     const ConfigDigest& config = digest)
        : command(CommandRegion::create(new_epoch()).value()),
          client(LinkClient::connect(path, command, of, config).value()) {}
};

/// A peer that speaks for itself.
inline FileDescriptor connect_raw(const std::filesystem::path& path) {
    const auto address = socket_address(path).value();
    FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return socket;
}

inline FileDescriptor listen_raw(const std::filesystem::path& path) {
    const auto address = socket_address(path).value();
    FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(socket.get(), 4) == 0);
    return socket;
}

inline LinkMessage wait_for_message(int socket) {
    while (true) {
        REQUIRE(wait_readable(socket));
        if (auto message = receive_message(socket).value()) {
            return std::move(*message);
        }
    }
}

inline std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

struct Fixture {
    TemporaryFolder folder;
    std::filesystem::path path = folder.path() / "dataplane.sock";
};

inline FileDescriptor make_registry(std::string_view content) {
    FileDescriptor memfd(::memfd_create("link-test-registry", MFD_CLOEXEC));
    REQUIRE(::pwrite(memfd.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    return memfd;
}

inline std::string content_of(const FileDescriptor& memfd) {
    std::string content(64, '\0');
    const ssize_t size = ::pread(memfd.get(), content.data(), content.size(), 0);
    content.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return content;
}

}  // namespace flowtap::lib::test
