// All that comes out of an interface, by a ring that the kernel fills (packet(7), TPACKET_V3). Of
// iv_watch.cc.
#pragma once

#include "test/integration/line_commands.h"

#include <fmt/format.h>

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>

namespace flowtap::test {

inline sockaddr_ll address_of(const std::string& interface) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (address.sll_ifindex == 0) {
        die(fmt::format("{}: {}", interface, std::strerror(errno)));
    }
    return address;
}

class PacketRing {
  public:
    /// So much of each frame is kept; the ring then holds about half a million.
    static constexpr unsigned kept = 64;

    explicit PacketRing(const std::string& interface) : socket_(socket(AF_PACKET, SOCK_RAW, 0)) {
        sock_filter keep{BPF_RET | BPF_K, 0, 0, kept};
        const sock_fprog program{1, &keep};
        constexpr int version = TPACKET_V3;
        constexpr int on = 1;
        tpacket_req3 shape{};
        shape.tp_block_size = block_size;
        shape.tp_block_nr = block_count;
        shape.tp_frame_size = frame_size;
        shape.tp_frame_nr = block_size / frame_size * block_count;
        shape.tp_retire_blk_tov = 1;  // ms after which a block is handed over though it is not full
        const sockaddr_ll address = address_of(interface);
        set(SOL_PACKET, PACKET_VERSION, version);
        set(SOL_PACKET, PACKET_IGNORE_OUTGOING, on);
        set(SOL_SOCKET, SO_ATTACH_FILTER, program);
        set(SOL_PACKET, PACKET_RX_RING, shape);
        void* const mapped = mmap(nullptr, std::size_t{block_size} * block_count, PROT_READ | PROT_WRITE,
                                  MAP_SHARED, socket_, 0);
        if (mapped == MAP_FAILED ||
            bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            die(fmt::format("{}: {}", interface, std::strerror(errno)));
        }
        memory_ = static_cast<std::uint8_t*>(mapped);
    }
    ~PacketRing() = default;  // the process ends with it
    PacketRing(const PacketRing&) = delete;
    PacketRing& operator=(const PacketRing&) = delete;

    int fd() const { return socket_; }

    /// Calls visit(the frame's beginning, its length) for each frame of the next block; false: none is ready.
    template <typename Visit>
    bool take_block(Visit visit) {
        auto* const block = reinterpret_cast<tpacket_block_desc*>(memory_ + std::size_t{next_} * block_size);
        if ((__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) {
            return false;
        }
        const auto* at = reinterpret_cast<const std::uint8_t*>(block) + block->hdr.bh1.offset_to_first_pkt;
        for (std::uint32_t i = 0; i < block->hdr.bh1.num_pkts; ++i) {
            const auto* const header = reinterpret_cast<const tpacket3_hdr*>(at);
            visit(std::span(at + header->tp_mac, header->tp_snaplen), header->tp_len);
            at += header->tp_next_offset;
        }
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        next_ = (next_ + 1) % block_count;
        return true;
    }

    /// Frames that found the ring full.
    std::uint64_t dropped() {
        tpacket_stats_v3 told{};  // since it was asked last
        socklen_t size = sizeof told;
        if (getsockopt(socket_, SOL_PACKET, PACKET_STATISTICS, &told, &size) != 0) {
            die(fmt::format("statistics: {}", std::strerror(errno)));
        }
        return dropped_ += told.tp_drops;
    }

  private:
    static constexpr unsigned block_size = 1U << 18;
    static constexpr unsigned block_count = 256;
    static constexpr unsigned frame_size = 2048;  // the kernel wants one; blocks are filled as frames come

    template <typename Value>
    void set(int level, int option, const Value& value) {
        if (setsockopt(socket_, level, option, &value, sizeof value) != 0) {
            die(fmt::format("packet socket: {}", std::strerror(errno)));
        }
    }

    int socket_;
    std::uint8_t* memory_ = nullptr;
    unsigned next_ = 0;
    std::uint64_t dropped_ = 0;
};

}  // namespace flowtap::test
