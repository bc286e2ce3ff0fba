#include "test/support/reference_match.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <vector>

namespace flowtap::test {
namespace {

const std::set<int> port_protocols{6, 17, 33, 132, 136};
const std::set<int> icmp_protocols{1, 58};
const std::set<int> extension_protocols{0, 43, 44, 51, 60, 140};

// A part of a frame; reading beyond its end throws.
class View {
  public:
    explicit View(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    std::size_t size() const { return bytes_.size(); }
    std::uint8_t byte(std::size_t at) const {
        if (at >= bytes_.size()) {
            throw std::out_of_range("beyond the end");
        }
        return bytes_[at];
    }
    std::uint16_t number(std::size_t at) const {
        return static_cast<std::uint16_t>(byte(at) * 256 + byte(at + 1));
    }
    View from(std::size_t at) const {
        if (at > bytes_.size()) {
            throw std::out_of_range("beyond the end");
        }
        return View(bytes_.subspan(at));
    }
    View first(std::size_t size) const {
        if (size > bytes_.size()) {
            throw std::out_of_range("beyond the end");
        }
        return View(bytes_.first(size));
    }
    lib::IpAddress address(lib::Family family, std::size_t at) const {
        lib::IpAddress address;
        address.family = family;
        for (std::size_t i = 0; i < (family == lib::Family::ipv4 ? 4U : 16U); ++i) {
            address.bytes.at(i) = byte(at + i);
        }
        return address;
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

Reading read_upper(PacketFacts facts, View payload, int protocol, bool later_fragment) {
    facts.protocol = static_cast<std::uint8_t>(protocol);
    if (port_protocols.contains(protocol)) {
        if (later_fragment || payload.size() < 4) {
            return {Outcome::matched_without_ports, facts};
        }
        facts.ports = {payload.number(0), payload.number(2)};
    }
    if (icmp_protocols.contains(protocol)) {
        if (later_fragment || payload.size() < 2) {
            return {Outcome::matched_without_ports, facts};
        }
        facts.icmp = {payload.byte(0), payload.byte(1)};
    }
    return {Outcome::matched_on_all, facts};
}

Reading read_ipv4(View rest, std::size_t l3_offset) {
    if (rest.size() < 20) {
        return {Outcome::truncated, {}};
    }
    const int version = rest.byte(0) / 16;
    const std::size_t header = rest.byte(0) % 16U * 4;
    const std::size_t total = rest.number(2);
    if (version != 4 || header < 20 || total < header) {
        return {Outcome::bad_ipv4, {}};
    }
    if (rest.size() < total) {
        return {Outcome::truncated, {}};
    }
    PacketFacts facts;
    facts.source = rest.address(lib::Family::ipv4, 12);
    facts.dest = rest.address(lib::Family::ipv4, 16);
    facts.l3_offset = l3_offset;
    facts.l3_length = total;
    const bool later = rest.number(6) % 8192 != 0;
    return read_upper(facts, rest.first(total).from(header), rest.byte(9), later);
}

Reading read_ipv6(View rest, std::size_t l3_offset) {
    if (rest.size() < 40) {
        return {Outcome::truncated, {}};
    }
    if (rest.byte(0) / 16 != 6) {
        return {Outcome::bad_ipv6, {}};
    }
    const std::size_t total = rest.number(4) + 40U;
    if (rest.size() < total) {
        return {Outcome::truncated, {}};
    }
    PacketFacts facts;
    facts.source = rest.address(lib::Family::ipv6, 8);
    facts.dest = rest.address(lib::Family::ipv6, 24);
    facts.l3_offset = l3_offset;
    facts.l3_length = total;
    const Reading addresses_only{Outcome::matched_on_addresses, facts};

    View payload = rest.first(total).from(40);
    int next = rest.byte(6);
    std::size_t skipped = 0;
    for (int headers = 1; extension_protocols.contains(next); ++headers) {
        if (headers > 8 || payload.size() < 8) {
            return addresses_only;
        }
        const int current = next;
        next = payload.byte(0);
        std::size_t size = (payload.byte(1) + 1U) * 8;
        if (current == 44) {
            size = 8;
            if (payload.number(2) / 8 != 0) {
                if (extension_protocols.contains(next) || skipped + size > 512) {
                    return addresses_only;
                }
                return read_upper(facts, payload.from(8), next, true);
            }
        }
        if (current == 51) {
            size = (payload.byte(1) + 2U) * 4;
        }
        skipped += size;
        if (skipped > 512 || payload.size() < size) {
            return addresses_only;
        }
        payload = payload.from(size);
    }
    return read_upper(facts, payload, next, false);
}

// RFC 2516, RFC 1661.
Reading read_pppoe(View rest, std::size_t offset) {
    if (rest.size() < 6) {
        return {Outcome::truncated, {}};
    }
    const std::size_t length = rest.number(4);
    if (rest.number(0) != 0x1100 || length == 0) {
        return {Outcome::bad_pppoe, {}};
    }
    if (rest.size() < 6 + length) {
        return {Outcome::truncated, {}};
    }
    const View ppp = rest.from(6).first(length);
    const std::size_t size = ppp.byte(0) % 2 == 1 ? 1 : 2;
    if (ppp.size() < size) {
        return {Outcome::bad_pppoe, {}};
    }
    switch (size == 1 ? ppp.byte(0) : ppp.number(0)) {
        case 0x21:
            return read_ipv4(ppp.from(size), offset + 6 + size);
        case 0x57:
            return read_ipv6(ppp.from(size), offset + 6 + size);
        default:
            return {Outcome::not_ip, {}};
    }
}

Reading read_labelled(View rest, std::size_t offset);

Reading read_ethernet(View rest, std::size_t offset, bool may_have_labels) {
    std::size_t at = 12;
    for (int tags = 0; rest.size() >= at + 2; ++tags) {
        const int type = rest.number(at);
        at += 2;
        switch (type) {
            case 0x0800:
                return read_ipv4(rest.from(at), offset + at);
            case 0x86dd:
                return read_ipv6(rest.from(at), offset + at);
            case 0x8864:
                return read_pppoe(rest.from(at), offset + at);
            case 0x8847:
            case 0x8848:
                return may_have_labels ? read_labelled(rest.from(at), offset + at)
                                       : Reading{Outcome::not_ip, {}};
            case 0x8100:
            case 0x88a8:
                if (tags == 4) {
                    return {Outcome::too_many_vlans, {}};
                }
                at += 2;
                break;
            default:
                return {Outcome::not_ip, {}};
        }
    }
    return {Outcome::truncated, {}};
}

// The one's complement sum of the 16-bit words of an IPv4 header is all ones (RFC 791, RFC 1071).
bool has_right_checksum(View ipv4) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < ipv4.byte(0) % 16U * 4; i += 2) {
        sum += ipv4.number(i);
        if (sum > 0xffff) {
            sum -= 0xffff;
        }
    }
    return sum == 0xffff;
}

Reading first_with_a_packet(const Reading& first, const Reading& second) {
    return !first.facts && second.facts ? second : first;
}

// What dataplane/match/ip_locator.h says of the bytes behind a label stack.
Reading read_unlabelled(View rest, std::size_t offset) {
    if (rest.size() < 2) {
        return {Outcome::truncated, {}};
    }
    const auto as_frame = [&](std::size_t behind) {
        return rest.size() < behind ? Reading{Outcome::truncated, {}}
                                    : read_ethernet(rest.from(behind), offset + behind, false);
    };
    const auto frame_or = [&](const Reading& packet) {
        const Reading inner = as_frame(0);
        return inner.facts ? inner : packet;
    };
    const int begin = rest.number(0);
    if (begin / 4096 == 4) {
        const Reading packet = read_ipv4(rest, offset);
        const bool sure = packet.facts && has_right_checksum(rest);
        return sure ? packet : frame_or(packet);
    }
    if (begin / 4096 == 6) {
        const Reading packet = read_ipv6(rest, offset);
        const bool sure = packet.facts && packet.facts->l3_length == rest.size();
        return sure ? packet : frame_or(packet);
    }
    if (begin == 0) {
        return first_with_a_packet(as_frame(4), as_frame(0));
    }
    if (begin < 4096) {
        return first_with_a_packet(as_frame(0), as_frame(4));
    }
    return begin == 4096 ? Reading{Outcome::not_ip, {}} : as_frame(0);
}

Reading read_labelled(View rest, std::size_t offset) {
    for (std::size_t labels = 1; labels <= 16; ++labels) {
        const std::size_t end = 4 * labels;
        if (rest.size() < end) {
            return {Outcome::truncated, {}};
        }
        if (rest.byte(end - 2) % 2 == 1) {
            const int label = rest.number(end - 4) * 16 + rest.byte(end - 2) / 16;
            const View inside = rest.from(end);
            return label == 0   ? read_ipv4(inside, offset + end)
                   : label == 2 ? read_ipv6(inside, offset + end)
                                : read_unlabelled(inside, offset + end);
        }
    }
    return {Outcome::too_many_labels, {}};
}

template <typename Term, typename Value>
bool list_matches(const std::vector<Term>& list, const Value& value) {
    bool any_positive = false;
    bool positive_hit = false;
    for (const Term& term : list) {
        const bool inside = term.first <= value && value <= term.last;
        if (term.negated && inside) {
            return false;
        }
        if (!term.negated) {
            any_positive = true;
            positive_hit = positive_hit || inside;
        }
    }
    return !any_positive || positive_hit;
}

std::string word(std::uint16_t number) {
    return std::to_string(number);
}

std::string word(const lib::IpAddress& address) {
    return lib::to_string(address);
}

template <typename Term>
std::string text(const std::vector<Term>& list) {
    std::string text;
    for (const Term& term : list) {
        text += text.empty() ? "" : ",";
        text += term.negated ? "!" : "";
        text += word(term.first);
        text += "-";
        text += word(term.last);
    }
    return text.empty() ? "*" : text;
}

}  // namespace

Reading reference_parse(std::span<const std::uint8_t> frame) {
    return read_ethernet(View(frame), 0, true);
}

bool reference_matches(const lib::Criterion& criterion, const PacketFacts& facts) {
    if (criterion.family != facts.source.family) {
        return false;
    }
    if (!list_matches(criterion.source_address, facts.source) ||
        !list_matches(criterion.dest_address, facts.dest)) {
        return false;
    }
    if (criterion.either_address && *criterion.either_address != facts.source &&
        *criterion.either_address != facts.dest) {
        return false;
    }
    // Of an unknown protocol only that is true which is true of every protocol.
    for (int protocol = 0; !criterion.protocol.empty() && protocol < 256; ++protocol) {
        if ((!facts.protocol || *facts.protocol == protocol) && !list_matches(criterion.protocol, protocol)) {
            return false;
        }
    }
    if (!criterion.source_port.empty() || !criterion.dest_port.empty()) {
        if (!facts.ports || !list_matches(criterion.source_port, facts.ports->first) ||
            !list_matches(criterion.dest_port, facts.ports->second)) {
            return false;
        }
    }
    if (!criterion.icmp_type.empty() || !criterion.icmp_code.empty()) {
        if (!facts.icmp || !list_matches(criterion.icmp_type, facts.icmp->first) ||
            !list_matches(criterion.icmp_code, facts.icmp->second)) {
            return false;
        }
    }
    return true;
}

std::uint16_t reference_vlan(std::span<const std::uint8_t> frame) {
    const View view(frame);
    if (view.size() < 16 || (view.number(12) != 0x8100 && view.number(12) != 0x88a8)) {
        return 0;
    }
    return view.number(14) % 4096;
}

bool reference_matches(const lib::Criterion& criterion, const std::optional<PacketFacts>& facts,
                       const lib::InterfaceTerm& arrival) {
    bool here = criterion.interfaces.empty();
    for (const lib::InterfaceTerm& term : criterion.interfaces) {
        if (term.port == arrival.port && (term.vlan == lib::any_vlan || term.vlan == arrival.vlan)) {
            here = true;
        }
    }
    return here && (criterion.layer2 || (facts && reference_matches(criterion, *facts)));
}

std::string to_string(const PacketFacts& facts) {
    std::string text = lib::to_string(facts.source) + " > " + lib::to_string(facts.dest) + " protocol " +
                       (facts.protocol ? std::to_string(*facts.protocol) : "unknown");
    if (facts.ports) {
        text += " ports " + std::to_string(facts.ports->first) + " > " + std::to_string(facts.ports->second);
    }
    if (facts.icmp) {
        text += " icmp " + std::to_string(facts.icmp->first) + "/" + std::to_string(facts.icmp->second);
    }
    return text;
}

std::string to_string(const lib::Criterion& criterion) {
    std::string interfaces;
    for (const lib::InterfaceTerm& term : criterion.interfaces) {
        interfaces += std::to_string(term.port) + "." + std::to_string(term.vlan) + " ";
    }
    return interfaces + (criterion.layer2 ? "whole frames " : "") +
           (criterion.either_address ? "host " + lib::to_string(*criterion.either_address) + " " : "") +
           "source " + text(criterion.source_address) + " dest " + text(criterion.dest_address) +
           " protocol " + text(criterion.protocol) + " ports " + text(criterion.source_port) + " > " +
           text(criterion.dest_port) + " icmp " + text(criterion.icmp_type) + "/" + text(criterion.icmp_code);
}

}  // namespace flowtap::test
