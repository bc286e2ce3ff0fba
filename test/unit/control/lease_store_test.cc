#include "control/lease_store.h"

#include "control/durable_file.h"
#include "test/unit/control/scratch.h"
#include "test/unit/control/victim.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <vector>

namespace flowtap::test {

namespace {

using control::extended_space;
using control::KeyDigest;
using control::LeaseStore;
using control::short_space;

constexpr std::int64_t today = 1'800'000'000;

KeyDigest key(std::uint8_t number) {
    const std::array<std::uint8_t, 32> bytes{number};
    return control::key_digest(bytes);
}

LeaseStore reopen(const Scratch& scratch) {
    auto store = LeaseStore::open(scratch.path());
    REQUIRE(store.has_value());
    return std::move(*store);
}

}  // namespace

TEST_CASE("a key without a record is granted nothing, and the message says what to do") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const auto lease = store.grant(key(1), short_space, today);
    REQUIRE_FALSE(lease.has_value());
    CHECK(lease.error().find("--new-keys") != std::string::npos);
}

TEST_CASE("a new key starts at 1, and leases follow one another without a gap") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1), key(2), key(1)};
    CHECK(store.record_new(keys).value() == 2);
    const auto first = store.grant(key(1), short_space, today);
    REQUIRE(first.has_value());
    CHECK(first->first == 1);
    CHECK(first->count == short_space.block - 1);
    const auto second = store.grant(key(1), short_space, today);
    REQUIRE(second.has_value());
    CHECK(second->first == short_space.block);
    CHECK(second->count == short_space.block);
    CHECK(store.grant(key(2), short_space, today)->first == 1);
}

TEST_CASE("recording a known key again does not take its counter back") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    REQUIRE(store.grant(key(1), short_space, today).has_value());
    auto again = reopen(scratch);
    CHECK(again.record_new(keys).value() == 0);
    CHECK(again.grant(key(1), short_space, today)->first == short_space.block);
}

TEST_CASE("the sequence space ends at 2^32 and never wraps") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    std::uint64_t end = 0;
    for (int i = 0; i < 256; ++i) {
        const auto lease = store.grant(key(1), short_space, today);
        REQUIRE(lease.has_value());
        end = lease->first + lease->count;
    }
    CHECK(end == short_space.end);
    CHECK_FALSE(store.grant(key(1), short_space, today).has_value());
    CHECK_FALSE(reopen(scratch).grant(key(1), short_space, today).has_value());
}

TEST_CASE(
    "extended sequence numbers go on beyond 2^32, in wider leases, to the end of 64 bits and no further") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    std::uint64_t end = 1;
    for (int i = 0; i < 40; ++i) {
        const auto lease = store.grant(key(1), extended_space, today);
        REQUIRE(lease.has_value());
        CHECK(lease->first == end);
        end = lease->first + lease->count;
        CHECK(end % extended_space.block == 0);
    }
    CHECK(end > short_space.end);
    // A key that went so far has no numbers left for an SA without them.
    CHECK_FALSE(store.grant(key(1), short_space, today).has_value());
    auto again = reopen(scratch);
    CHECK_FALSE(again.grant(key(1), short_space, today).has_value());
    CHECK(again.grant(key(1), extended_space, today)->first == end);
    const control::SequenceSpace whole{std::uint64_t{1} << 63, UINT64_MAX};
    REQUIRE(again.grant(key(1), whole, today).has_value());
    const auto last = again.grant(key(1), whole, today);
    REQUIRE(last.has_value());
    CHECK(last->first + last->count == UINT64_MAX);
    CHECK_FALSE(again.grant(key(1), whole, today).has_value());
    CHECK_FALSE(reopen(scratch).grant(key(1), extended_space, today).has_value());
}

TEST_CASE("no counter value is granted twice, whenever the process is killed") {
    struct Log {
        std::atomic<std::uint32_t> count{0};
        std::array<std::uint64_t, 4096> firsts{};
        std::array<std::uint64_t, 4096> ends{};
    };
    const Scratch scratch;
    {
        auto store = reopen(scratch);
        const std::vector<KeyDigest> keys{key(1)};
        REQUIRE(store.record_new(keys).has_value());
    }
    std::mt19937_64 random{7};
    Witness<Log> log;
    for (int life = 0; life < 40; ++life) {
        run_and_kill(std::chrono::microseconds{random() % 3000}, [&](const auto& begun) {
            auto store = LeaseStore::open(scratch.path());
            begun();
            while (store) {
                const auto lease = store->grant(key(1), short_space, today);
                if (!lease) {
                    return;
                }
                const auto place = log->count.load();
                log->firsts[place] = lease->first;
                log->ends[place] = lease->first + lease->count;
                log->count.store(place + 1);
            }
        });
        REQUIRE(LeaseStore::open(scratch.path()).has_value());
    }
    const auto count = log->count.load();
    CHECK(count > 0);
    for (std::uint32_t i = 1; i < count; ++i) {
        CHECK(log->firsts[i] >= log->ends[i - 1]);
    }
}

TEST_CASE("a crash between the two writes skips a block of every key") {
    const Scratch scratch;
    {
        auto store = reopen(scratch);
        const std::vector<KeyDigest> keys{key(1), key(2)};
        REQUIRE(store.record_new(keys).has_value());
        REQUIRE(store.grant(key(1), short_space, today).has_value());  // generation 2
    }
    REQUIRE(control::write_durably(scratch / "leases.generation", "3\n").has_value());
    auto store = reopen(scratch);
    // Of whichever kind the lost grant was: the wider block covers it.
    CHECK(store.grant(key(1), short_space, today)->first == extended_space.block);
    CHECK(store.grant(key(2), extended_space, today)->first == extended_space.block);
}

TEST_CASE("a crash while a crash is made good costs nothing more, however often") {
    const Scratch scratch;
    {
        auto store = reopen(scratch);
        const std::vector<KeyDigest> keys{key(1)};
        REQUIRE(store.record_new(keys).has_value());  // generation 1
    }
    REQUIRE(control::write_durably(scratch / "leases.generation", "2\n").has_value());
    std::filesystem::create_directory(scratch / "leases.new");  // the record cannot be written
    for (int crash = 0; crash < 3; ++crash) {
        CHECK_FALSE(LeaseStore::open(scratch.path()).has_value());
    }
    std::filesystem::remove(scratch / "leases.new");
    CHECK(reopen(scratch).next(key(1)) == extended_space.block);
    CHECK(reopen(scratch).next(key(1)) == extended_space.block);
}

TEST_CASE("a record rolled back by one change grants nothing that was granted") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    const auto old = control::read_small_file(scratch / "leases", 65'536);
    const auto lease = store.grant(key(1), short_space, today);
    REQUIRE(lease.has_value());
    REQUIRE(control::write_durably(scratch / "leases", **old).has_value());
    auto after = reopen(scratch);
    CHECK(after.grant(key(1), short_space, today)->first >= lease->first + lease->count);
}

TEST_CASE("a record rolled back further, damaged or lost is refused") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    const auto old = control::read_small_file(scratch / "leases", 65'536);
    REQUIRE(store.grant(key(1), short_space, today).has_value());
    REQUIRE(store.grant(key(1), short_space, today).has_value());

    SECTION("rolled back") {
        REQUIRE(control::write_durably(scratch / "leases", **old).has_value());
        const auto opened = LeaseStore::open(scratch.path());
        REQUIRE_FALSE(opened.has_value());
        CHECK(opened.error().find("rolled back") != std::string::npos);
    }
    SECTION("damaged") {
        auto content = **control::read_small_file(scratch / "leases", 65'536);
        content[content.find(' ', content.find("generation 3") + 13) + 1] ^= 1;
        REQUIRE(control::write_durably(scratch / "leases", content).has_value());
        CHECK_FALSE(LeaseStore::open(scratch.path()).has_value());
    }
    SECTION("lost") {
        std::filesystem::remove(scratch / "leases");
        CHECK_FALSE(LeaseStore::open(scratch.path()).has_value());
    }
    SECTION("marker lost") {
        std::filesystem::remove(scratch / "leases.generation");
        CHECK_FALSE(LeaseStore::open(scratch.path()).has_value());
    }
    SECTION("both lost: no key is known") {
        std::filesystem::remove(scratch / "leases");
        std::filesystem::remove(scratch / "leases.generation");
        CHECK_FALSE(reopen(scratch).grant(key(1), short_space, today).has_value());
    }
}

TEST_CASE("both files rolled back together: a witness that knows better has the key refused for ever") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    const auto leases = control::read_small_file(scratch / "leases", 65'536);
    const auto marker = control::read_small_file(scratch / "leases.generation", 65'536);
    const auto lease = store.grant(key(1), short_space, today);
    REQUIRE(lease.has_value());
    CHECK(store.check_witness(key(1), lease->first + lease->count));
    REQUIRE(control::write_durably(scratch / "leases", **leases).has_value());
    REQUIRE(control::write_durably(scratch / "leases.generation", **marker).has_value());

    auto after = reopen(scratch);
    CHECK_FALSE(after.check_witness(key(1), lease->first + lease->count));
    CHECK_FALSE(after.grant(key(1), short_space, today).has_value());
    CHECK_FALSE(reopen(scratch).grant(key(1), short_space, today).has_value());
}

TEST_CASE("the medium fails: nothing is granted then or later") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    std::filesystem::create_directory(scratch / "leases.new");  // root, too, cannot write to it
    CHECK_FALSE(store.grant(key(1), short_space, today).has_value());
    std::filesystem::remove(scratch / "leases.new");
    CHECK_FALSE(store.grant(key(1), short_space, today).has_value());
    CHECK(reopen(scratch).grant(key(1), short_space, today).has_value());
}

TEST_CASE("a spent key is granted nothing more, whatever comes later") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1), key(2)};
    REQUIRE(store.record_new(keys).has_value());
    REQUIRE(store.grant(key(1), short_space, today).has_value());
    const std::vector<control::UseRecord> spent{{key(1), 10, 20, true}};
    REQUIRE(store.record(spent).has_value());
    const std::vector<control::UseRecord> less{{key(1), 1, 2, false}};
    REQUIRE(store.record(less).has_value());
    CHECK_FALSE(store.grant(key(1), short_space, today).has_value());
    auto again = reopen(scratch);
    CHECK(again.record_new(keys).value() == 0);
    CHECK_FALSE(again.grant(key(1), short_space, today).has_value());
    CHECK(again.use(key(1), today).spent);
    CHECK(again.use(key(1), today).span == lib::LifeSpan{{10, short_space.block - 1, 20}});
    CHECK(again.grant(key(2), short_space, today).has_value());
}

TEST_CASE(
    "a key's time runs from its first lease, over restarts, and no clock that is set back makes it younger") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::vector<KeyDigest> keys{key(1)};
    REQUIRE(store.record_new(keys).has_value());
    const auto seconds = [&](std::int64_t utc) {
        return reopen(scratch).use(key(1), utc).span[lib::LifeUnit::seconds];
    };
    CHECK_FALSE(reopen(scratch).use(key(1), today).begun);
    CHECK(seconds(today + 100) == 0);
    REQUIRE(store.grant(key(1), short_space, today).has_value());
    CHECK(reopen(scratch).use(key(1), today).begun);
    CHECK(seconds(today + 100) == 100);
    REQUIRE(store.grant(key(1), short_space, today + 50).has_value());
    CHECK(seconds(today + 100) == 100);
    const std::vector<control::UseRecord> aged{{key(1), 90, 0, false}};
    REQUIRE(store.record(aged).has_value());
    CHECK(seconds(today - 1'000'000) == 90);
    CHECK(seconds(today + 100) == 100);
}

TEST_CASE("a record of the first version, which knew of counters alone, is read") {
    const Scratch scratch;
    const std::string digits(64, 'a');
    // sha256 of the three lines before it, from sha256sum.
    const std::string content = "flowtap-leases 1\ngeneration 5\n" + digits + " 16777216\n";
    const std::string sum = "dbc30ee45b2ba6c51ecc833e35b9f88ec18ead7ff169cd3225fc06b4dea28c2c";
    REQUIRE(control::write_durably(scratch / "leases", content + "sha256 " + sum + "\n").has_value());
    REQUIRE(control::write_durably(scratch / "leases.generation", "5\n").has_value());
    auto store = reopen(scratch);
    KeyDigest old{};
    old.fill(0xaa);
    CHECK(store.next(old) == short_space.block);
    CHECK_FALSE(store.use(old, today).begun);
    CHECK(store.grant(old, short_space, today)->first == short_space.block);
    CHECK(reopen(scratch).next(old) == 2 * short_space.block);
}

TEST_CASE("the files hold a one-way digest: neither key nor salt") {
    const Scratch scratch;
    auto store = reopen(scratch);
    const std::array<std::uint8_t, 32> secret{0xde, 0xad, 0xbe, 0xef};
    const std::vector<KeyDigest> keys{control::key_digest(secret)};
    REQUIRE(store.record_new(keys).has_value());
    const auto content = **control::read_small_file(scratch / "leases", 65'536);
    CHECK(content.find("deadbeef") == std::string::npos);
    CHECK(content.find("\xde\xad\xbe\xef") == std::string::npos);
}

}  // namespace flowtap::test
