#include "dataplane/slow_path/netlink.h"

#include <cerrno>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <vector>

namespace flowtap::dataplane::slow_path {

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
    nlmsghdr* const message = mnl_nlmsg_put_header(buffer_->data());
    message->nlmsg_type = type;
    message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

std::optional<NetlinkSocket> NetlinkSocket::open(unsigned groups) {
    mnl_socket* const socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (socket == nullptr) {
        return std::nullopt;
    }
    NetlinkSocket result{socket};
    if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
        return std::nullopt;
    }
    return result;
}

int NetlinkSocket::fd() const {
    return mnl_socket_get_fd(socket_.get());
}

bool NetlinkSocket::send(NetlinkMessage& message) {
    message.header()->nlmsg_seq = ++sequence_;
    return mnl_socket_sendto(socket_.get(), message.header(), message.header()->nlmsg_len) >= 0;
}

int NetlinkSocket::request(NetlinkMessage& message) {
    message.header()->nlmsg_flags |= NLM_F_ACK;
    if (!send(message)) {
        return errno;
    }
    std::vector<std::byte> buffer(static_cast<std::size_t>(MNL_SOCKET_BUFFER_SIZE));
    for (;;) {
        const ssize_t size = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
        if (size < 0) {
            return errno;
        }
        const int result = mnl_cb_run(buffer.data(), static_cast<std::size_t>(size), sequence_,
                                      mnl_socket_get_portid(socket_.get()), nullptr, nullptr);
        if (result < 0) {
            return errno;
        }
        if (result == MNL_CB_STOP) {
            return 0;
        }
    }
}

std::optional<std::span<const std::byte>> NetlinkSocket::receive(std::span<std::byte> buffer) {
    const ssize_t size = recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0) {
        return errno == EAGAIN || errno == EINTR ? std::optional{std::span<const std::byte>{}} : std::nullopt;
    }
    return buffer.first(static_cast<std::size_t>(size));
}

}  // namespace flowtap::dataplane::slow_path
