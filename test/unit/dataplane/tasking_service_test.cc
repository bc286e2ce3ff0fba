// Limits and drop policies of taps: they change with their batch, and a tap that is over is told of.
#include "test/unit/dataplane/tasking_fixture.h"

#include <algorithm>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
using dataplane::Admission;
using flowtap::test::max_taps;
using lib::Refusal;
using lib::TapService;
using Over = dataplane::Tasking::OverTap;

constexpr TapService five{.packet_limit = 5};
constexpr TapService ten{.packet_limit = 10};

struct Fixture : flowtap::test::TaskingFixture {
    /// As a worker counts a frame of the tap; true if it is copied.
    bool count(std::uint64_t id, std::uint32_t bytes = 100) {
        const Seen seen = see(id).value();
        lib::TapCounters& counters = status.taps(0)[seen.slot];
        if (const dataplane::TapTerms* terms = seen.terms(); terms != nullptr && terms->usage != nullptr) {
            const Admission admission = admit(*terms, 0, counters, bytes);
            if (admission == Admission::last || admission == Admission::ended) {
                over.post(seen.slot);
            }
            if (admission == Admission::ended || admission == Admission::refused) {
                return false;
            }
        }
        lib::add(counters[lib::TapCounter::matched_packets], 1);
        lib::add(counters[lib::TapCounter::matched_bytes], bytes);
        return true;
    }
    std::size_t count_until_over(std::uint64_t id) {
        std::size_t copied = 0;
        while (copied < 1000 && count(id)) {
            ++copied;
        }
        return copied;
    }
    static Over told(std::uint32_t slot, std::uint64_t id) { return {lib::TapSlot{slot}, lib::TapId{id}}; }
};

TEST_CASE_METHOD(Fixture, "an update changes the service of its tap, and not its counts") {
    REQUIRE(refusal({add(0, 1, five), add(1, 2)}) == Refusal::none);
    CHECK(see(1)->service() == five);
    CHECK(see(2)->service() == TapService{});
    CHECK(count_until_over(1) == 5);
    REQUIRE(refusal({update(0, 1, ten)}) == Refusal::none);
    CHECK(see(1)->service() == ten);
    CHECK(count_until_over(1) == 5);
    REQUIRE(refusal({update(0, 1, {})}) == Refusal::none);
    CHECK(count_until_over(1) == 1000);
    REQUIRE(refusal({update(0, 1, {.packet_limit = 1012})}) == Refusal::none);
    CHECK(count_until_over(1) == 2);
    CHECK(status.taps(0)[0][lib::TapCounter::matched_packets] == 1012);
}

TEST_CASE_METHOD(Fixture, "a burst sees the updates of a batch, and its taps, all or not at all") {
    REQUIRE(refusal({add(0, 1, {.suppressed = 1}), add(1, 2, five)}) == Refusal::none);
    quiescence.join(0);
    const Seen first = *see(1);
    const Seen second = *see(2);
    const auto check_old = [&] {
        CHECK(first.service() == TapService{.suppressed = 1});
        CHECK(second.service() == five);
    };
    tasking.begin([] {
        lib::Batch batch;
        batch.changes.assign({update(0, 1, five), update(1, 2, ten), add(2, 3)});
        return batch;
    }());
    bool done = false;
    for (int step = 0; step < 200 && !done; ++step) {
        check_old();  // the burst that began before, whatever has been published since
        const bool has_new_tap = found(3).has_value();
        CHECK(see(1)->service() == (has_new_tap ? five : TapService{.suppressed = 1}));
        CHECK(see(2)->service() == (has_new_tap ? ten : five));
        done = tasking.advance().has_value();
        if (step > 100 && step % 10 == 0) {
            if (see(1)->generation != first.generation) {
                break;
            }
            quiescence.quiescent(0);
        }
    }
    CHECK_FALSE(done);  // the worker is still in its burst
    CHECK(found(3));
    check_old();
    quiescence.quiescent(0);
    CHECK(go_on());
    CHECK(see(1)->service() == five);
}

TEST_CASE_METHOD(Fixture, "a tap's first limit counts what it matched before, and during the change") {
    REQUIRE(refusal({add(0, 1)}) == Refusal::none);
    CHECK(see(1)->terms() == nullptr);  // costs nothing while it has no limit
    for (int i = 0; i < 3; ++i) {
        count(1);
    }
    quiescence.join(0);
    lib::Batch batch;
    batch.changes.assign({update(0, 1, ten)});
    tasking.begin(std::move(batch));
    std::size_t copied = 3;
    bool done = false;
    for (int step = 0; step < 100 && !done; ++step) {
        copied += copied < 9 && count(1) ? 1U : 0U;
        done = tasking.advance().has_value();
        quiescence.quiescent(0);
    }
    REQUIRE(done);
    CHECK(see(1)->terms()->usage->packets() == copied);
    CHECK(see(1)->terms()->usage->bytes() == copied * 100);
    copied += count_until_over(1);
    CHECK(copied == 10);
    CHECK(status.taps(0)[0][lib::TapCounter::matched_packets] == 10);
}

TEST_CASE_METHOD(Fixture, "a first limit that is below what was matched finds the tap over") {
    REQUIRE(refusal({add(0, 1)}) == Refusal::none);
    CHECK(count_until_over(1) == 1000);
    REQUIRE(refusal({update(0, 1, ten)}) == Refusal::none);
    CHECK_FALSE(count(1));
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
}

TEST_CASE_METHOD(Fixture, "an update of what is not there refuses its batch, and nothing has changed") {
    REQUIRE(refusal({add(0, 1, five)}) == Refusal::none);
    const std::vector<std::vector<lib::Change>> bad{
        {update(0, 1, ten), update(0, 2, ten)},
        {update(0, 1, ten), update(1, 1, ten)},
        {update(0, 1, ten), update(max_taps, 1, ten)},
        {update(0, 1, ten), add(1, 2), update(1, 3, ten)},
        {update(0, 1, ten), remove(0, 1), update(0, 1, ten)},
        {lib::ResyncBegin{}, add(0, 2, five), update(0, 1, ten)},
    };
    for (const auto& changes : bad) {
        CHECK(refusal(changes) == Refusal::unknown_slot);
        CHECK(see(1)->service() == five);
        CHECK_FALSE(found(2));
    }
    CHECK(refusal({update(0, 1, {.suppressed = 4})}) == Refusal::malformed_record);  // there are two policies
    CHECK(refusal({add(1, 2, {.suppressed = 4})}) == Refusal::malformed_record);
    CHECK(see(1)->service() == five);
    CHECK(count_until_over(1) == 5);
    REQUIRE(refusal({update(0, 1, {.suppressed = 3})}) == Refusal::none);
    CHECK(see(1)->service().suppressed == 3);
    REQUIRE(refusal({remove(0, 1), add(1, 2)}) == Refusal::none);
    CHECK(refusal({update(0, 1, ten)}) == Refusal::unknown_slot);
}

TEST_CASE_METHOD(Fixture, "the last update of a batch counts, of a tap that it adds too") {
    REQUIRE(refusal({add(0, 1), update(0, 1, five), add(1, 2, five), update(1, 2, {})}) == Refusal::none);
    CHECK(see(1)->service() == five);
    CHECK(see(2)->service() == TapService{});
    REQUIRE(refusal({update(0, 1, ten), update(0, 1, {.byte_limit = 7}), update(1, 2, ten),
                     update(1, 2, {})}) == Refusal::none);
    CHECK(see(1)->service() == TapService{.byte_limit = 7});
    CHECK(see(2)->service() == TapService{});
    // Updated and removed in one batch.
    REQUIRE(refusal({update(0, 1, five), remove(0, 1)}) == Refusal::none);
    CHECK_FALSE(found(1));
}

TEST_CASE_METHOD(Fixture,
                 "a tap that stays in a resync takes the service that it names, and keeps its counts") {
    REQUIRE(refusal({add(0, 1, five), add(1, 2), add(2, 3, five), add(3, 4)}) == Refusal::none);
    CHECK(count(1));
    REQUIRE(refusal({lib::ResyncBegin{}, add(0, 1, ten), add(1, 2, five), add(2, 9, ten), update(2, 9, five),
                     update(3, 4, five)}) == Refusal::none);
    CHECK(see(1)->service() == ten);
    CHECK(count_until_over(1) == 9);
    CHECK(see(2)->service() == five);
    CHECK(see(9)->service() == five);  // another tap in a slot that was in use, updated by the same batch
    CHECK(count_until_over(9) == 5);
    CHECK_FALSE(found(4));  // updated, but not named
    REQUIRE(refusal({add(3, 5)}) == Refusal::none);
    REQUIRE(refusal({update(2, 9, ten)}) == Refusal::none);
    CHECK(count_until_over(9) == 5);
}

TEST_CASE_METHOD(Fixture, "a tap that a limit stops is told of once, and again when a batch leaves it so") {
    REQUIRE(refusal({add(0, 1, five), add(1, 2, five), add(2, 3, {.packet_limit = 0})}) == Refusal::none);
    CHECK(tasking.take_over() == std::vector{told(2, 3)});  // over from the start
    count_until_over(1);
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
    CHECK(tasking.take_over().empty());
    REQUIRE(refusal({add(3, 4)}) == Refusal::none);
    CHECK(tasking.take_over().empty());  // the batch does not name it, and control has been told
    REQUIRE(refusal({update(0, 1, {.packet_limit = 5, .suppressed = 1})}) == Refusal::none);
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
    // A new control may not have heard.
    REQUIRE(refusal({lib::ResyncBegin{}, add(0, 1, five), add(1, 2, five), add(2, 3, {.packet_limit = 0})}) ==
            Refusal::none);
    CHECK(tasking.take_over() == std::vector{told(0, 1), told(2, 3)});
    REQUIRE(refusal({lib::ResyncBegin{}, add(0, 1, ten), add(2, 3, {.packet_limit = 0})}) == Refusal::none);
    CHECK(tasking.take_over() == std::vector{told(2, 3)});
    count_until_over(1);
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
    // Word of a tap that is gone, or raised meanwhile, or of an earlier one in the slot, is no word of this
    // one.
    over.post(0);
    over.post(1);
    over.post(2);
    REQUIRE(refusal({update(0, 1, {.packet_limit = 11}), remove(2, 3)}) == Refusal::none);
    CHECK(tasking.take_over().empty());
    over.post(2);
    REQUIRE(refusal({add(2, 7, five)}) == Refusal::none);
    CHECK(tasking.take_over().empty());
    REQUIRE(refusal({lib::ResyncBegin{}, add(2, 7, five)}) == Refusal::none);
    CHECK(tasking.take_over().empty());
}

TEST_CASE_METHOD(Fixture, "a packet beyond the byte limit stops the tap until that limit is raised") {
    REQUIRE(refusal({add(0, 1, {.byte_limit = 1000})}) == Refusal::none);
    CHECK(count(1, 900));
    CHECK_FALSE(count(1, 200));
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
    CHECK_FALSE(count(1, 10));
    REQUIRE(refusal({update(0, 1, {.packet_limit = 100, .byte_limit = 1000, .suppressed = 1})}) ==
            Refusal::none);
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
    CHECK_FALSE(count(1, 10));
    REQUIRE(refusal({update(0, 1, {.byte_limit = 1100})}) == Refusal::none);
    CHECK(tasking.take_over().empty());
    CHECK(count(1, 200));
    CHECK_FALSE(count(1, 1));
    CHECK(status.taps(0)[0][lib::TapCounter::matched_bytes] == 1100);
}

TEST_CASE_METHOD(Fixture, "a tap is not told of before the batch that adds it is done") {
    quiescence.join(0);
    CHECK_FALSE(apply({add(0, 1, {.packet_limit = 1})}, 100));
    CHECK(count(1));
    CHECK(tasking.take_over().empty());
    quiescence.quiescent(0);
    REQUIRE(go_on());
    CHECK(tasking.take_over() == std::vector{told(0, 1)});
}

TEST_CASE_METHOD(Fixture, "copies of a tap of whole frames are whole frames") {
    auto change = add(0, 1);
    auto& tap = std::get<lib::TapAdd>(change);
    tap.criterion = {};
    tap.criterion.layer2 = true;
    tap.criterion.interfaces = {{0, 0}};
    REQUIRE(refusal({change, add(1, 2)}) == Refusal::none);
    flowtap::dataplane::match::HeaderBurst burst{};
    auto matches = std::make_unique<flowtap::dataplane::match::Matches>();
    burst.count = 1;
    burst.frames = 1;
    taps.classify(burst, *matches);
    REQUIRE(matches->matched == 1);
    CHECK(dataplane::copies_of(matches->frames[0].taps[0].payload).layer2);
    CHECK_FALSE(see(2)->copies->layer2);
}

}  // namespace
