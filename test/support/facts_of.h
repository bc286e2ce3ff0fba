// The parser's result in the words of the reference, for comparison.
#pragma once

#include "dataplane/match/headers.h"
#include "test/support/reference_match.h"

#include <algorithm>

namespace flowtap::test {

inline Outcome outcome_of(dataplane::match::Verdict verdict) {
    using dataplane::match::Verdict;
    switch (verdict) {
        case Verdict::ok:
            return Outcome::matched_on_all;
        case Verdict::no_ports:
            return Outcome::matched_without_ports;
        case Verdict::extension_headers:
            return Outcome::matched_on_addresses;
        case Verdict::truncated:
            return Outcome::truncated;
        case Verdict::vlan_depth:
            return Outcome::too_many_vlans;
        case Verdict::mpls_depth:
            return Outcome::too_many_labels;
        case Verdict::not_ip:
            return Outcome::not_ip;
        case Verdict::bad_pppoe:
            return Outcome::bad_pppoe;
        case Verdict::bad_ipv4:
            return Outcome::bad_ipv4;
        case Verdict::bad_ipv6:
            return Outcome::bad_ipv6;
    }
    return Outcome::not_ip;
}

inline Reading reading_of(const dataplane::match::Headers& headers) {
    namespace flag = dataplane::match::flag;
    Reading reading{outcome_of(headers.verdict), {}};
    if (!matchable(headers.verdict)) {
        return reading;
    }
    PacketFacts facts;
    facts.source = {headers.family, headers.source};
    facts.dest = {headers.family, headers.dest};
    if (headers.protocol != dataplane::match::unknown_protocol) {
        facts.protocol = static_cast<std::uint8_t>(headers.protocol);
    }
    if ((headers.flags & flag::ports) != 0) {
        facts.ports = {headers.source_port, headers.dest_port};
    }
    if ((headers.flags & flag::icmp) != 0) {
        facts.icmp = {headers.icmp_type, headers.icmp_code};
    }
    facts.l3_offset = headers.l3_offset;
    facts.l3_length = headers.l3_length;
    reading.facts = facts;
    return reading;
}

}  // namespace flowtap::test
