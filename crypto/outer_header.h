// The outer IP header of a tunnel, and the UDP header behind it where ESP goes in UDP (RFC 3948 section 2.1):
// a template made once for an SA, completed for each packet.
//
// IPv4: no options, DF clear, ID from the SA's counter, checksum computed. IPv6: flow label 0. ECN is copied
// from the inner header (RFC 6040 section 4.1, normal mode); so is DSCP (RFC 4301 section 5.1.2), unless one
// is given.
#pragma once

#include "crypto/big_endian.h"
#include "crypto/esp.h"
#include "lib/address.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace flowtap::crypto {

class OuterHeader {
  public:
    /// Both addresses are of one family. `dscp`: 0..63, or unset to copy the inner packet's.
    OuterHeader(const lib::IpAddress& local, const lib::IpAddress& remote, std::uint8_t ttl,
                std::optional<std::uint8_t> dscp, bool udp = false);

    /// Bytes in front of ESP.
    std::size_t size() const { return size_; }
    lib::Family family() const {
        return ip_size_ == ipv4_header_size ? lib::Family::ipv4 : lib::Family::ipv6;
    }

    /// Largest payload (from the ESP header on) that the length field can express.
    std::size_t largest_payload() const { return largest_payload_; }

    /// Whether finish() is needed.
    bool has_checksum() const { return udp_ && family() == lib::Family::ipv6; }
    /// UDP over IPv6 needs a checksum of its payload (RFC 8200 section 8.1): after sealing. `place` and
    /// `payload` as of write().
    void finish(std::uint8_t* place, std::size_t payload) const;

    /// Writes size() bytes to `place`. `payload`: bytes that follow, at most largest_payload(). `inner_ds`:
    /// the inner packet's DS field and ECN, as in IPv4's second byte. `identification`: IPv4's ID.
    void write(std::uint8_t* place, std::size_t payload, std::uint8_t inner_ds,
               std::uint16_t identification) const {
        const auto ds = static_cast<std::uint8_t>((inner_ds & copied_bits_) | fixed_bits_);
        if (udp_) [[unlikely]] {
            payload += udp_header_size;
            write_udp(place + ip_size_, payload);
        }
        if (ip_size_ == ipv4_header_size) [[likely]] {
            write_ipv4(place, payload, ds, identification);
        } else {
            write_ipv6(place, payload, ds);
        }
    }

  private:
    /// In whole words: this is done for every copy.
    void write_ipv4(std::uint8_t* place, std::size_t payload, std::uint8_t ds,
                    std::uint16_t identification) const {
        const auto length = static_cast<std::uint32_t>(ipv4_header_size + payload);
        std::uint32_t sum = sum_ + ds + length + identification;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
        store_big_endian(place, words_[0] | std::uint64_t{ds} << 48 | std::uint64_t{length} << 32 |
                                    std::uint64_t{identification} << 16);
        store_big_endian(place + 8, words_[1] | std::uint64_t{sum} << 32);
        std::memcpy(place + 16, template_.data() + 16, 4);
    }
    void write_ipv6(std::uint8_t* place, std::size_t payload, std::uint8_t ds) const;
    static void write_udp(std::uint8_t* place, std::size_t payload);

    std::array<std::uint8_t, ipv6_header_size> template_{};
    std::array<std::uint64_t, 2> words_{};  ///< the template's first 16 bytes
    std::size_t ip_size_;
    std::size_t size_;  ///< with UDP's
    std::size_t largest_payload_;
    bool udp_;
    std::uint32_t sum_ = 0;     ///< IPv4: of the template's 16-bit words, not folded
    std::uint8_t copied_bits_;  ///< of the inner DS field
    std::uint8_t fixed_bits_;   ///< of the outer one
};

}  // namespace flowtap::crypto
