// Prints what the frame parser reads in each frame of a capture file (Ethernet only), one JSON object a line:
//
//     frame-facts FILE
#include "dataplane/match/frame_parser.h"
#include "lib/address.h"

#include <nlohmann/json.hpp>
#include <pcap/pcap.h>

#include <array>
#include <cstdio>
#include <memory>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr std::array verdicts{"ok",         "no_ports", "extension_headers", "truncated", "vlan_depth",
                              "mpls_depth", "not_ip",   "bad_pppoe",         "bad_ipv4",  "bad_ipv6"};

nlohmann::json facts_of(const Headers& headers) {
    nlohmann::json facts{{"verdict", verdicts.at(static_cast<std::size_t>(headers.verdict))},
                         {"vlan_tags", headers.vlan_tags}};
    if (!matchable(headers.verdict)) {
        return facts;
    }
    facts["source"] = lib::to_string(lib::IpAddress{headers.family, headers.source});
    facts["dest"] = lib::to_string(lib::IpAddress{headers.family, headers.dest});
    facts["family"] = static_cast<int>(headers.family);
    facts["l3_offset"] = headers.l3_offset;
    facts["l3_length"] = headers.l3_length;
    facts["later_fragment"] = (headers.flags & flag::later_fragment) != 0;
    if (headers.protocol != unknown_protocol) {
        facts["protocol"] = headers.protocol;
    }
    if ((headers.flags & flag::ports) != 0) {
        facts["ports"] = {headers.source_port, headers.dest_port};
    }
    if ((headers.flags & flag::icmp) != 0) {
        facts["icmp"] = {headers.icmp_type, headers.icmp_code};
    }
    return facts;
}

int run(const char* file) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> capture(pcap_open_offline(file, error.data()),
                                                                 pcap_close);
    if (!capture) {
        std::fprintf(stderr, "%s: %s\n", file, error.data());
        return 1;
    }
    if (pcap_datalink(capture.get()) != DLT_EN10MB) {
        std::fprintf(stderr, "%s: not Ethernet\n", file);
        return 3;
    }
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    while (pcap_next_ex(capture.get(), &header, &data) == 1) {
        std::printf("%s\n", facts_of(parse_frame({data, header->caplen, header->len})).dump().c_str());
    }
    return 0;
}

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: frame-facts FILE\n");
        return 2;
    }
    return flowtap::test::run(argv[1]);
}
