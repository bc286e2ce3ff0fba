// A criterion by itself matches what a tap with it would.
#include "dataplane/match/frame_filter.h"

#include "test/unit/dataplane/match/table_fixture.h"

namespace flowtap::test {
namespace {

using namespace dataplane::match;

TEST_CASE("a filter decides as the reference does", "[filter]") {
    RandomTraffic traffic(11, 2);
    std::size_t hits = 0;
    for (int round = 0; round < 2000; ++round) {
        lib::Criterion criterion;
        if (traffic.chance(90)) {
            criterion = traffic.criterion(true);
            criterion.either_address.reset();
        } else {
            criterion.layer2 = true;
        }
        if (criterion.layer2 || traffic.chance(30)) {
            criterion.interfaces = traffic.interfaces();
        }
        const auto filter = FrameFilter::compile(criterion);
        REQUIRE(filter);
        std::vector<RandomTraffic::Sample> samples(8);
        std::ranges::generate(samples,
                              [&] { return traffic.chance(80) ? traffic.frame() : traffic.strange_frame(); });
        const Burst burst(samples);
        const auto port = static_cast<std::uint16_t>(traffic.below(5));
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const auto facts = samples[i].is_packet ? std::optional(samples[i].facts) : std::nullopt;
            const bool wanted = reference_matches(criterion, facts, {port, reference_vlan(samples[i].frame)});
            INFO(to_string(criterion));
            REQUIRE(filter->matches(burst.headers().headers[i], port) == wanted);
            hits += wanted ? 1 : 0;
        }
    }
    CHECK(hits > 500);
}

TEST_CASE("what no tap could have is no filter", "[filter]") {
    lib::Criterion criterion;
    criterion.protocol = {{9, 3, false}};
    CHECK_FALSE(FrameFilter::compile(criterion));
    lib::Criterion both_ways;
    both_ways.either_address = lib::IpAddress{};
    CHECK_FALSE(FrameFilter::compile(both_ways));
    criterion.protocol = {{3, 3, true}, {3, 3, false}};
    CHECK(FrameFilter::compile(criterion));  // nothing matches it
}

}  // namespace
}  // namespace flowtap::test
