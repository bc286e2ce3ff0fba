#include "tools/dtcp/tcp.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>

namespace flowtap::tools::dtcp {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

/// An errno, or 0.
int finish_connect(int socket, std::chrono::milliseconds patience) {
    pollfd event{socket, POLLOUT, 0};
    int ready = 0;
    do {
        ready = ::poll(&event, 1, static_cast<int>(patience.count()));
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) {
        return ready == 0 ? ETIMEDOUT : errno;
    }
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/// The socket, or an errno.
std::expected<lib::FileDescriptor, int> connect_to(const addrinfo& address,
                                                   std::chrono::milliseconds patience) {
    lib::FileDescriptor socket{
        ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol)};
    if (!socket) {
        return std::unexpected(errno);
    }
    if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0) {
        const int error = errno == EINPROGRESS ? finish_connect(socket.get(), patience) : errno;
        if (error != 0) {
            return std::unexpected(error);
        }
    }
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) & ~O_NONBLOCK);
    return socket;
}

}  // namespace

std::expected<lib::FileDescriptor, Problem> connect_tcp(const std::string& host, std::uint16_t port,
                                                        std::chrono::milliseconds patience) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    const std::unique_ptr<addrinfo, FreeAddresses> list{found};
    if (error != 0) {
        return std::unexpected(
            Problem{Outcome::no_connection, fmt::format("host {}: {}", host, ::gai_strerror(error))});
    }
    int last = 0;
    for (const auto* address = list.get(); address != nullptr; address = address->ai_next) {
        auto socket = connect_to(*address, patience);
        if (socket) {
            return std::move(*socket);
        }
        last = socket.error();
    }
    return std::unexpected(Problem{
        Outcome::no_connection,
        fmt::format("cannot connect to {} port {}: {}", host, port, std::generic_category().message(last))});
}

}  // namespace flowtap::tools::dtcp
