#include "tools/dtcp/udp_channel.h"

#include <fmt/format.h>

#include <cerrno>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace flowtap::tools::dtcp {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

/// 0, or an errno.
int bind_local(int socket, int family, std::uint16_t port) {
    sockaddr_in ipv4{};
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    sockaddr_in6 ipv6{};
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(port);
    const int done = family == AF_INET
                         ? ::bind(socket, reinterpret_cast<const sockaddr*>(&ipv4), sizeof ipv4)
                         : ::bind(socket, reinterpret_cast<const sockaddr*>(&ipv6), sizeof ipv6);
    return done == 0 ? 0 : errno;
}

Problem lost(int error) {
    return {Outcome::no_connection, error == ECONNREFUSED
                                        ? std::string{"nobody listens on that UDP port"}
                                        : fmt::format("UDP: {}", std::generic_category().message(error))};
}

}  // namespace

std::expected<std::unique_ptr<UdpChannel>, Problem> UdpChannel::open(const std::string& host,
                                                                     std::uint16_t port,
                                                                     std::uint16_t local_port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int wrong = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    const std::unique_ptr<addrinfo, FreeAddresses> list{found};
    if (wrong != 0) {
        return std::unexpected(
            Problem{Outcome::no_connection, fmt::format("host {}: {}", host, ::gai_strerror(wrong))});
    }
    int error = 0;
    for (const auto* address = list.get(); address != nullptr; address = address->ai_next) {
        lib::FileDescriptor socket{
            ::socket(address->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol)};
        if (!socket) {
            error = errno;
            continue;
        }
        if (local_port != 0) {
            if (const int bound = bind_local(socket.get(), address->ai_family, local_port); bound != 0) {
                return std::unexpected(Problem{
                    Outcome::local,
                    fmt::format("UDP port {}: {}", local_port, std::generic_category().message(bound))});
            }
        }
        // A LIST answer comes as many datagrams at once.
        const int buffer = 4 << 20;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        if (::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0) {
            return std::unique_ptr<UdpChannel>{new UdpChannel{std::move(socket)}};
        }
        error = errno;
    }
    return std::unexpected(Problem{
        Outcome::no_connection,
        fmt::format("cannot send to {} port {}: {}", host, port, std::generic_category().message(error))});
}

std::expected<std::size_t, Problem> UdpChannel::write(std::string_view bytes) {
    const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
        return static_cast<std::size_t>(sent);
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
        return 0;
    }
    return std::unexpected(lost(errno));
}

std::expected<Received, Problem> UdpChannel::read() {
    Received received{.bytes = std::string(65'536, '\0')};
    for (;;) {
        const auto got = ::recv(socket_.get(), received.bytes.data(), received.bytes.size(), 0);
        if (got > 0) {
            received.bytes.resize(static_cast<std::size_t>(got));
            return received;
        }
        if (got == 0 || errno == EINTR) {
            continue;  // an empty datagram is nothing
        }
        if (errno == EAGAIN) {
            return Received{};
        }
        return std::unexpected(lost(errno));
    }
}

short UdpChannel::events(bool more_to_write) const {
    return static_cast<short>(more_to_write ? POLLIN | POLLOUT : POLLIN);
}

Problem UdpChannel::end_reason() {
    return {Outcome::no_answer, "no answer came"};
}

}  // namespace flowtap::tools::dtcp
