#include "control/udp_socket.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/uio.h>

namespace flowtap::control {

namespace {

constexpr std::size_t longest = 65'535;

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address to_system(const lib::IpAddress& address, std::uint16_t port, std::uint32_t interface) {
    Address result;
    if (address.family == lib::Family::ipv4) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        std::memcpy(&in.sin_addr, address.bytes.data(), sizeof in.sin_addr);
        std::memcpy(&result.storage, &in, sizeof in);
        result.size = sizeof in;
    } else {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(port);
        in.sin6_scope_id = interface;
        std::memcpy(&in.sin6_addr, address.bytes.data(), sizeof in.sin6_addr);
        std::memcpy(&result.storage, &in, sizeof in);
        result.size = sizeof in;
    }
    return result;
}

template <typename Bytes>
lib::IpAddress from_system(lib::Family family, const Bytes& bytes) {
    lib::IpAddress address{family, {}};
    std::memcpy(address.bytes.data(), &bytes, std::min(sizeof bytes, address.bytes.size()));
    return address;
}

bool is_set(const lib::IpAddress& address) {
    return std::ranges::any_of(address.bytes, [](std::uint8_t byte) { return byte != 0; });
}

bool set_option(int socket, int level, int name) {
    const int on = 1;
    return ::setsockopt(socket, level, name, &on, sizeof on) == 0;
}

std::expected<lib::FileDescriptor, std::string> open_one(lib::Family family) {
    const bool v4 = family == lib::Family::ipv4;
    lib::FileDescriptor socket{
        ::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket || !(v4 ? set_option(socket.get(), IPPROTO_IP, IP_PKTINFO)
                        : set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY) &&
                              set_option(socket.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO))) {
        return std::unexpected{fmt::format("no UDP socket: {}", std::strerror(errno))};
    }
    return socket;
}

using Control = std::array<char, 128>;

void read_control(msghdr& header, Datagram& datagram) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
            in_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(part), sizeof info);
            datagram.local = from_system(lib::Family::ipv4, info.ipi_addr);
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(part), sizeof info);
            datagram.local = from_system(lib::Family::ipv6, info.ipi6_addr);
        }
    }
}

template <typename Info>
void write_control(msghdr& header, Control& control, int level, int type, const Info& info) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof info);
    cmsghdr* const part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = level;
    part->cmsg_type = type;
    part->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(part), &info, sizeof info);
}

UdpResult result_of(int error) {
    return error == EAGAIN ? UdpResult::wait : UdpResult::failed;
}

}  // namespace

std::expected<std::vector<lib::FileDescriptor>, Trouble> open_udp(const lib::UdpConfig& config) {
    std::vector<lib::FileDescriptor> sockets;
    for (const auto& address : config.listen) {
        for (const auto port : config.ports) {
            auto socket = open_one(address.family);
            if (!socket) {
                return std::unexpected{Trouble{ExitCode::failure, socket.error()}};
            }
            const auto name = to_system(address, port, 0);
            if (::bind(socket->get(), name.get(), name.size) != 0) {
                return std::unexpected{
                    Trouble{errno == EACCES ? ExitCode::privilege : ExitCode::failure,
                            fmt::format("cannot listen on UDP {}: {}",
                                        lib::to_string(lib::Endpoint{address, port}), std::strerror(errno))}};
            }
            sockets.push_back(std::move(*socket));
        }
    }
    return sockets;
}

std::expected<lib::FileDescriptor, Trouble> open_udp(lib::Family family) {
    auto socket = open_one(family);
    if (!socket) {
        return std::unexpected{Trouble{ExitCode::failure, socket.error()}};
    }
    return std::move(*socket);
}

UdpResult receive_datagram(int socket, Datagram& datagram) {
    datagram.bytes.resize(longest);
    Address peer;
    Control control{};
    iovec part{datagram.bytes.data(), datagram.bytes.size()};
    msghdr header{};
    header.msg_name = peer.get();
    header.msg_namelen = sizeof peer.storage;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t size = 0;
    do {
        size = ::recvmsg(socket, &header, MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        datagram.bytes.clear();
        return result_of(errno);
    }
    datagram.bytes.resize(static_cast<std::size_t>(size));
    datagram.bytes.shrink_to_fit();
    datagram.interface = 0;
    if (peer.storage.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &peer.storage, sizeof in);
        datagram.peer = {from_system(lib::Family::ipv4, in.sin_addr), ntohs(in.sin_port)};
    } else {
        sockaddr_in6 in{};
        std::memcpy(&in, &peer.storage, sizeof in);
        datagram.peer = {from_system(lib::Family::ipv6, in.sin6_addr), ntohs(in.sin6_port)};
        datagram.interface = in.sin6_scope_id;
    }
    datagram.local = {datagram.peer.address.family, {}};
    read_control(header, datagram);
    return UdpResult::done;
}

UdpResult send_datagram(int socket, const Datagram& datagram) {
    auto peer = to_system(datagram.peer.address, datagram.peer.port, datagram.interface);
    Control control{};
    iovec part{const_cast<char*>(datagram.bytes.data()), datagram.bytes.size()};  // sendmsg only reads
    msghdr header{};
    header.msg_name = peer.get();
    header.msg_namelen = peer.size;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (is_set(datagram.local) && datagram.local.family == lib::Family::ipv4) {
        in_pktinfo info{};
        std::memcpy(&info.ipi_spec_dst, datagram.local.bytes.data(), sizeof info.ipi_spec_dst);
        write_control(header, control, IPPROTO_IP, IP_PKTINFO, info);
    } else if (is_set(datagram.local)) {
        in6_pktinfo info{};
        std::memcpy(&info.ipi6_addr, datagram.local.bytes.data(), sizeof info.ipi6_addr);
        info.ipi6_ifindex = datagram.interface;
        write_control(header, control, IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    ssize_t size = 0;
    do {
        size = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (size < 0 && errno == EINTR);
    return size < 0 ? result_of(errno) : UdpResult::done;
}

}  // namespace flowtap::control
