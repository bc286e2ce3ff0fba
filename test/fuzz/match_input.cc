#include "test/fuzz/match_input.h"

#include "test/fuzz/match_pools.h"

#include <array>
#include <cstddef>
#include <string>
#include <utility>

namespace flowtap::fuzz {
namespace {

namespace match = dataplane::match;

void set_bits(lib::IpAddress& address, std::size_t from, bool value) {
    for (std::size_t bit = from; bit < 8 * lib::address_size(address.family); ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
        std::uint8_t& byte = address.bytes[bit / 8];
        byte = static_cast<std::uint8_t>(value ? byte | mask : byte & ~mask);
    }
}

// One byte for the shape, one for an address; another for a second one or a prefix's length.
lib::AddressTerm read_address_term(Input& input, lib::Family family) {
    const std::uint8_t shape = input.byte();
    lib::AddressTerm term;
    term.negated = (shape & 8) != 0;
    term.first = term.last = input.pick(pool_of(family));
    switch (shape & 7) {
        case 4:
            term.last = input.pick(pool_of(family));
            break;
        case 5:
        case 6: {
            const std::size_t bits = 8 * lib::address_size(family);
            const std::size_t length = bits - input.below(bits + 1);
            set_bits(term.first, length, false);
            set_bits(term.last, length, true);
            break;
        }
        case 7:
            set_bits((shape & 16) != 0 ? term.first : term.last, 0, (shape & 16) == 0);
            break;
        default:  // a host
            break;
    }
    if (term.last < term.first) {
        std::swap(term.first, term.last);
    }
    return term;
}

lib::AddressList read_addresses(Input& input, lib::Family family) {
    lib::AddressList list;
    do {
        list.push_back(read_address_term(input, family));
    } while (list.size() < 4 && input.byte() % 4 == 1);
    return list;
}

// One byte for the shape, one or two for each number.
lib::NumberTerm read_number_term(Input& input, std::uint16_t max, bool of_protocols) {
    const std::uint8_t shape = input.byte();
    const auto read = [&] {
        const std::uint16_t number = (shape & 16) != 0 ? input.number()
                                     : of_protocols    ? std::uint16_t{input.pick(protocols)}
                                                       : input.pick(numbers);
        return std::min(number, max);
    };
    lib::NumberTerm term;
    term.negated = (shape & 8) != 0;
    term.first = term.last = read();
    switch (shape & 7) {
        case 5:
            term.last = read();
            break;
        case 6:
            term.last = max;
            break;
        case 7:
            term.first = 0;
            break;
        default:
            break;
    }
    if (term.last < term.first) {
        std::swap(term.first, term.last);
    }
    return term;
}

lib::NumberList read_numbers(Input& input, std::uint16_t max, bool of_protocols = false) {
    lib::NumberList list;
    do {
        list.push_back(read_number_term(input, max, of_protocols));
    } while (list.size() < 4 && input.byte() % 4 == 1);
    return list;
}

lib::InterfaceList read_interfaces(Input& input) {
    lib::InterfaceList list;
    do {
        const std::uint8_t which = input.byte();
        const std::uint16_t vlan = vlans[which / 4 % vlans.size()];
        list.push_back({static_cast<std::uint16_t>(which % ports), vlan == 4095 ? lib::any_vlan : vlan});
    } while (list.size() < 4 && input.byte() % 4 == 1);
    return list;
}

void add_upper(test::Packet& packet, std::uint8_t protocol, Input& input) {
    const test::PortFields port_fields{input.pick(numbers), input.pick(numbers)};
    const test::IcmpFields icmp_fields{static_cast<std::uint8_t>(port_fields.source_port),
                                       static_cast<std::uint8_t>(port_fields.dest_port)};
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
            packet.raw(protocol, test::Bytes(8, 0x5a));
            break;
    }
}

}  // namespace

// A byte says what is named, a second one the family and whether it is of whole frames.
lib::Criterion read_criterion(Input& input) {
    const std::uint8_t names = input.byte();
    const std::uint8_t more = input.byte();
    lib::Criterion criterion;
    criterion.family = (more & 1) != 0 ? lib::Family::ipv6 : lib::Family::ipv4;
    if ((more & 0xe) == 0xe) {
        criterion.layer2 = true;
        criterion.interfaces = read_interfaces(input);
        return criterion;
    }
    if ((names & 1) != 0) {
        criterion.source_address = read_addresses(input, criterion.family);
    }
    if ((names & 2) != 0) {
        criterion.dest_address = read_addresses(input, criterion.family);
    }
    if ((names & 4) != 0) {
        criterion.protocol = read_numbers(input, 255, true);
    }
    if ((names & 8) != 0) {
        criterion.source_port = read_numbers(input, 65535);
    }
    if ((names & 16) != 0) {
        criterion.dest_port = read_numbers(input, 65535);
    }
    if ((names & 32) != 0) {
        criterion.interfaces = read_interfaces(input);
    }
    if ((names & 64) != 0) {
        criterion.either_address = input.pick(pool_of(criterion.family));
    }
    if ((names & 128) != 0) {
        ((more & 2) != 0 ? criterion.icmp_code : criterion.icmp_type) = read_numbers(input, 255);
    }
    return criterion;
}

lib::Criterion one_of_crowd(const lib::Criterion& criterion, std::uint8_t way, std::uint16_t number) {
    lib::Criterion made = criterion;
    if (made.layer2) {
        return made;
    }
    const auto next = [number](const lib::NumberList& list, std::uint32_t block) {
        const std::uint32_t begin = list.empty() ? 80 : list.front().first;
        const auto first = static_cast<std::uint16_t>(std::min<std::uint32_t>(begin + number * block, 65535));
        return lib::NumberList{
            {first, static_cast<std::uint16_t>(std::min<std::uint32_t>(first + block - 1, 65535)), false}};
    };
    switch (way % 8) {
        case 1:
            made.dest_port = next(made.dest_port, 1);
            break;
        case 2:
            made.dest_port = next(made.dest_port, 16);
            break;
        case 3:
            made.source_port = next(made.source_port, 1);
            break;
        case 4:
            made.protocol = {
                {static_cast<std::uint16_t>(number % 256), static_cast<std::uint16_t>(number % 256), false}};
            break;
        case 5:
            made.interfaces = {
                {static_cast<std::uint16_t>(number % ports), static_cast<std::uint16_t>(number / ports)}};
            break;
        case 6:
            made.either_address = pool_of(made.family)[number % 16];
            break;
        case 7: {
            const lib::IpAddress& address = pool_of(made.family)[number % 16];
            made.dest_address = {{address, address, false}};
            break;
        }
        default:
            break;
    }
    return made;
}

// Raw bytes, or the fields of a packet.
test::Bytes read_frame(Input& input) {
    const std::uint8_t kind = input.byte();
    if ((kind & 7) == 7) {
        const auto bytes = input.bytes(input.number() % 1515U);
        return {bytes.begin(), bytes.end()};
    }
    const lib::Family family = (kind & 1) != 0 ? lib::Family::ipv6 : lib::Family::ipv4;
    const std::uint8_t hosts = input.byte();
    const std::string source = lib::to_string(pool_of(family)[hosts % 16]);
    const std::string dest = lib::to_string(pool_of(family)[hosts / 16]);
    const std::uint8_t what = input.byte();
    const std::uint8_t protocol = protocols[what % protocols.size()];
    test::Packet packet;
    if ((kind & 8) != 0) {
        packet.vlan({.id = static_cast<std::uint16_t>(vlans[what / 32] % 4095)});
    }
    if ((kind & 16) != 0) {
        packet.mpls({.label = 17});
    }
    const bool later = (kind & 0xe0) == 0x20;
    const bool first = (kind & 0xe0) == 0x40;
    const bool longer = (kind & 0xe0) == 0x60;
    if (family == lib::Family::ipv4) {
        packet.ipv4({.source = source,
                     .dest = dest,
                     .more_fragments = first,
                     .fragment_offset = static_cast<std::uint16_t>(later ? 2 : 0),
                     .options = test::Bytes(longer ? 4 : 0, 1),
                     .protocol = protocol});
    } else {
        packet.ipv6({.source = source, .dest = dest});
        if (longer) {
            packet.dest_options();
        }
        if (first || later) {
            packet.fragment({.offset = static_cast<std::uint16_t>(later ? 2 : 0),
                             .more = first,
                             .next_header = protocol});
        }
    }
    if (!later) {
        add_upper(packet, protocol, input);
    }
    test::Bytes frame = packet.payload(4).frame();
    if ((kind & 0xe0) == 0xe0) {
        frame.resize(frame.size() - std::min<std::size_t>(frame.size(), input.byte() % 64));
    }
    return frame;
}

match::UpperFacts read_upper(Input& input) {
    match::UpperFacts facts{.protocol = input.pick(protocols)};
    const std::uint8_t parts = match::parts_of(facts.protocol);
    if ((parts & match::flag::ports) != 0) {
        facts.source_port = input.pick(numbers);
        facts.dest_port = input.pick(numbers);
    }
    if ((parts & match::flag::icmp) != 0) {
        facts.icmp_type = static_cast<std::uint8_t>(input.pick(numbers));
        facts.icmp_code = static_cast<std::uint8_t>(input.pick(numbers));
    }
    return facts;
}

}  // namespace flowtap::fuzz
