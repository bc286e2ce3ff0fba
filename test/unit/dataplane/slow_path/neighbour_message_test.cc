// What a netlink message says of a neighbour.
#include "dataplane/slow_path/neighbour_message.h"

#include "dataplane/slow_path/netlink.h"

#include <catch2/catch.hpp>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace {

namespace lib = flowtap::lib;
using flowtap::dataplane::slow_path::Neighbour;
using flowtap::dataplane::slow_path::NetlinkMessage;
using flowtap::dataplane::slow_path::parse_neighbour;

constexpr lib::MacAddress mac{2, 0, 0, 0, 0, 9};

struct Said {
    std::uint16_t type = RTM_NEWNEIGH;
    unsigned char family = AF_INET;
    int state = NUD_REACHABLE;
    std::span<const std::uint8_t> lladdr = mac;
};

std::optional<Neighbour> parse(const Said& said, std::string_view address = "192.0.2.254") {
    const lib::IpAddress parsed = *lib::parse_address(address);
    ndmsg* body = nullptr;
    auto message = NetlinkMessage::make(said.type, 0, body);
    body->ndm_family = said.family;
    body->ndm_ifindex = 7;
    body->ndm_state = static_cast<std::uint16_t>(said.state);
    message.put(NDA_DST, std::span(parsed.bytes).first(lib::address_size(parsed.family)));
    if (!said.lladdr.empty()) {
        message.put(NDA_LLADDR, said.lladdr);
    }
    return parse_neighbour(*message.header());
}

TEST_CASE("a neighbour is usable in the states in which the kernel itself would send to it") {
    for (const int state : {NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_PERMANENT}) {
        CHECK(parse({.state = state}) == Neighbour{7, *lib::parse_address("192.0.2.254"), mac});
    }
    for (const int state : {NUD_NONE, NUD_INCOMPLETE, NUD_FAILED}) {
        CHECK(parse({.state = state}) == Neighbour{7, *lib::parse_address("192.0.2.254"), std::nullopt});
    }
    CHECK(parse({.family = AF_INET6}, "2001:db8::1") ==
          Neighbour{7, *lib::parse_address("2001:db8::1"), mac});
}

TEST_CASE("a neighbour that is deleted, or that has no Ethernet address, is not usable") {
    CHECK_FALSE(parse({.type = RTM_DELNEIGH})->mac);
    CHECK_FALSE(parse({.lladdr = {}})->mac);
    CHECK_FALSE(parse({.lladdr = std::span(mac).first(4)})->mac);
}

TEST_CASE("what is no neighbour, of another family, or cut short is nothing") {
    CHECK_FALSE(parse({.type = RTM_NEWROUTE}));
    CHECK_FALSE(parse({.family = AF_BRIDGE}));
    CHECK_FALSE(parse({.family = AF_INET6}, "192.0.2.254"));
    ndmsg* body = nullptr;
    auto message = NetlinkMessage::make(RTM_NEWNEIGH, 0, body);
    body->ndm_family = AF_INET;
    CHECK_FALSE(parse_neighbour(*message.header()));
    message.header()->nlmsg_len -= 1;
    CHECK_FALSE(parse_neighbour(*message.header()));
}

}  // namespace
