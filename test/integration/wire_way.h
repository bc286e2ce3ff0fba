// One direction of a wire: frames with serial numbers in at one end, and what comes out at the other compared
// with what was sent, by sockets of the kernel. Of wire_load.cc.
#pragma once

#include "test/integration/line_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <deque>
#include <endian.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string>
#include <sys/socket.h>
#include <utility>

namespace flowtap::test {

inline constexpr std::size_t serial_at = 14 + 20 + 8;
inline constexpr std::size_t time_at = serial_at + 8;
inline constexpr std::size_t frame_size = time_at + 8 + 8;
using Frame = std::array<std::uint8_t, frame_size>;

inline constexpr std::uint32_t bystanders = 10U << 24 | 200U << 16;
inline constexpr std::uint32_t peer = 192U << 24 | 2U << 8 | 1U;
inline constexpr std::uint64_t second = 1'000'000'000;
inline std::uint64_t nanoseconds(const timespec& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * second + static_cast<std::uint64_t>(time.tv_nsec);
}

/// Of the clock that the kernel stamps received frames with.
inline std::uint64_t now() {
    timespec time{};
    clock_gettime(CLOCK_REALTIME, &time);
    return nanoseconds(time);
}

template <typename Value>
void put(Frame& frame, std::size_t at, Value value) {
    std::memcpy(frame.data() + at, &value, sizeof value);
}

/// Which hosts' frames are sent.
struct Aim {
    std::uint32_t first = 0;
    std::uint64_t count = 1;
    std::uint64_t every = 0;  ///< 0: bystanders only

    std::uint32_t host(std::uint64_t serial) const {
        return every != 0 && serial % every == 0 ? first + static_cast<std::uint32_t>(serial / every % count)
                                                 : bystanders + static_cast<std::uint32_t>(serial & 0xFFFF);
    }
};

/// A UDP packet of the host to the peer (way 0) or of the peer to the host.
inline Frame make_frame(std::size_t way, std::uint32_t host, std::uint64_t serial, std::uint64_t time) {
    static constexpr Frame head{2,  0,
                                0,  0,
                                0,  2,
                                2,  0,
                                0,  0,
                                0,  1,
                                8,  0,  // Ethernet
                                69, 0,
                                0,  frame_size - 14,
                                0,  0,
                                0,  0,
                                9,  17,
                                0,  0,  // IPv4
                                0,  0,
                                0,  0,
                                0,  0,
                                0,  0,
                                0,  5,
                                0,  9,
                                0,  frame_size - 34};  // and UDP
    Frame frame = head;
    put(frame, 26, htonl(way == 0 ? host : peer));
    put(frame, 30, htonl(way == 0 ? peer : host));
    std::uint32_t sum = 0;
    for (std::size_t at = 14; at < 34; at += 2) {
        sum += std::uint32_t{frame[at]} << 8 | frame[at + 1];
    }
    sum = (sum & 0xFFFF) + (sum >> 16);
    put(frame, 24, htons(static_cast<std::uint16_t>(~(sum + (sum >> 16)))));
    put(frame, serial_at, htobe64(serial));
    put(frame, time_at, time);
    return frame;
}

/// A raw socket on an interface that sees what comes out of the wire there.
inline int open_end(const std::string& interface) {
    const int made = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    constexpr int on = 1;
    constexpr int room = 1 << 24;
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    const auto set = [&](int level, int option, const int& value) {
        return setsockopt(made, level, option, &value, sizeof value) == 0;
    };
    if (made < 0 || address.sll_ifindex == 0 || !set(SOL_PACKET, PACKET_IGNORE_OUTGOING, on) ||
        !set(SOL_SOCKET, SO_RCVBUFFORCE, room) || !set(SOL_SOCKET, SO_TIMESTAMPNS, on) ||
        bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        die(fmt::format("{}: {}", interface, std::strerror(errno)));
    }
    return made;
}

/// When the kernel got it from the worker.
inline std::uint64_t stamp_of(msghdr& message) {
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
        if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_TIMESTAMPNS) {
            timespec time{};
            std::memcpy(&time, CMSG_DATA(item), sizeof time);
            return nanoseconds(time);
        }
    }
    return 0;
}

/// One direction of the wire.
class Way {
  public:
    Way(std::size_t number, int in, int out) : number_(number), in_(in), out_(out) {}

    std::uint64_t sent() const { return sent_; }
    std::uint64_t received() const { return expected_ - lost_; }
    std::uint64_t lost() const { return lost_; }
    bool all_out() const { return expected_ == sent_; }
    const std::string& wrong() const { return wrong_; }
    std::uint64_t take_latency() { return std::exchange(latency_, 0); }

    std::uint64_t aim(const Aim& aim) {
        aims_.emplace_back(sent_, aim);
        return sent_;
    }

    void send_one() {
        const Frame frame = make_frame(number_, aims_.back().second.host(sent_), sent_, now());
        if (send(in_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size())) {
            ++sent_;
        } else if (errno != EAGAIN && errno != ENOBUFS) {
            die(fmt::format("way {}: {}", number_, std::strerror(errno)));
        }
    }

    /// What is there now; true if there was anything.
    bool receive() {
        std::array<std::array<std::uint8_t, 2048>, burst> frames;
        std::array<std::array<char, 64>, burst> controls;
        std::array<iovec, burst> places{};
        std::array<mmsghdr, burst> messages{};
        for (std::size_t i = 0; i < burst; ++i) {
            places[i] = {frames[i].data(), frames[i].size()};
            messages[i].msg_hdr.msg_iov = &places[i];
            messages[i].msg_hdr.msg_iovlen = 1;
            messages[i].msg_hdr.msg_control = controls[i].data();
            messages[i].msg_hdr.msg_controllen = controls[i].size();
        }
        const int count = recvmmsg(out_, messages.data(), burst, MSG_DONTWAIT, nullptr);
        for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(count, 0)); ++i) {
            take(frames[i].data(), messages[i].msg_len, stamp_of(messages[i].msg_hdr));
        }
        return count > 0;
    }

  private:
    static constexpr unsigned burst = 64;

    void take(const std::uint8_t* data, std::size_t size, std::uint64_t stamp) {
        std::uint64_t serial = 0;
        std::uint64_t time = 0;
        std::memcpy(&serial, data + serial_at, sizeof serial);
        std::memcpy(&time, data + time_at, sizeof time);
        serial = be64toh(serial);
        if (size != frame_size || serial < expected_ || serial >= sent_) {
            wrong_ = fmt::format("way {}: {} bytes, serial {}, after {}", number_, size, serial, expected_);
            return;
        }
        while (aims_.size() > 1 && aims_[1].first <= serial) {
            aims_.pop_front();
        }
        const Frame right = make_frame(number_, aims_.front().second.host(serial), serial, time);
        if (!std::equal(right.begin(), right.end(), data)) {
            wrong_ = fmt::format("way {}: frame {} came out changed", number_, serial);
        }
        lost_ += serial - expected_;
        expected_ = serial + 1;
        latency_ = std::max(latency_, stamp > time ? stamp - time : 0);
    }

    std::size_t number_;
    int in_;
    int out_;
    std::uint64_t sent_ = 0;
    std::uint64_t expected_ = 0;  ///< the serial number after that of the last frame that came
    std::uint64_t lost_ = 0;
    std::uint64_t latency_ = 0;
    std::string wrong_;
    std::deque<std::pair<std::uint64_t, Aim>> aims_{{0, Aim{}}};  ///< from which serial number on
};

}  // namespace flowtap::test
