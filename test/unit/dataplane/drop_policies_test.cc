// Which drop policies a frame falls under.
#include "dataplane/drop_policies.h"

#include "dataplane/match/frame_parser.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using flowtap::test::Packet;

match::Headers headers_of(const Packet& packet) {
    const flowtap::test::Bytes frame = packet.frame(60);
    const auto size = static_cast<std::uint32_t>(frame.size());
    return match::parse_frame({frame.data(), size, size});
}

lib::DropPolicyConfig policy(bool both) {
    lib::DropPolicyConfig result{.name = "p", .criterion = {}, .both_families = both};
    result.criterion.protocol = {{17, 17, false}};
    return result;
}

TEST_CASE("a policy is asked for by its bit, of one family or of both", "[dtcp:5.policy-suppresses]") {
    std::vector<lib::DropPolicyConfig> configured{policy(false), policy(true), policy(false), policy(false)};
    configured[2].criterion.protocol = {{9, 3, false}};  // impossible: matches nothing, keeps its number
    configured[3].criterion.interfaces = {{2, 0}};
    const dataplane::DropPolicies policies(configured);
    const match::Headers udp4 = headers_of(Packet().ipv4().udp());
    const match::Headers udp6 = headers_of(Packet().ipv6().udp());
    const match::Headers tcp4 = headers_of(Packet().ipv4().tcp());
    CHECK(policies.known() == 0xf);
    CHECK(policies.any_matches(1, udp4, 0));
    CHECK_FALSE(policies.any_matches(1, udp6, 0));
    CHECK(policies.any_matches(2, udp4, 0));
    CHECK(policies.any_matches(2, udp6, 0));
    CHECK_FALSE(policies.any_matches(3, tcp4, 0));
    CHECK_FALSE(policies.any_matches(4, udp4, 0));
    CHECK_FALSE(policies.any_matches(8, udp4, 0));
    CHECK(policies.any_matches(8, udp4, 2));
    CHECK(policies.any_matches(5, udp4, 0));
    CHECK_FALSE(policies.any_matches(0, udp4, 0));
    CHECK_FALSE(policies.any_matches(~std::uint64_t{0xf}, udp4, 0));
}

TEST_CASE("what is no packet falls under no policy of packets") {
    const std::vector configured{policy(true)};
    const dataplane::DropPolicies policies(configured);
    match::Headers stale = headers_of(Packet().ipv4().udp());
    stale.verdict = match::Verdict::bad_ipv4;  // whatever the other fields say
    CHECK_FALSE(policies.any_matches(1, stale, 0));
}

TEST_CASE("at most max_drop_policies are known, and without any none is") {
    const std::vector<lib::DropPolicyConfig> many(lib::max_drop_policies, policy(true));
    CHECK(dataplane::DropPolicies(many).known() == ~std::uint64_t{0});
    CHECK(dataplane::DropPolicies({}).known() == 0);
}

}  // namespace
