#include "test/support/packets.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace flowtap::test {
namespace {

constexpr std::uint16_t type_ipv4 = 0x0800;
constexpr std::uint16_t type_ipv6 = 0x86dd;
constexpr std::uint16_t no_next_header = 59;

// Not inlined: g++ 12 at -O3 sees overflows in the vector's growth where there are none.
[[gnu::noinline]] void put16(Bytes& to, std::uint16_t value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

void put32(Bytes& to, std::uint32_t value) {
    put16(to, static_cast<std::uint16_t>(value >> 16));
    put16(to, static_cast<std::uint16_t>(value));
}

[[gnu::noinline]] void put(Bytes& to, const Bytes& bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

void set16(Bytes& bytes, std::size_t at, std::uint16_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}

std::uint16_t size16(std::size_t size) {
    return static_cast<std::uint16_t>(size);
}

lib::IpAddress address(std::string_view text) {
    const auto parsed = lib::parse_address(text);
    if (!parsed) {
        throw std::invalid_argument(parsed.error());
    }
    return *parsed;
}

Bytes address_bytes(std::string_view text) {
    const lib::IpAddress parsed = address(text);
    return {parsed.bytes.begin(),
            parsed.bytes.begin() + static_cast<std::ptrdiff_t>(lib::address_size(parsed.family))};
}

// RFC 1071.
std::uint16_t internet_checksum(const Bytes& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

// CRC-32C, bit by bit (RFC 9260 appendix A), as SCTP writes it: least significant byte first.
std::uint32_t crc32c(const Bytes& bytes) {
    std::uint32_t crc = ~std::uint32_t{0};
    for (const std::uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f6'3b78U : 0U);
        }
    }
    return ~crc;
}

Bytes options_padding(std::size_t size) {
    Bytes bytes(size, 0);
    if (size >= 2) {
        bytes[0] = 1;  // PadN
        bytes[1] = static_cast<std::uint8_t>(std::min<std::size_t>(size - 2, 255));
    }
    return bytes;
}

}  // namespace

Packet::Packet(EthernetFields fields) {
    ethernet(fields);
}

Packet& Packet::ethernet(EthernetFields fields) {
    return add(std::nullopt, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes(fields.dest.begin(), fields.dest.end());
        bytes.insert(bytes.end(), fields.source.begin(), fields.source.end());
        put16(bytes, fields.type.value_or(next));
        put(bytes, inner);
        return bytes;
    });
}

template <typename Write>
Packet& Packet::add(std::optional<std::uint16_t> number, Write write) {
    layers_.push_back({number, std::move(write), std::nullopt});
    return *this;
}

Packet& Packet::vlan(VlanFields fields) {
    return add(fields.tag_type, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes;
        put16(bytes, static_cast<std::uint16_t>(fields.priority << 13 | fields.id));
        put16(bytes, fields.type.value_or(next));
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::mpls(MplsFields fields) {
    return add(fields.ethertype, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        const bool bottom = fields.bottom.value_or(next != 0x8847 && next != 0x8848);
        Bytes bytes;
        put32(bytes, fields.label << 12 | static_cast<std::uint32_t>(fields.traffic_class) << 9 |
                         (bottom ? 0x100U : 0U) | fields.ttl);
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::mpls(std::initializer_list<std::uint32_t> labels) {
    for (const std::uint32_t label : labels) {
        mpls({.label = label});
    }
    return *this;
}

Packet& Packet::control_word(ControlWordFields fields) {
    return add(std::nullopt, [fields](const Bytes& inner, std::uint16_t, const Pseudo&) {
        Bytes bytes;
        put16(bytes, fields.first);
        put16(bytes, fields.sequence);
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::pppoe(PppoeFields fields) {
    return add(fields.ethertype, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        const std::uint16_t named = next == type_ipv4   ? std::uint16_t{0x0021}
                                    : next == type_ipv6 ? std::uint16_t{0x0057}
                                                        : next;
        const std::uint16_t protocol = fields.protocol.value_or(named);
        Bytes bytes{fields.version_type, fields.code};
        put16(bytes, fields.session);
        put16(bytes, fields.length.value_or(size16(inner.size() + (fields.compressed ? 1 : 2))));
        if (fields.compressed) {
            bytes.push_back(static_cast<std::uint8_t>(protocol));
        } else {
            put16(bytes, protocol);
        }
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::ipv4(Ipv4Fields fields) {
    const Bytes source = address_bytes(fields.source);
    const Bytes dest = address_bytes(fields.dest);
    add(type_ipv4, [fields, source, dest](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes options = fields.options;
        options.resize((options.size() + 3) / 4 * 4, 0);
        const std::size_t header_size = 20 + options.size();
        Bytes bytes;
        const std::uint8_t words = fields.header_words.value_or(static_cast<std::uint8_t>(header_size / 4));
        bytes.push_back(static_cast<std::uint8_t>(fields.version << 4 | words));
        bytes.push_back(fields.tos);
        put16(bytes, fields.total_length.value_or(size16(header_size + inner.size())));
        put16(bytes, fields.identification);
        put16(bytes,
              static_cast<std::uint16_t>((fields.dont_fragment ? 0x4000 : 0) |
                                         (fields.more_fragments ? 0x2000 : 0) | fields.fragment_offset));
        bytes.push_back(fields.ttl);
        bytes.push_back(fields.protocol.value_or(static_cast<std::uint8_t>(next)));
        put16(bytes, 0);
        put(bytes, source);
        put(bytes, dest);
        put(bytes, options);
        set16(bytes, 10, internet_checksum(bytes));
        put(bytes, inner);
        return bytes;
    });
    Bytes addresses = source;
    put(addresses, dest);
    layers_.back().pseudo = Pseudo{addresses};
    return *this;
}

Packet& Packet::ipv6(Ipv6Fields fields) {
    const Bytes source = address_bytes(fields.source);
    const Bytes dest = address_bytes(fields.dest);
    add(type_ipv6, [fields, source, dest](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes;
        put32(bytes, static_cast<std::uint32_t>(fields.version) << 28 |
                         static_cast<std::uint32_t>(fields.traffic_class) << 20 | fields.flow_label);
        put16(bytes, fields.payload_length.value_or(size16(inner.size())));
        bytes.push_back(fields.next_header.value_or(static_cast<std::uint8_t>(next)));
        bytes.push_back(fields.hop_limit);
        put(bytes, source);
        put(bytes, dest);
        put(bytes, inner);
        return bytes;
    });
    Bytes addresses = source;
    put(addresses, dest);
    layers_.back().pseudo = Pseudo{addresses};
    return *this;
}

Packet& Packet::extension(std::uint8_t protocol, ExtensionFields fields) {
    return add(protocol, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes{fields.next_header.value_or(static_cast<std::uint8_t>(next)),
                    fields.length.value_or(static_cast<std::uint8_t>(fields.size / 8 - 1))};
        put(bytes, options_padding(fields.size - 2));
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::hop_by_hop(ExtensionFields fields) {
    return extension(0, fields);
}

Packet& Packet::routing(ExtensionFields fields) {
    return add(43, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes(fields.size, 0);  // type 0, no segments left
        bytes[0] = fields.next_header.value_or(static_cast<std::uint8_t>(next));
        bytes[1] = fields.length.value_or(static_cast<std::uint8_t>(fields.size / 8 - 1));
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::dest_options(ExtensionFields fields) {
    return extension(60, fields);
}

Packet& Packet::authentication(ExtensionFields fields) {
    return add(51, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes(fields.size, 0);
        bytes[0] = fields.next_header.value_or(static_cast<std::uint8_t>(next));
        bytes[1] = fields.length.value_or(static_cast<std::uint8_t>(fields.size / 4 - 2));
        put(bytes, inner);
        return bytes;
    });
}

Packet& Packet::fragment(FragmentFields fields) {
    return add(44, [fields](const Bytes& inner, std::uint16_t next, const Pseudo&) {
        Bytes bytes{fields.next_header.value_or(static_cast<std::uint8_t>(next)), 0};
        put16(bytes, static_cast<std::uint16_t>(fields.offset << 3 | (fields.more ? 1 : 0)));
        put32(bytes, fields.identification);
        put(bytes, inner);
        return bytes;
    });
}

// A header in front of the payload, with the Internet checksum over pseudo-header, header and payload at a
// place.
Packet& Packet::upper(std::uint8_t protocol, Bytes header, std::optional<std::size_t> checksum_at) {
    return add(protocol, [=](const Bytes& inner, std::uint16_t, const Pseudo& pseudo) {
        Bytes bytes = header;
        put(bytes, inner);
        if (protocol == 17) {
            set16(bytes, 4, size16(bytes.size()));
        }
        if (checksum_at) {
            Bytes covered;
            if (protocol != 1) {  // RFC 792: ICMP has no pseudo-header
                covered = pseudo.addresses;
                put32(covered, static_cast<std::uint32_t>(bytes.size()));
                put32(covered, protocol);
            }
            put(covered, bytes);
            const std::uint16_t sum = internet_checksum(covered);
            set16(bytes, *checksum_at, protocol == 17 && sum == 0 ? std::uint16_t{0xffff} : sum);
        }
        return bytes;
    });
}

namespace {

Bytes with_ports(PortFields fields, std::size_t header_size) {
    Bytes bytes(header_size, 0);
    set16(bytes, 0, fields.source_port);
    set16(bytes, 2, fields.dest_port);
    return bytes;
}

}  // namespace

Packet& Packet::tcp(PortFields fields) {
    Bytes header = with_ports(fields, 20);
    header[12] = 5 << 4;
    header[13] = 0x10;  // ACK
    header[14] = 0xff;  // window
    return upper(6, header, 16);
}

Packet& Packet::udp(PortFields fields) {
    return upper(17, with_ports(fields, 8), 6);
}

Packet& Packet::udp_lite(PortFields fields) {
    return upper(136, with_ports(fields, 8), 6);  // coverage 0: the whole datagram (RFC 3828 section 3.1)
}

Packet& Packet::dccp(PortFields fields) {
    Bytes header = with_ports(fields, 16);
    header[4] = 4;           // data offset in words
    header[8] = 2 << 1 | 1;  // DCCP-Data, long sequence numbers (RFC 4340 section 5.1)
    return upper(33, header, 6);
}

Packet& Packet::sctp(PortFields fields) {
    return add(132, [fields](const Bytes& inner, std::uint16_t, const Pseudo&) {
        Bytes bytes = with_ports(fields, 12);
        put32(bytes, 0x0b00'0004);  // COOKIE ACK
        put(bytes, inner);
        const std::uint32_t crc = crc32c(bytes);
        for (std::size_t i = 0; i < 4; ++i) {
            bytes[8 + i] = static_cast<std::uint8_t>(crc >> (8 * i));
        }
        return bytes;
    });
}

Packet& Packet::icmp(IcmpFields fields) {
    return upper(1, {fields.type, fields.code, 0, 0, 0, 0, 0, 0}, 2);
}

Packet& Packet::icmpv6(IcmpFields fields) {
    return upper(58, {fields.type, fields.code, 0, 0, 0, 0, 0, 0}, 2);
}

Packet& Packet::payload(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(i);
    }
    return payload(std::move(bytes));
}

Packet& Packet::payload(Bytes bytes) {
    return add(std::nullopt, [bytes = std::move(bytes)](const Bytes& inner, std::uint16_t, const Pseudo&) {
        Bytes all = bytes;
        put(all, inner);
        return all;
    });
}

Packet& Packet::raw(std::uint16_t protocol, Bytes bytes) {
    payload(std::move(bytes));
    layers_.back().number = protocol;
    return *this;
}

Bytes Packet::frame(std::size_t minimum, std::uint8_t pad) const {
    Bytes bytes;
    std::uint16_t next = no_next_header;
    for (std::size_t i = layers_.size(); i-- > 0;) {
        Pseudo pseudo;
        for (std::size_t outer = i; outer-- > 0 && pseudo.addresses.empty();) {
            pseudo = layers_[outer].pseudo.value_or(Pseudo{});
        }
        bytes = layers_[i].write(bytes, next, pseudo);
        next = layers_[i].number.value_or(no_next_header);
    }
    bytes.resize(std::max(bytes.size(), minimum), pad);
    return bytes;
}

}  // namespace flowtap::test
