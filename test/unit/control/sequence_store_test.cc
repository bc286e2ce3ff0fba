// What is durable of sequence numbers, and that whatever is doubtful is refused.
#include "control/sequence_store.h"

#include "test/unit/control/box.h"
#include "test/unit/control/scratch.h"
#include "test/unit/control/victim.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

namespace flowtap::test {

namespace {

using control::SequenceRecord;
using control::SequenceStore;
using control::SequenceVerdict;
using control::SourceIndex;

constexpr SourceIndex source_a{0};
constexpr SourceIndex source_b{1};

class Records {
  public:
    SequenceStore open(const std::string& key_a = "key-a") {
        sources_.push_back(std::make_unique<control::Sources>(
            control::Sources::with_keys(box_config(), {key_a, "key-b"}).value()));
        return SequenceStore::open(scratch.path(), *sources_.back()).value();
    }
    SequenceStore recorded() {
        auto store = open();
        REQUIRE(store.record_new() == 1);
        return store;
    }
    void damage(std::size_t offset) {
        std::fstream file{scratch / "sequences", std::ios::in | std::ios::out | std::ios::binary};
        file.seekg(static_cast<std::streamoff>(offset));
        const auto byte = static_cast<char>(file.get() ^ 1);
        file.seekp(static_cast<std::streamoff>(offset));
        file.put(byte);
    }

    Scratch scratch;

  private:
    std::vector<std::unique_ptr<control::Sources>> sources_;  ///< each store's
};

void commit(SequenceStore& store) {
    REQUIRE(SequenceStore::write_changes(store.descriptor(), store.take_changes()));
    store.settled(true);
}

SequenceVerdict take(SequenceStore& store, std::uint64_t number) {
    const auto verdict = store.accept(source_a, number);
    if (store.changed()) {
        commit(store);
    }
    return verdict;
}

}  // namespace

TEST_CASE_METHOD(Records, "sequence store: a key is refused until it is recorded, and is new only once",
                 "[sequence]") {
    auto store = open();
    CHECK(store.record(source_a) == SequenceRecord::none);
    CHECK(store.record_new() == 1);  // b may not use UDP
    CHECK(store.record(source_a) == SequenceRecord::good);
    CHECK(store.record(source_b) == SequenceRecord::none);
    CHECK(take(store, 7) == SequenceVerdict::accepted);
    auto next = open();
    CHECK(next.record_new() == 0);
    CHECK(next.accept(source_a, 7) == SequenceVerdict::seen);
}

TEST_CASE_METHOD(Records, "sequence store: another key is another record", "[sequence]") {
    auto store = recorded();
    CHECK(take(store, 7) == SequenceVerdict::accepted);
    auto rotated = open("other key");
    CHECK(rotated.record(source_a) == SequenceRecord::none);
    CHECK(rotated.record_new() == 1);
    auto back = open();
    REQUIRE(back.record(source_a) == SequenceRecord::good);
    CHECK(back.accept(source_a, 7) == SequenceVerdict::seen);
}

TEST_CASE_METHOD(Records, "sequence store: every number that was written is seen by the next process",
                 "[sequence][dtcp:1.udp-seq-durable]") {
    std::uint64_t number = 100;
    {
        auto store = recorded();
        for (int i = 0; i < 600; ++i) {
            number += i % 3 == 0 ? 2 : 1;
            REQUIRE(take(store, number) == SequenceVerdict::accepted);
        }
    }
    auto store = open();
    CHECK(store.accept(source_a, number) == SequenceVerdict::seen);
    CHECK(store.accept(source_a, number - 256) == SequenceVerdict::seen);
    CHECK(store.accept(source_a, number + 257) == SequenceVerdict::too_far);
    CHECK(store.accept(source_a, number + 1) == SequenceVerdict::accepted);
}

TEST_CASE_METHOD(Records, "sequence store: numbers of one write are written together", "[sequence]") {
    auto store = recorded();
    for (std::uint64_t number = 1; number <= 50; ++number) {
        REQUIRE(store.accept(source_a, number) == SequenceVerdict::accepted);
    }
    CHECK(store.take_changes().size() == 1);
}

TEST_CASE_METHOD(Records, "sequence store: a write that failed is made good by the next", "[sequence]") {
    auto store = recorded();
    CHECK(take(store, 1) == SequenceVerdict::accepted);
    REQUIRE(store.accept(source_a, 2) == SequenceVerdict::accepted);
    const int read_only = ::open((scratch / "sequences").c_str(), O_RDONLY);
    CHECK_FALSE(SequenceStore::write_changes(read_only, store.take_changes()));
    ::close(read_only);
    store.settled(false);
    CHECK(store.changed());
    CHECK(store.accept(source_a, 2) == SequenceVerdict::seen);
    commit(store);
    CHECK(open().accept(source_a, 2) == SequenceVerdict::seen);
}

TEST_CASE_METHOD(Records, "sequence store: a write that broke off takes nothing back and lets nothing in",
                 "[sequence]") {
    auto store = recorded();
    CHECK(take(store, 1) == SequenceVerdict::accepted);
    CHECK(take(store, 2) == SequenceVerdict::accepted);
    for (const std::size_t sector : {0U, 1U}) {
        const auto offset = sector * SequenceStore::sector_size + 24;
        damage(offset);
        CHECK(open().record(source_a) == SequenceRecord::damaged);
        damage(offset);  // and is whole again
        CHECK(open().record(source_a) == SequenceRecord::good);
    }
    damage(24);
    auto doubtful = open();
    CHECK(doubtful.record_new() == 0);  // it is not new
    REQUIRE(doubtful.reset(source_a, 2));
    CHECK(doubtful.record(source_a) == SequenceRecord::good);
    auto next = open();
    REQUIRE(next.record(source_a) == SequenceRecord::good);
    CHECK(next.accept(source_a, 2) == SequenceVerdict::seen);
    CHECK(next.accept(source_a, 3) == SequenceVerdict::accepted);
}

TEST_CASE_METHOD(Records, "sequence store: the operator's reset forgets, durably",
                 "[sequence][dtcp:3.seq-reset]") {
    auto store = recorded();
    CHECK(take(store, 1'000'000) == SequenceVerdict::accepted);
    CHECK(store.accept(source_a, 1) == SequenceVerdict::too_old);
    REQUIRE(store.reset(source_a, {}));
    CHECK(open().accept(source_a, 1) == SequenceVerdict::accepted);
    REQUIRE(store.reset(source_a, 500));
    auto next = open();
    CHECK(next.accept(source_a, 500) == SequenceVerdict::seen);
    CHECK(next.accept(source_a, 501) == SequenceVerdict::accepted);
}

TEST_CASE_METHOD(Records, "sequence store: what a killed process has acted on is never accepted again",
                 "[sequence][dtcp:1.udp-seq-durable]") {
    static_cast<void>(recorded());
    std::uint64_t last = 0;
    std::set<std::uint64_t> acted;
    for (int round = 0; round < 40; ++round) {
        Witness<std::atomic<std::uint64_t>> acted_on;
        acted_on->store(last);
        run_and_kill(std::chrono::microseconds{50 * round}, [&](const std::function<void()>& begin) {
            auto store = open();
            begin();
            for (std::uint64_t number = last + 1;; ++number) {
                if (!is_accepted(store.accept(source_a, number)) ||
                    !SequenceStore::write_changes(store.descriptor(), store.take_changes())) {
                    return;
                }
                store.settled(true);
                acted_on->store(number);
            }
        });
        auto store = open();
        REQUIRE(store.record(source_a) == SequenceRecord::good);
        const std::uint64_t reached = acted_on->load();
        for (std::uint64_t number = last + 1; number <= reached; ++number) {
            acted.insert(number);
        }
        for (const auto number : acted) {
            REQUIRE_FALSE(is_accepted(store.accept(source_a, number)));
        }
        // The client's next number may have been written, and not be acted on: the one after it is free.
        CHECK(is_accepted(store.accept(source_a, reached + 2)));
        last = reached + 1;
    }
    CHECK(acted.size() > 40);
}

TEST_CASE_METHOD(Records, "sequence store: a file of something else is refused", "[sequence]") {
    std::ofstream{scratch / "sequences"} << "something else";
    auto sources = control::Sources::with_keys(box_config(), {"key-a", "key-b"}).value();
    CHECK_FALSE(SequenceStore::open(scratch.path(), sources));
}

}  // namespace flowtap::test
