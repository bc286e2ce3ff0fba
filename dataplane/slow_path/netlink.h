// A netlink socket to the kernel's network configuration (rtnetlink), and a request with its answer. libmnl
// does the rest.
//
// Thread safety: one thread at a time.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace flowtap::dataplane::slow_path {

/// One message that is being written. Small: what a request of ours holds.
class NetlinkMessage {
  public:
    /// `type` as RTM_NEWADDR, `flags` besides NLM_F_REQUEST; `body` is the type's own header, zeroed.
    template <typename Body>
    static NetlinkMessage make(std::uint16_t type, std::uint16_t flags, Body*& body) {
        NetlinkMessage message(type, flags);
        body = static_cast<Body*>(mnl_nlmsg_put_extra_header(message.header(), sizeof(Body)));
        return message;
    }

    NetlinkMessage& put(std::uint16_t type, std::span<const std::uint8_t> bytes) {
        mnl_attr_put(header(), type, bytes.size(), bytes.data());
        return *this;
    }
    NetlinkMessage& put(std::uint16_t type, std::uint32_t value) {
        mnl_attr_put_u32(header(), type, value);
        return *this;
    }
    /// Attributes inside of an attribute, which `write` puts.
    template <typename Write>
    NetlinkMessage& nest(std::uint16_t type, Write write) {
        nlattr* const start = mnl_attr_nest_start(header(), type);
        write(*this);
        mnl_attr_nest_end(header(), start);
        return *this;
    }

    nlmsghdr* header() { return static_cast<nlmsghdr*>(static_cast<void*>(buffer_->data())); }

  private:
    struct alignas(nlmsghdr) Buffer : std::array<std::byte, 1024> {};

    NetlinkMessage(std::uint16_t type, std::uint16_t flags);

    std::unique_ptr<Buffer> buffer_ = std::make_unique<Buffer>();  // stays where the body's pointer shows
};

class NetlinkSocket {
  public:
    /// `groups`: multicast groups (RTMGRP_...). Nothing, with errno, on failure.
    static std::optional<NetlinkSocket> open(unsigned groups);

    int fd() const;
    /// Sends a request for a change and waits for the kernel's answer; 0 or an errno.
    int request(NetlinkMessage& message);
    /// Sends without waiting; false, with errno, on failure.
    bool send(NetlinkMessage& message);
    /// What has arrived, into `buffer`, without waiting: the part of it that was filled, empty if there is
    /// nothing. Nothing, with errno, on failure; ENOBUFS: events were lost.
    std::optional<std::span<const std::byte>> receive(std::span<std::byte> buffer);

  private:
    struct Close {
        void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
    };
    explicit NetlinkSocket(mnl_socket* socket) : socket_(socket) {}

    std::unique_ptr<mnl_socket, Close> socket_;
    std::uint32_t sequence_ = 0;
};

}  // namespace flowtap::dataplane::slow_path
