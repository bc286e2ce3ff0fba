#include "control/ssh/listener.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <system_error>
#include <utility>

namespace flowtap::control::ssh {
namespace {

constexpr int backlog = 128;

// A client that is gone is noticed within two minutes, by the kernels alone: a mediation device may be silent
// for days between two requests, and one of sshd's own probes would need its SSH library to run meanwhile.
constexpr int keep_alive_idle_seconds = 60;
constexpr int keep_alive_interval_seconds = 15;
constexpr int keep_alive_probes = 4;

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

SocketAddress socket_address(const lib::IpAddress& address, std::uint16_t port) {
    SocketAddress result;
    const auto network_port = static_cast<in_port_t>(htons(port));
    if (address.family == lib::Family::ipv4) {
        sockaddr_in ipv4{};
        ipv4.sin_family = AF_INET;
        ipv4.sin_port = network_port;
        std::memcpy(&ipv4.sin_addr, address.bytes.data(), 4);
        std::memcpy(&result.storage, &ipv4, sizeof ipv4);
        result.size = sizeof ipv4;
    } else {
        sockaddr_in6 ipv6{};
        ipv6.sin6_family = AF_INET6;
        ipv6.sin6_port = network_port;
        std::memcpy(&ipv6.sin6_addr, address.bytes.data(), 16);
        std::memcpy(&result.storage, &ipv6, sizeof ipv6);
        result.size = sizeof ipv6;
    }
    return result;
}

bool set(int socket, int level, int option, int value) {
    return ::setsockopt(socket, level, option, &value, sizeof value) == 0;
}

bool configure(int socket, lib::Family family) {
    return set(socket, SOL_SOCKET, SO_REUSEADDR, 1) && set(socket, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set(socket, IPPROTO_TCP, TCP_KEEPIDLE, keep_alive_idle_seconds) &&
           set(socket, IPPROTO_TCP, TCP_KEEPINTVL, keep_alive_interval_seconds) &&
           set(socket, IPPROTO_TCP, TCP_KEEPCNT, keep_alive_probes) &&
           // IPv4 clients come to the IPv4 socket only, so that one client has one spelling.
           (family == lib::Family::ipv4 || set(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1));
}

/// An error is an errno.
std::expected<Listener, int> open_listener(const lib::IpAddress& address, std::uint16_t port) {
    const bool ipv4 = address.family == lib::Family::ipv4;
    Listener listener;
    listener.name = fmt::format("{} port {}", lib::to_string(address), port);
    listener.socket = lib::FileDescriptor{
        ::socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const int socket = listener.socket.get();
    if (!listener.socket || !configure(socket, address.family)) {
        return std::unexpected(errno);
    }
    const auto where = socket_address(address, port);
    const auto bind = [&] {
        return ::bind(socket, reinterpret_cast<const sockaddr*>(&where.storage), where.size) == 0;
    };
    if (!bind()) {
        if (errno != EADDRNOTAVAIL) {
            return std::unexpected(errno);
        }
        listener.address_here = false;
        if (!set(socket, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_FREEBIND : IPV6_FREEBIND, 1) ||
            !bind()) {
            return std::unexpected(errno);
        }
    }
    if (::listen(socket, backlog) != 0) {
        return std::unexpected(errno);
    }
    return listener;
}

Failure explain(int error, const lib::IpAddress& address, std::uint16_t port) {
    const auto where = fmt::format("cannot listen on {} port {}", lib::to_string(address), port);
    if (error == EACCES || error == EPERM) {
        return {ExitCode::privilege, fmt::format("{}: CAP_NET_BIND_SERVICE is missing", where)};
    }
    if (error == EADDRINUSE) {
        return {
            ExitCode::failure,
            fmt::format("{}: another process listens there (ss -ltnp 'sport = {}' names it)", where, port)};
    }
    return {ExitCode::failure, fmt::format("{}: {}", where, std::generic_category().message(error))};
}

}  // namespace

std::expected<std::vector<Listener>, Failure> open_listeners(const lib::SshConfig& config) {
    auto addresses = config.listen;
    const bool everywhere = addresses.empty();
    if (everywhere) {
        addresses = {lib::IpAddress{}, lib::IpAddress{lib::Family::ipv6, {}}};
    }
    std::vector<Listener> listeners;
    for (const auto& address : addresses) {
        auto listener = open_listener(address, config.port);
        if (listener) {
            listeners.push_back(std::move(*listener));
            continue;
        }
        const bool no_ipv6 = everywhere && address.family == lib::Family::ipv6 &&
                             (listener.error() == EAFNOSUPPORT || listener.error() == EADDRNOTAVAIL);
        if (!no_ipv6) {
            return std::unexpected(explain(listener.error(), address, config.port));
        }
    }
    return listeners;
}

}  // namespace flowtap::control::ssh
