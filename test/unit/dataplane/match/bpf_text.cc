#include "test/unit/dataplane/match/bpf_text.h"

#include <functional>
#include <vector>

namespace flowtap::test {
namespace {

using Text = std::optional<std::string>;

std::string both(const std::string& one, const std::string& other) {
    return one.empty() ? other : other.empty() ? one : one + " and " + other;
}

template <typename Term, typename Say>
Text list_text(const std::vector<Term>& list, Say say) {
    std::string any;
    std::string none;
    for (const Term& term : list) {
        const Text text = say(term);
        if (!text) {
            return {};
        }
        if (term.negated) {
            none = both(none, "not (" + *text + ")");
        } else {
            any += (any.empty() ? "" : " or ") + ("(" + *text + ")");
        }
    }
    return both(any.empty() ? "" : "(" + any + ")", none);
}

// The length of the prefix from first to last, if it is one.
std::optional<unsigned> prefix_length(const lib::AddressTerm& term) {
    const auto bits = static_cast<unsigned>(8 * lib::address_size(term.first.family));
    const auto bit = [](const lib::IpAddress& address, unsigned at) {
        return (address.bytes[at / 8] >> (7 - at % 8) & 1) != 0;
    };
    unsigned length = 0;
    while (length < bits && bit(term.first, length) == bit(term.last, length)) {
        ++length;
    }
    for (unsigned at = length; at < bits; ++at) {
        if (bit(term.first, at) || !bit(term.last, at)) {
            return {};
        }
    }
    return length;
}

Text addresses_text(const lib::AddressList& list, const std::string& side) {
    return list_text(list, [&](const lib::AddressTerm& term) -> Text {
        const std::string first = lib::to_string(term.first);
        if (term.first == term.last) {
            return side + " host " + first;
        }
        const auto length = prefix_length(term);
        return length ? Text(side + " net " + first + "/" + std::to_string(*length)) : std::nullopt;
    });
}

std::string range_text(const std::string& what, const lib::NumberTerm& term) {
    if (term.first == term.last) {
        return what + " = " + std::to_string(term.first);
    }
    return what + " >= " + std::to_string(term.first) + " and " + what + " <= " + std::to_string(term.last);
}

std::string protocol_text(const lib::Criterion& criterion) {
    const bool v4 = criterion.family == lib::Family::ipv4;
    return *list_text(criterion.protocol, [&](const lib::NumberTerm& term) -> Text {
        if (term.first == term.last) {
            return (v4 ? "ip proto " : "ip6 proto ") + std::to_string(term.first);
        }
        return range_text(v4 ? "ip[9]" : "ip6[6]", term);
    });
}

std::string ports_text(const lib::NumberList& list, const std::string& side) {
    return *list_text(list, [&](const lib::NumberTerm& term) -> Text {
        return side + " portrange " + std::to_string(term.first) + "-" + std::to_string(term.last);
    });
}

std::string icmp_text(const lib::NumberList& list, const std::string& what) {
    return *list_text(list, [&](const lib::NumberTerm& term) -> Text { return range_text(what, term); });
}

/// All but where the frame came in; of an IP packet whose headers begin where BPF thinks they do.
Text packet_text(const lib::Criterion& criterion) {
    const bool v4 = criterion.family == lib::Family::ipv4;
    const Text source = addresses_text(criterion.source_address, "src");
    const Text dest = addresses_text(criterion.dest_address, "dst");
    if (!source || !dest) {
        return {};
    }
    std::string text = both(both(v4 ? "ip" : "ip6", *source), *dest);
    if (criterion.either_address) {
        text = both(text, "host " + lib::to_string(*criterion.either_address));
    }
    text = both(text, protocol_text(criterion));
    if (!criterion.source_port.empty() || !criterion.dest_port.empty()) {
        // A list of negated terms asks for ports as any other does.
        text = both(text, "src portrange 0-65535");
        text = both(both(text, ports_text(criterion.source_port, "src")),
                    ports_text(criterion.dest_port, "dst"));
    }
    if (!criterion.icmp_type.empty() || !criterion.icmp_code.empty()) {
        const std::string icmp = v4 ? "icmp" : "icmp6";
        text = both(text, icmp + "[0] >= 0");
        text = both(both(text, icmp_text(criterion.icmp_type, icmp + "[0]")),
                    icmp_text(criterion.icmp_code, icmp + "[1]"));
    }
    return text;
}

/// Behind `tags` more tags at most. Each `vlan` moves all that stands after it.
std::string behind_tags(const std::string& packet, unsigned tags) {
    return tags == 0 ? packet : packet + " or (vlan and (" + behind_tags(packet, tags - 1) + "))";
}

std::string at_interface(const std::string& packet, bool whole, std::uint16_t vlan) {
    if (whole) {
        return vlan == lib::any_vlan ? "len >= 0"
               : vlan == 0           ? "(ether[12:2] != 0x8100 and ether[12:2] != 0x88a8) or vlan 0"
                                     : "vlan " + std::to_string(vlan);
    }
    if (vlan == lib::any_vlan) {
        return behind_tags(packet, 4);
    }
    const std::string tagged = "(vlan " + std::to_string(vlan) + " and (" + behind_tags(packet, 3) + "))";
    return vlan == 0 ? packet + " or " + tagged : tagged;
}

}  // namespace

std::optional<std::string> bpf_text(const lib::Criterion& criterion, std::uint16_t port) {
    if (lib::term_count(criterion) > 24) {
        return {};
    }
    const Text packet = criterion.layer2 ? Text("") : packet_text(criterion);
    if (!packet) {
        return {};
    }
    if (criterion.interfaces.empty()) {
        return behind_tags(*packet, 4);
    }
    // One filter says one interface: the first of the port.
    for (const lib::InterfaceTerm& term : criterion.interfaces) {
        if (term.port == port) {
            return at_interface(*packet, criterion.layer2, term.vlan);
        }
    }
    return {};
}

}  // namespace flowtap::test
