#include "test/support/aimed_traffic.h"

#include <algorithm>
#include <array>

namespace flowtap::test {
namespace {

enum class Field {
    none,
    family,
    source,
    dest,
    protocol,
    source_port,
    dest_port,
    icmp_type,
    icmp_code,
    interface
};
constexpr std::uint64_t fields = 10;

bool has_ports(std::uint8_t protocol) {
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

bool is_icmp(std::uint8_t protocol) {
    return protocol == 1 || protocol == 58;
}

bool is_extension(std::uint8_t protocol) {
    return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60 ||
           protocol == 140;
}

// The neighbour of an address; of the lowest or highest one, itself.
lib::IpAddress neighbour(lib::IpAddress address, bool up) {
    const lib::IpAddress start = address;
    for (std::size_t i = lib::address_size(address.family); i-- > 0;) {
        address.bytes[i] = static_cast<std::uint8_t>(address.bytes[i] + (up ? 1 : 255));
        if (address.bytes[i] != (up ? 0 : 255)) {
            return address;
        }
    }
    return start;
}

}  // namespace

lib::IpAddress AimedTraffic::any_address(lib::Family family) {
    lib::IpAddress address;
    address.family = family;
    for (std::size_t i = 0; i < lib::address_size(family); ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(below(256));
    }
    return address;
}

lib::IpAddress AimedTraffic::address(const lib::AddressList& list, lib::Family family, bool beyond) {
    if (list.empty() || list.front().first.family != family) {
        return any_address(family);
    }
    const lib::AddressTerm& term = list[below(list.size())];
    const bool up = chance(50);
    const lib::IpAddress& edge = up ? term.last : term.first;
    return term.negated != beyond ? neighbour(edge, up) : edge;
}

std::uint16_t AimedTraffic::number(const lib::NumberList& list, std::uint16_t max, bool beyond) {
    if (list.empty()) {
        return static_cast<std::uint16_t>(below(std::uint64_t{max} + 1));
    }
    const lib::NumberTerm& term = list[below(list.size())];
    const bool up = chance(50);
    const unsigned edge = up ? term.last : term.first;
    const unsigned value = term.negated != beyond ? edge + (up ? 1U : unsigned(-1)) : edge;
    return static_cast<std::uint16_t>(std::min<unsigned>(value, max));  // below 0: the highest
}

/// One that has the fields that the criterion names, unless its list knows none.
std::uint8_t AimedTraffic::protocol(const lib::Criterion& criterion, bool beyond) {
    const bool ports = !criterion.source_port.empty() || !criterion.dest_port.empty();
    const bool icmp = !criterion.icmp_type.empty() || !criterion.icmp_code.empty();
    constexpr std::array<std::uint8_t, 5> with_ports{6, 17, 33, 132, 136};
    std::uint8_t chosen = 6;
    for (int tries = 0; tries < 8; ++tries) {
        if (!criterion.protocol.empty()) {
            chosen = static_cast<std::uint8_t>(number(criterion.protocol, 255, beyond));
        } else {
            chosen = icmp    ? (chance(50) ? std::uint8_t{1} : std::uint8_t{58})
                     : ports ? with_ports[below(with_ports.size())]
                             : static_cast<std::uint8_t>(below(256));
        }
        if ((!ports || has_ports(chosen)) && (!icmp || is_icmp(chosen)) && !is_extension(chosen)) {
            break;
        }
    }
    return criterion.family == lib::Family::ipv6 && is_extension(chosen) ? std::uint8_t{59} : chosen;
}

std::uint16_t AimedTraffic::vlan(const lib::InterfaceList& list, std::uint16_t port, bool beyond) {
    for (const lib::InterfaceTerm& term : list) {
        if (term.port == port && term.vlan != lib::any_vlan && chance(70)) {
            return beyond ? static_cast<std::uint16_t>((term.vlan + 1) % 4095) : term.vlan;
        }
    }
    return chance(60) ? std::uint16_t{0} : static_cast<std::uint16_t>(below(4095));
}

RandomTraffic::Sample AimedTraffic::frame(const lib::Criterion& criterion, std::uint16_t port) {
    const Field off = chance(50) ? Field::none : static_cast<Field>(below(fields));
    RandomTraffic::Sample sample;
    PacketFacts& facts = sample.facts;
    lib::Family family = criterion.family;
    if (off == Field::family) {
        family = family == lib::Family::ipv4 ? lib::Family::ipv6 : lib::Family::ipv4;
    }
    facts.source = address(criterion.source_address, family, off == Field::source);
    facts.dest = address(criterion.dest_address, family, off == Field::dest);
    if (criterion.either_address && family == criterion.family) {
        lib::IpAddress& side = chance(50) ? facts.source : facts.dest;
        side = off == Field::source ? neighbour(*criterion.either_address, chance(50))
                                    : *criterion.either_address;
    }
    std::uint8_t number_of = protocol(criterion, off == Field::protocol);
    if (family == lib::Family::ipv6 && is_extension(number_of)) {
        number_of = 59;
    }
    facts.protocol = number_of;
    const PortFields ports{number(criterion.source_port, 65535, off == Field::source_port),
                           number(criterion.dest_port, 65535, off == Field::dest_port)};
    const IcmpFields icmp{
        static_cast<std::uint8_t>(number(criterion.icmp_type, 255, off == Field::icmp_type)),
        static_cast<std::uint8_t>(number(criterion.icmp_code, 255, off == Field::icmp_code))};
    const bool later = chance(3);

    Packet packet;
    if (const std::uint16_t id = vlan(criterion.interfaces, port, off == Field::interface); id != 0) {
        packet.vlan({.id = id, .tag_type = chance(50) ? std::uint16_t{0x8100} : std::uint16_t{0x88a8}});
        if (chance(30)) {
            packet.vlan({.id = static_cast<std::uint16_t>(below(4095))});
        }
    }
    const std::string source = lib::to_string(facts.source);
    const std::string dest = lib::to_string(facts.dest);
    const auto offset = static_cast<std::uint16_t>(later ? 1 + below(8191) : 0);
    if (family == lib::Family::ipv4) {
        packet.ipv4({.source = source,
                     .dest = dest,
                     .fragment_offset = offset,
                     .options = Bytes(chance(10) ? below(41) : 0, 1)});
    } else {
        packet.ipv6({.source = source, .dest = dest});
        if (chance(10)) {
            packet.dest_options();
        }
        if (later) {
            packet.fragment({.offset = offset});
        }
    }
    if (has_ports(number_of) && !later) {
        facts.ports = {ports.source_port, ports.dest_port};
    }
    if (is_icmp(number_of) && !later) {
        facts.icmp = {icmp.type, icmp.code};
    }
    add_upper(packet, number_of, ports, icmp);
    sample.frame = packet.frame(60);
    return sample;
}

lib::AddressList AimedTraffic::around(const lib::IpAddress& address) {
    lib::AddressTerm term{address, address, false};
    const lib::IpAddress other = any_address(address.family);
    switch (below(5)) {
        case 0:  // a prefix
            for (std::size_t bit = below(8 * lib::address_size(address.family) + 1);
                 bit < 8 * lib::address_size(address.family); ++bit) {
                const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
                term.first.bytes[bit / 8] = static_cast<std::uint8_t>(term.first.bytes[bit / 8] & ~mask);
                term.last.bytes[bit / 8] = static_cast<std::uint8_t>(term.last.bytes[bit / 8] | mask);
            }
            break;
        case 1:  // a range with the address at one end
            (other < address ? term.first : term.last) = other;
            break;
        case 2:  // just beside it
            term.first = term.last = neighbour(address, chance(50));
            break;
        case 3:
            term.negated = chance(50);
            break;
        default:
            break;
    }
    lib::AddressList list{term};
    if (chance(20)) {
        const lib::IpAddress more = neighbour(address, chance(50));
        list.push_back({more, more, chance(50)});
    }
    return list;
}

lib::NumberList AimedTraffic::around(std::uint16_t number, std::uint16_t max) {
    lib::NumberTerm term{number, number, false};
    switch (below(5)) {
        case 0:
            term.last = max;
            break;
        case 1:
            term.first = 0;
            break;
        case 2:
            term.first = term.last =
                number == max ? std::uint16_t{0} : static_cast<std::uint16_t>(number + 1);
            term.negated = chance(50);
            break;
        default:
            break;
    }
    return {term};
}

lib::Criterion AimedTraffic::criterion(const PacketFacts& facts, const lib::InterfaceTerm& arrival) {
    lib::Criterion made;
    made.family = facts.source.family;
    if (chance(60)) {
        made.source_address = around(facts.source);
    }
    if (chance(60) || made.source_address.empty()) {
        made.dest_address = around(facts.dest);
    }
    if (chance(10)) {
        made.either_address = chance(50) ? facts.source : facts.dest;
    }
    if (facts.protocol && chance(40)) {
        made.protocol = around(*facts.protocol, 255);
    }
    if (facts.ports && chance(40)) {
        made.source_port = around(facts.ports->first, 65535);
    }
    if (facts.ports && chance(40)) {
        made.dest_port = around(facts.ports->second, 65535);
    }
    if (facts.icmp && chance(60)) {
        made.icmp_type = around(facts.icmp->first, 255);
        if (chance(50)) {
            made.icmp_code = around(facts.icmp->second, 255);
        }
    }
    if (chance(15)) {
        made.interfaces = {chance(50) ? arrival : lib::InterfaceTerm{arrival.port, lib::any_vlan}};
    }
    return made;
}

unsigned elements_off(const lib::Criterion& criterion, const std::optional<PacketFacts>& facts,
                      const lib::InterfaceTerm& arrival) {
    if (reference_matches(criterion, facts, arrival)) {
        return 0;
    }
    std::array<lib::Criterion, 9> without;
    without.fill(criterion);
    without[0].source_address.clear();
    without[1].dest_address.clear();
    without[2].either_address.reset();
    without[3].protocol.clear();
    without[4].source_port.clear();
    without[5].dest_port.clear();
    without[6].icmp_type.clear();
    without[7].icmp_code.clear();
    without[8].interfaces.clear();
    return std::ranges::any_of(
               without, [&](const lib::Criterion& less) { return reference_matches(less, facts, arrival); })
               ? 1
               : 2;
}

}  // namespace flowtap::test
