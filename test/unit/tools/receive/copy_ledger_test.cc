// The ledger of a tap's copies: expected = received + reported + missing, whatever is lost, repeated or late.
#include "tools/receive/copy_ledger.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace {

using flowtap::tools::receive::CopyLedger;

constexpr std::uint64_t life = 0x6543'2100ULL << 32;

void check_closed(const CopyLedger::Totals& totals) {
    CHECK(totals.expected == totals.received + totals.reported + totals.missing);
}

TEST_CASE("what the sender lost is told from what was lost on the way") {
    CopyLedger ledger;
    ledger.add(life, 0);
    ledger.add(life + 1, 0);
    ledger.add(life + 5, 2);  // of 2, 3, 4 the sender lost two
    ledger.add(life + 6, 2);
    const auto totals = ledger.totals();
    check_closed(totals);
    CHECK(totals.expected == 7);
    CHECK(totals.received == 4);
    CHECK(totals.reported == 2);
    CHECK(totals.missing == 1);
    CHECK(totals.before_first == 0);
    CHECK_FALSE(totals.complete());
    ledger.add(life + 3, 0);  // late
    CHECK(ledger.totals().missing == 0);
    CHECK(ledger.totals().reported == 2);
    ledger.add(life + 3, 0);
    CHECK(ledger.totals().duplicates == 1);
}

TEST_CASE("nothing is missing when all that was counted came") {
    CopyLedger ledger;
    CHECK(ledger.totals().complete());
    for (const std::uint64_t number : {9U, 7U, 8U, 10U}) {
        ledger.add(life + number, 3);
    }
    CHECK(ledger.totals().complete());
    CHECK(ledger.totals().before_first == 7);
    CHECK(ledger.totals().sender_dropped == 3);
}

TEST_CASE("a restarted sender is neither loss nor repetition, and its losses count from zero again") {
    CopyLedger ledger;
    ledger.add(life, 5);
    ledger.add(life + 2, 6);
    const std::uint64_t next = life + (17ULL << 32);
    ledger.add(next, 0);
    ledger.add(next + 3, 1);
    const auto totals = ledger.totals();
    check_closed(totals);
    CHECK(totals.expected == 7);
    CHECK(totals.reported == 2);
    CHECK(totals.missing == 1);
    CHECK(totals.sender_dropped == 7);
}

TEST_CASE("the sender's count goes over 2^32") {
    CopyLedger ledger;
    ledger.add(life, 0xffff'fffe);
    ledger.add(life + 5, 2);
    CHECK(ledger.totals().reported == 4);
    CHECK(ledger.totals().missing == 0);
}

TEST_CASE("whatever is lost here and there, in whatever order it comes: the ledger closes and is right") {
    std::mt19937 random(11);
    for (int round = 0; round < 50; ++round) {
        struct Copy {
            std::uint64_t number;
            std::uint32_t dropped;
        };
        std::vector<Copy> copies;
        std::uint32_t dropped = 0;
        std::uint64_t on_the_way = 0;
        std::uint64_t number = 0;
        copies.push_back({life + number++, 0});
        for (int i = 0; i < 500; ++i, ++number) {
            const auto fate = random() % 10;
            if (fate == 0) {
                ++dropped;
            } else if (fate == 1) {
                ++on_the_way;
            } else {
                copies.push_back({life + number, dropped});
            }
        }
        copies.push_back({life + number++, dropped});
        std::ranges::shuffle(copies, random);
        CopyLedger ledger;
        for (const Copy& copy : copies) {
            ledger.add(copy.number, copy.dropped);
        }
        const auto totals = ledger.totals();
        check_closed(totals);
        CHECK(totals.expected == number);
        CHECK(totals.received == copies.size());
        CHECK(totals.reported == dropped);
        CHECK(totals.missing == on_the_way);
    }
}

}  // namespace
