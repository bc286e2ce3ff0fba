// Test frames from named fields, with right lengths and checksums where no field says otherwise:
//
//     Packet()
//         .vlan({.id = 100})
//         .ipv4({.source = "192.0.2.1", .dest = "198.51.100.7"})
//         .tcp({.source_port = 40000, .dest_port = 443})
//         .payload(100)
//         .frame()
//
// Layers are written from the outside in. Lengths, next-protocol fields and checksums are worked out by
// frame(); an optional field that is set is written as it is, right or wrong.
#pragma once

#include "lib/address.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {

using Bytes = std::vector<std::uint8_t>;

struct EthernetFields {
    lib::MacAddress dest{0x02, 0, 0, 0, 0, 0x02};
    lib::MacAddress source{0x02, 0, 0, 0, 0, 0x01};
    std::optional<std::uint16_t> type{};
};

struct VlanFields {
    std::uint16_t id = 1;
    std::uint16_t tag_type = 0x8100;  ///< 0x88a8 for a service tag
    std::uint8_t priority = 0;
    std::optional<std::uint16_t> type{};
};

/// One entry of a label stack (RFC 3032 section 2.1).
struct MplsFields {
    std::uint32_t label = 16;
    std::uint8_t traffic_class = 0;
    std::uint8_t ttl = 64;
    std::optional<bool> bottom{};  ///< else where no other label follows
    std::uint16_t ethertype = 0x8847;
};

/// Of a pseudowire (RFC 4448 section 4.6).
struct ControlWordFields {
    std::uint16_t first = 0;  ///< nibble 0 and reserved bits
    std::uint16_t sequence = 0;
};

/// A session's frame with the PPP protocol behind it (RFC 2516 section 4).
struct PppoeFields {
    std::uint8_t version_type = 0x11;
    std::uint8_t code = 0;
    std::uint16_t session = 1;
    std::optional<std::uint16_t> length{};
    std::optional<std::uint16_t> protocol{};
    bool compressed = false;  ///< the protocol in one byte
    std::uint16_t ethertype = 0x8864;
};

struct Ipv4Fields {
    std::string_view source = "192.0.2.1";
    std::string_view dest = "198.51.100.1";
    std::uint8_t ttl = 64;
    std::uint8_t tos = 0;
    std::uint16_t identification = 0;
    bool dont_fragment = false;
    bool more_fragments = false;
    std::uint16_t fragment_offset = 0;  ///< in units of 8 bytes
    Bytes options{};                    ///< padded with zeros to a multiple of 4
    std::uint8_t version = 4;
    std::optional<std::uint8_t> header_words{};
    std::optional<std::uint16_t> total_length{};
    std::optional<std::uint8_t> protocol{};
};

struct Ipv6Fields {
    std::string_view source = "2001:db8::1";
    std::string_view dest = "2001:db8::2";
    std::uint8_t hop_limit = 64;
    std::uint8_t traffic_class = 0;
    std::uint32_t flow_label = 0;
    std::uint8_t version = 6;
    std::optional<std::uint16_t> payload_length{};
    std::optional<std::uint8_t> next_header{};
};

/// An IPv6 extension header of `size` bytes (a multiple of 8), filled with PadN options where that makes
/// sense.
struct ExtensionFields {
    std::size_t size = 8;
    std::optional<std::uint8_t> length{};  ///< its own length field
    std::optional<std::uint8_t> next_header{};
};

struct FragmentFields {
    std::uint16_t offset = 0;  ///< in units of 8 bytes
    bool more = false;
    std::uint32_t identification = 0;
    std::optional<std::uint8_t> next_header{};
};

struct PortFields {
    std::uint16_t source_port = 1024;
    std::uint16_t dest_port = 80;
};

struct IcmpFields {
    std::uint8_t type = 8;
    std::uint8_t code = 0;
};

class Packet {
  public:
    explicit Packet(EthernetFields fields = {});

    Packet& vlan(VlanFields fields = {});
    Packet& mpls(MplsFields fields = {});
    Packet& mpls(std::initializer_list<std::uint32_t> labels);  ///< the bottom one last
    Packet& control_word(ControlWordFields fields = {});
    Packet& ethernet(EthernetFields fields = {});  ///< a pseudowire's frame
    Packet& pppoe(PppoeFields fields = {});
    Packet& ipv4(Ipv4Fields fields = {});
    Packet& ipv6(Ipv6Fields fields = {});

    Packet& hop_by_hop(ExtensionFields fields = {});
    Packet& routing(ExtensionFields fields = {});
    Packet& dest_options(ExtensionFields fields = {});
    Packet& authentication(ExtensionFields fields = {.size = 16});
    Packet& fragment(FragmentFields fields = {});
    /// Any header of the common form: next header, length in 8 bytes beyond the first 8.
    Packet& extension(std::uint8_t protocol, ExtensionFields fields = {});

    Packet& tcp(PortFields fields = {});
    Packet& udp(PortFields fields = {});
    Packet& udp_lite(PortFields fields = {});
    Packet& dccp(PortFields fields = {});
    Packet& sctp(PortFields fields = {});  ///< with one DATA-less COOKIE ACK chunk
    Packet& icmp(IcmpFields fields = {});
    Packet& icmpv6(IcmpFields fields = {.type = 128});

    /// `size` counting bytes.
    Packet& payload(std::size_t size);
    Packet& payload(Bytes bytes);
    /// Bytes under a protocol number (in IP), an ethertype (in Ethernet) or a PPP protocol (in PPPoE).
    Packet& raw(std::uint16_t protocol, Bytes bytes);

    /// The frame without FCS, padded with `pad` to at least `minimum` bytes.
    Bytes frame(std::size_t minimum = 0, std::uint8_t pad = 0) const;

  private:
    /// The addresses that checksums of upper layers cover.
    struct Pseudo {
        Bytes addresses;
    };
    struct Layer {
        /// What the layer outside calls this one; none: it has no number (payload).
        std::optional<std::uint16_t> number{};
        /// This layer and all inside it. `next`: the number of the layer inside.
        std::function<Bytes(const Bytes& inner, std::uint16_t next, const Pseudo& pseudo)> write;
        std::optional<Pseudo> pseudo{};  ///< for the layers inside this one
    };

    template <typename Write>
    Packet& add(std::optional<std::uint16_t> number, Write write);
    Packet& upper(std::uint8_t protocol, Bytes header, std::optional<std::size_t> checksum_at);

    std::vector<Layer> layers_;
};

}  // namespace flowtap::test
