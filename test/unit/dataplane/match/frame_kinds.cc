#include "test/unit/dataplane/match/frame_kinds.h"

namespace flowtap::test {

Packet headers_in_a_row(std::size_t count, std::size_t size) {
    Packet packet;
    packet.ipv6();
    for (std::size_t i = 0; i < count; ++i) {
        packet.dest_options({.size = size});
    }
    packet.tcp({.source_port = 7, .dest_port = 8});
    return packet;
}

Packet labels_in_a_row(std::size_t count) {
    Packet packet;
    for (std::size_t i = 0; i < count; ++i) {
        packet.mpls({.label = static_cast<std::uint32_t>(1000 + i)});
    }
    return packet;
}

std::vector<Bytes> every_kind() {
    std::vector<Bytes> frames{
        Packet().ipv4().tcp().payload(10).frame(),
        Packet().ipv4().udp().payload(10).frame(60),
        Packet().ipv4().sctp().frame(),
        Packet().ipv4().udp_lite().frame(),
        Packet().ipv4().dccp().frame(),
        Packet().ipv4().icmp().payload(10).frame(),
        Packet().ipv4({.options = Bytes(40, 1)}).tcp().frame(),
        Packet().ipv4({.more_fragments = true}).udp().payload(64).frame(),
        Packet().ipv4({.fragment_offset = 8}).udp().payload(64).frame(),
        Packet().ipv4().raw(47, Bytes(20, 9)).frame(),
        Packet().ipv6().tcp().payload(10).frame(),
        Packet().ipv6().udp().payload(10).frame(),
        Packet().ipv6().icmpv6().frame(),
        Packet()
            .ipv6()
            .hop_by_hop()
            .routing({.size = 24})
            .fragment()
            .authentication()
            .dest_options()
            .tcp()
            .frame(),
        Packet().ipv6().hop_by_hop().fragment({.offset = 5}).udp().payload(8).frame(),
        Packet().ipv6().fragment({.offset = 5}).dest_options().udp().frame(),
        Packet().ipv6().fragment({.more = true}).udp().payload(8).frame(),
        Packet().ipv6().raw(50, Bytes(20, 9)).frame(),
        Packet().ipv6().payload(0).frame(),
        Packet().vlan().ipv4().tcp().frame(),
        Packet().vlan({.tag_type = 0x88a8}).vlan().ipv6().udp().frame(),
        Packet().vlan().vlan().vlan().vlan().ipv4().icmp().frame(),
        Packet().vlan().vlan().vlan().vlan().vlan().ipv4().icmp().frame(),
        Packet().raw(0x0806, Bytes(28, 1)).frame(60),
        Packet().ipv4({.version = 6}).tcp().frame(),
        Packet().ipv6({.version = 4}).tcp().frame(),
        headers_in_a_row(9, 8).frame(),
        headers_in_a_row(3, 256).frame(),
        Packet().mpls().ipv4().tcp().payload(10).frame(),
        Packet().mpls({.ethertype = 0x8848}).mpls().ipv6().udp().payload(10).frame(),
        Packet().vlan().vlan().mpls({17, 0}).ipv4({.options = Bytes(40, 1)}).icmp().frame(),
        Packet().mpls({2}).ipv6().hop_by_hop().tcp().frame(),
        Packet().mpls({16}).control_word().ethernet().ipv4().tcp().frame(),
        Packet().mpls({16}).control_word().ethernet().vlan().vlan().ipv6().udp().frame(),
        Packet().mpls({16}).control_word().ethernet().vlan().vlan().vlan().vlan().vlan().ipv4().frame(),
        Packet().mpls({16}).control_word().ethernet().raw(0x0806, Bytes(28, 1)).frame(),
        Packet().mpls({16}).ethernet().ipv4().tcp().frame(),
        Packet().mpls({16}).ethernet({.dest = {0x44, 1, 2, 3, 4, 5}}).vlan().ipv6().tcp().frame(),
        Packet().mpls({16}).ethernet({.dest = {0x64, 1, 2, 3, 4, 5}}).pppoe().ipv4().tcp().frame(),
        Packet().mpls({16}).payload(Bytes{0x10, 0, 0, 0x21, 0x45, 0}).frame(),
        labels_in_a_row(16).ipv4().udp().frame(),
        labels_in_a_row(17).ipv4().udp().frame(),
        Packet().pppoe().ipv4().tcp().payload(10).frame(),
        Packet().vlan().pppoe({.compressed = true}).ipv6().fragment({.more = true}).udp().frame(),
        Packet().pppoe().raw(0xc021, Bytes(10, 1)).frame(60),
        Packet().pppoe({.code = 0xa7}).frame(60),
    };
    return frames;
}

}  // namespace flowtap::test
