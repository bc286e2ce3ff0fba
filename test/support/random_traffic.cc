#include "test/support/random_traffic.h"

#include <algorithm>

namespace flowtap::test {
namespace {

const std::vector<std::uint16_t> protocols{6, 6, 6, 17, 17, 132, 136, 33, 1, 58, 47, 50, 59, 0, 255};
const std::vector<std::uint16_t> ports{0, 22, 53, 80, 443, 1023, 1024, 8080, 40000, 65535};
const std::vector<std::uint16_t> icmp_numbers{0, 3, 8, 11, 128, 129, 135, 255};

const std::vector<std::uint16_t> vlans{0, 1, 2, 100, 4094};

bool has_ports(std::uint16_t protocol) {
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

bool is_icmp(std::uint16_t protocol) {
    return protocol == 1 || protocol == 58;
}

void set_bits(lib::IpAddress& address, std::size_t from, bool value) {
    for (std::size_t bit = from; bit < 8 * lib::address_size(address.family); ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
        std::uint8_t& byte = address.bytes[bit / 8];
        byte = static_cast<std::uint8_t>(value ? byte | mask : byte & ~mask);
    }
}

}  // namespace

void add_upper(Packet& packet, std::uint8_t protocol, const PortFields& port_fields,
               const IcmpFields& icmp_fields) {
    switch (protocol) {
        case 6:
            packet.tcp(port_fields);
            break;
        case 17:
            packet.udp(port_fields);
            break;
        case 33:
            packet.dccp(port_fields);
            break;
        case 132:
            packet.sctp(port_fields);
            break;
        case 136:
            packet.udp_lite(port_fields);
            break;
        case 1:
            packet.icmp(icmp_fields);
            break;
        case 58:
            packet.icmpv6(icmp_fields);
            break;
        default:
            packet.raw(protocol, Bytes(8, 0x5a));
            break;
    }
}

RandomTraffic::RandomTraffic(std::uint64_t seed, std::size_t networks) : random_(seed) {
    for (std::size_t i = 0; i < networks; ++i) {
        for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
            lib::IpAddress network;
            network.family = family;
            for (std::size_t byte = 0; byte < lib::address_size(family); ++byte) {
                network.bytes[byte] = static_cast<std::uint8_t>(below(256));
            }
            // Few first bytes, so that wide prefixes are shared.
            network.bytes[0] = family == lib::Family::ipv4 ? static_cast<std::uint8_t>(10 + below(3)) : 0x20;
            networks_.push_back(network);
        }
    }
}

std::uint64_t RandomTraffic::below(std::uint64_t bound) {
    return random_() % bound;
}

// One of the networks, its last bits changed: mostly a few, sometimes many.
lib::IpAddress RandomTraffic::address(lib::Family family) {
    const std::size_t offset = family == lib::Family::ipv4 ? 0 : 1;
    lib::IpAddress address = networks_[2 * below(networks_.size() / 2) + offset];
    const std::size_t bits = 8 * lib::address_size(family);
    const std::size_t changed = chance(50) ? below(3) : chance(70) ? below(12) : below(bits + 1);
    for (std::size_t i = 0; i < changed; ++i) {
        const std::size_t bit = bits - 1 - i;
        address.bytes[bit / 8] ^= static_cast<std::uint8_t>(below(2) << (7 - bit % 8));
    }
    return address;
}

lib::AddressTerm RandomTraffic::address_term(lib::Family family) {
    lib::AddressTerm term{address(family), address(family), chance(25)};
    const std::size_t bits = 8 * lib::address_size(family);
    switch (below(8)) {
        case 0:
        case 1:
        case 2:  // a host
            term.last = term.first;
            break;
        case 3:
        case 4: {  // a prefix
            const std::size_t length = chance(70) ? bits - below(12) : below(bits + 1);
            term.last = term.first;
            set_bits(term.first, length, false);
            set_bits(term.last, length, true);
            break;
        }
        case 5:  // A-*
            set_bits(term.last, 0, true);
            break;
        case 6:  // *-B
            set_bits(term.first, 0, false);
            break;
        default:  // A-B
            break;
    }
    if (term.last < term.first) {
        std::swap(term.first, term.last);
    }
    return term;
}

lib::NumberTerm RandomTraffic::number_term(const std::vector<std::uint16_t>& pool, std::uint16_t max) {
    lib::NumberTerm term{pool[below(pool.size())], pool[below(pool.size())], chance(25)};
    switch (below(6)) {
        case 0:
            term.last = max;
            break;
        case 1:
            term.first = 0;
            break;
        case 2:
            break;
        default:
            term.last = term.first;
            break;
    }
    if (term.last < term.first) {
        std::swap(term.first, term.last);
    }
    return term;
}

lib::NumberList RandomTraffic::number_list(const std::vector<std::uint16_t>& pool, std::uint16_t max) {
    lib::NumberList list(1 + below(chance(80) ? 2 : 12));
    std::ranges::generate(list, [&] { return number_term(pool, max); });
    return list;
}

lib::Criterion RandomTraffic::criterion(bool wild) {
    lib::Criterion criterion;
    criterion.family = chance(50) ? lib::Family::ipv4 : lib::Family::ipv6;
    const auto addresses = [&] {
        lib::AddressList list(1 + below(chance(80) ? 2 : chance(95) ? 12 : 200));
        std::ranges::generate(list, [&] { return address_term(criterion.family); });
        return list;
    };
    if (chance(60)) {
        criterion.source_address = addresses();
    }
    if (chance(60)) {
        criterion.dest_address = addresses();
    }
    if (chance(12)) {
        criterion.either_address = address(criterion.family);
    }
    const auto positive = [](const lib::AddressTerm& term) { return !term.negated; };
    if (!wild && !criterion.either_address && std::ranges::none_of(criterion.source_address, positive) &&
        std::ranges::none_of(criterion.dest_address, positive)) {
        const lib::IpAddress host = address(criterion.family);
        (chance(50) ? criterion.source_address : criterion.dest_address).push_back({host, host, false});
    }
    if (chance(40)) {
        criterion.protocol = number_list(protocols, 255);
    }
    if (chance(20)) {
        criterion.source_port = number_list(ports, 65535);
    }
    if (chance(20)) {
        criterion.dest_port = number_list(ports, 65535);
    }
    if (chance(8)) {
        criterion.icmp_type = number_list(icmp_numbers, 255);
    }
    if (chance(5)) {
        criterion.icmp_code = number_list(icmp_numbers, 255);
    }
    return criterion;
}

lib::InterfaceList RandomTraffic::interfaces() {
    lib::InterfaceList list(1 + below(chance(80) ? 2 : 6));
    std::ranges::generate(list, [&] {
        return lib::InterfaceTerm{static_cast<std::uint16_t>(below(4)),
                                  chance(20) ? lib::any_vlan : vlans[below(vlans.size())]};
    });
    return list;
}

RandomTraffic::Sample RandomTraffic::strange_frame() {
    Sample sample;
    sample.is_packet = false;
    Packet packet;
    for (std::uint64_t tags = chance(30) ? 0 : below(7); tags > 0; --tags) {
        packet.vlan({.id = vlans[below(vlans.size())],
                     .tag_type = chance(50) ? std::uint16_t{0x8100} : std::uint16_t{0x88a8},
                     .priority = static_cast<std::uint8_t>(below(8))});
    }
    switch (below(3)) {
        case 0:
            sample.frame = packet.ipv4({.version = 5}).udp().frame(60);
            break;
        case 1:
            sample.frame = packet.ipv6({.version = 7}).udp().frame(60);
            break;
        default:
            sample.frame = packet.raw(0x0806, Bytes(below(60), 0x5a)).frame();
            break;
    }
    if (chance(40)) {
        sample.frame.resize(below(std::min<std::uint64_t>(sample.frame.size(), 34)));
    }
    return sample;
}

// A PPPoE session, or labels with or without a pseudowire behind them.
void RandomTraffic::add_carrier(Packet& packet) {
    if (chance(40)) {
        packet.pppoe({.compressed = chance(20)});
        return;
    }
    for (std::uint64_t labels = 1 + below(chance(90) ? 3 : 16); labels > 0; --labels) {
        packet.mpls({.label = static_cast<std::uint32_t>(16 + below((1 << 20) - 16))});
    }
    if (chance(60)) {
        return;
    }
    if (chance(50)) {
        packet.control_word({.sequence = static_cast<std::uint16_t>(below(65536))});
    }
    packet.ethernet();
    for (std::uint64_t tags = chance(60) ? 0 : below(5); tags > 0; --tags) {
        packet.vlan({.id = vlans[below(vlans.size())]});
    }
    if (chance(20)) {
        packet.pppoe();
    }
}

/// Of either family, which is returned.
lib::Family RandomTraffic::pair_of_addresses(PacketFacts& facts) {
    const lib::Family family = chance(50) ? lib::Family::ipv4 : lib::Family::ipv6;
    facts.source = address(family);
    facts.dest = address(family);
    return family;
}

RandomTraffic::Sample RandomTraffic::frame() {
    Sample sample;
    PacketFacts& facts = sample.facts;
    const lib::Family family = pair_of_addresses(facts);
    const std::string source = lib::to_string(facts.source);
    const std::string dest = lib::to_string(facts.dest);

    Packet packet;
    for (std::uint64_t tags = chance(60) ? 0 : below(5); tags > 0; --tags) {
        packet.vlan({.id = chance(80) ? vlans[below(vlans.size())] : static_cast<std::uint16_t>(below(4096)),
                     .tag_type = chance(50) ? std::uint16_t{0x8100} : std::uint16_t{0x88a8}});
    }
    if (chance(15)) {
        add_carrier(packet);
    }
    const bool later = chance(5);
    const bool first = !later && chance(5);
    if (family == lib::Family::ipv4) {
        packet.ipv4({.source = source,
                     .dest = dest,
                     .more_fragments = first || (later && chance(50)),
                     .fragment_offset = static_cast<std::uint16_t>(later ? 1 + below(8191) : 0),
                     .options = Bytes(chance(20) ? below(41) : 0, 1)});
    } else {
        packet.ipv6({.source = source, .dest = dest});
        for (std::uint64_t headers = chance(70) ? 0 : below(4); headers > 0; --headers) {
            switch (below(4)) {
                case 0:
                    packet.hop_by_hop({.size = 8 + 8 * below(4)});
                    break;
                case 1:
                    packet.routing({.size = 8 + 8 * below(4)});
                    break;
                case 2:
                    packet.authentication({.size = 16 + 8 * below(4)});
                    break;
                default:
                    packet.dest_options({.size = 8 + 8 * below(4)});
                    break;
            }
        }
        if (first || later) {
            packet.fragment(
                {.offset = static_cast<std::uint16_t>(later ? 1 + below(8191) : 0), .more = first});
        }
    }

    auto protocol = static_cast<std::uint8_t>(protocols[below(protocols.size())]);
    if (family == lib::Family::ipv6 && protocol == 0) {
        protocol = 47;  // 0 would be an extension header
    }
    facts.protocol = protocol;
    const PortFields port_fields{ports[below(ports.size())], ports[below(ports.size())]};
    const IcmpFields icmp_fields{static_cast<std::uint8_t>(icmp_numbers[below(icmp_numbers.size())]),
                                 static_cast<std::uint8_t>(icmp_numbers[below(icmp_numbers.size())])};
    if (has_ports(protocol) && !later) {
        facts.ports = {port_fields.source_port, port_fields.dest_port};
    }
    if (is_icmp(protocol) && !later) {
        facts.icmp = {icmp_fields.type, icmp_fields.code};
    }
    add_upper(packet, protocol, port_fields, icmp_fields);
    sample.frame = packet.payload(below(20)).frame(60);
    return sample;
}

RandomTraffic::Datagram RandomTraffic::datagram(std::uint16_t id) {
    Datagram datagram;
    PacketFacts& facts = datagram.facts;
    const lib::Family family = pair_of_addresses(facts);
    const std::string source = lib::to_string(facts.source);
    const std::string dest = lib::to_string(facts.dest);
    auto protocol = static_cast<std::uint8_t>(protocols[below(protocols.size())]);
    protocol = protocol == 0 ? std::uint8_t{17} : protocol;
    const PortFields port_fields{ports[below(ports.size())], ports[below(ports.size())]};
    const IcmpFields icmp_fields{static_cast<std::uint8_t>(icmp_numbers[below(icmp_numbers.size())]),
                                 static_cast<std::uint8_t>(icmp_numbers[below(icmp_numbers.size())])};
    facts.protocol = protocol;
    if (has_ports(protocol)) {
        facts.ports = {port_fields.source_port, port_fields.dest_port};
    }
    if (is_icmp(protocol)) {
        facts.icmp = {icmp_fields.type, icmp_fields.code};
    }
    const bool tagged = chance(30);
    const std::uint16_t vlan = vlans[below(vlans.size())];
    const bool hidden = chance(50);
    const std::size_t count = 2 + below(4);
    for (std::uint16_t index = 0; index < count; ++index) {
        const bool more = index + 1U != count;
        const auto offset = static_cast<std::uint16_t>(index * 4);
        Packet packet;
        if (tagged) {
            packet.vlan({.id = vlan});
        }
        if (family == lib::Family::ipv4) {
            packet.ipv4({.source = source,
                         .dest = dest,
                         .identification = id,
                         .more_fragments = more,
                         .fragment_offset = offset,
                         .protocol = protocol});
        } else {
            packet.ipv6({.source = source, .dest = dest})
                .fragment({.offset = offset,
                           .more = more,
                           .identification = id,
                           .next_header = hidden ? std::uint8_t{60} : protocol});
        }
        if (index == 0) {
            if (family == lib::Family::ipv6 && hidden) {
                packet.dest_options();
            }
            add_upper(packet, protocol, port_fields, icmp_fields);
        }
        datagram.fragments.push_back(packet.payload(24).frame());
    }
    return datagram;
}

}  // namespace flowtap::test
