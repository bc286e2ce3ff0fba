// The numbered guarantees of lib/ring.h.
#include "lib/ring.h"

#include "lib/region.h"
#include "test/unit/lib/child.h"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <linux/seccomp.h>
#include <memory>
#include <random>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <vector>

namespace {

using flowtap::lib::Mapping;
using flowtap::lib::RingConsumer;
using flowtap::lib::RingError;
using flowtap::lib::RingIndex;
using flowtap::lib::RingMemory;
using flowtap::lib::RingProducer;
using flowtap::test::run_in_child;

constexpr std::size_t page = 4096;
constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

/// Every word is a function of the number: a record of two halves shows.
template <std::size_t Words>
struct NumberedOf {
    std::array<std::uint64_t, Words> words{};

    static NumberedOf make(std::uint64_t number) {
        NumberedOf record;
        for (std::size_t i = 0; i < Words; ++i) {
            record.words[i] = number * 0x9e37'79b9'7f4a'7c15 + i;
        }
        return record;
    }
    bool operator==(const NumberedOf&) const = default;
};
using Numbered = NumberedOf<8>;
/// Takes so long to copy that the other side sees a copy under way, if it can be seen.
using Big = NumberedOf<2048>;

template <std::size_t Capacity, typename Record = Numbered>
struct Ring {
    using Memory = RingMemory<Record, Capacity>;
    std::unique_ptr<Memory> memory = std::make_unique<Memory>();
    std::unique_ptr<RingIndex> consumed = std::make_unique<RingIndex>();
    RingProducer<Record, Capacity> producer{*memory, *consumed};
    RingConsumer<Record, Capacity> consumer{*memory, *consumed};

    void push_numbers(std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t i = first; i < first + count; ++i) {
            REQUIRE(producer.push(Numbered::make(i)) == true);
        }
    }
    void pop_numbers(std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t i = first; i < first + count; ++i) {
            Numbered record;
            REQUIRE(consumer.pop(record) == true);
            REQUIRE(record == Numbered::make(i));
        }
    }
};

/// Two threads, batches of changing size on both sides; every record is checked in full.
template <std::size_t Capacity, typename Record>
void run_two_threads(std::uint64_t total) {
    Ring<Capacity, Record> ring;
    std::thread producer([&] {
        std::mt19937_64 random(1);
        std::vector<Record> batch(2 * Capacity);
        for (std::uint64_t next = 0; next < total;) {
            const std::size_t wanted = std::min<std::uint64_t>(1 + random() % batch.size(), total - next);
            for (std::size_t i = 0; i < wanted; ++i) {
                batch[i] = Record::make(next + i);
            }
            const auto pushed = ring.producer.push(std::span(std::as_const(batch)).first(wanted));
            next += pushed.value();
            if (*pushed == 0) {
                std::this_thread::yield();
            }
        }
    });
    std::uint64_t next = 0;
    std::uint64_t wrong = 0;
    std::mt19937_64 random(2);
    std::vector<Record> batch(2 * Capacity);
    while (next < total) {
        const auto popped = ring.consumer.pop(std::span(batch).first(1 + random() % batch.size()));
        for (std::size_t i = 0; i < popped.value(); ++i) {
            wrong += batch[i] == Record::make(next + i) ? 0U : 1U;
        }
        next += *popped;
        if (*popped == 0) {
            std::this_thread::yield();
        }
    }
    producer.join();
    CHECK(wrong == 0);
    CHECK(ring.consumer.pop(batch) == 0U);
}

/// What index_at_fault() looks at, for its signal handler.
struct Fault {
    void* watched = nullptr;
    const RingIndex* index = nullptr;
    std::uint64_t seen = most;
};
Fault fault;

/// Takes the page away, calls the function in a child, and returns what the index was when the function first
/// touched the page; 255 if it did not.
template <typename Function>
int index_at_fault(void* watched, const RingIndex& index, Function function) {
    return run_in_child([&] {
               fault = {.watched = watched, .index = &index};
               struct sigaction action{};
               action.sa_handler = [](int) {
                   fault.seen = fault.index->value.load();
                   ::mprotect(fault.watched, page, PROT_READ | PROT_WRITE);
               };
               ::sigaction(SIGSEGV, &action, nullptr);
               ::mprotect(watched, page, PROT_NONE);
               function();
               ::_exit(fault.seen == most ? 255 : static_cast<int>(fault.seen));
           })
        .code;
}

}  // namespace

TEST_CASE("ring 1, 2, 3, 4: between two threads every record arrives whole, in order, once", "[ring]") {
    SECTION("a ring of 1") {
        run_two_threads<1, Numbered>(20'000);
    }
    SECTION("a ring of 2") {
        run_two_threads<2, Numbered>(50'000);
    }
    SECTION("a ring of 64") {
        run_two_threads<64, Numbered>(1'000'000);
    }
    SECTION("records that take long to copy") {
        run_two_threads<2, Big>(5'000);
    }
}

TEST_CASE("ring 1: a record is not visible before the producer index says so", "[ring]") {
    Ring<4> ring;
    ring.memory->slots[0] = Numbered::make(7);
    Numbered record;
    CHECK(ring.consumer.pop(record) == false);
    CHECK(record == Numbered{});
}

TEST_CASE("ring 1, 5: each side gives the other its index only when its copies are made", "[ring]") {
    using Memory = RingMemory<Numbered, 4>;
    // The records begin a page that is not there until the first access to it: then the index is looked at.
    auto records = Mapping::create("ring-test", 2 * page).value();
    auto* memory = new (records.data() + page - sizeof(RingIndex)) Memory;
    RingIndex consumed;
    RingProducer<Numbered, 4> producer(*memory, consumed);
    RingConsumer<Numbered, 4> consumer(*memory, consumed);
    std::array<Numbered, 2> batch{Numbered::make(1), Numbered::make(2)};

    SECTION("the producer") {
        CHECK(index_at_fault(&memory->slots, memory->produced,
                             [&] { static_cast<void>(producer.push(batch)); }) == 0);
    }
    SECTION("the consumer") {
        REQUIRE(producer.push(batch) == 2U);
        CHECK(index_at_fault(&memory->slots, consumed, [&] { static_cast<void>(consumer.pop(batch)); }) == 0);
    }
}

TEST_CASE("ring 2: records come out in the order in which they went in", "[ring]") {
    Ring<8> ring;
    for (std::uint64_t round = 0; round < 100; ++round) {
        const std::uint64_t count = 1 + round % 8;
        ring.push_numbers(round * 1000, count);
        ring.pop_numbers(round * 1000, count);
    }
}

TEST_CASE("ring 3: a record that was popped does not come again", "[ring]") {
    Ring<4> ring;
    ring.push_numbers(0, 4);
    ring.pop_numbers(0, 4);
    Numbered record;
    CHECK(ring.consumer.pop(record) == false);
    CHECK(ring.producer.drained() == true);
}

TEST_CASE("ring 4: a full ring takes nothing, says so, and loses nothing", "[ring]") {
    Ring<4> ring;
    std::array<Numbered, 6> batch;
    for (std::uint64_t i = 0; i < batch.size(); ++i) {
        batch[i] = Numbered::make(i);
    }
    CHECK(ring.producer.push(batch) == 4U);
    CHECK(ring.producer.push(batch[4]) == false);
    CHECK(ring.producer.room() == 0U);
    CHECK(ring.producer.drained() == false);
    ring.pop_numbers(0, 1);
    CHECK(ring.producer.push(std::span(batch).subspan(4)) == 1U);
    ring.pop_numbers(1, 4);
    Numbered record;
    CHECK(ring.consumer.pop(record) == false);
}

TEST_CASE("ring 5: what the producer writes later does not change a record that was popped", "[ring]") {
    Ring<2> ring;
    ring.push_numbers(5, 1);
    Numbered record;
    REQUIRE(ring.consumer.pop(record) == true);
    std::memset(static_cast<void*>(&ring.memory->slots), 0xff, sizeof(ring.memory->slots));
    CHECK(record == Numbered::make(5));
}

TEST_CASE("ring 6: a producer index outside [consumer, consumer + capacity] is peer_corrupt, for ever",
          "[ring]") {
    // The consumer stands at 5; 6 was seen.
    const auto produced =
        GENERATE(std::uint64_t{0}, 1U, 4U, 5U, 10U, 11U, 0x8000'0000'0000'0000U, most - 1, most);
    CAPTURE(produced);
    Ring<4> ring;
    ring.push_numbers(0, 3);
    ring.pop_numbers(0, 3);
    ring.push_numbers(3, 3);
    ring.pop_numbers(3, 2);
    ring.memory->produced.value = produced;
    std::array<Numbered, 8> batch;
    CHECK(ring.consumer.pop(batch) == std::unexpected(RingError::peer_corrupt));
    CHECK(batch[0] == Numbered{});
    CHECK(ring.consumed->value == 5);
    // Not even a possible index brings trust back.
    ring.memory->produced.value = 6;
    CHECK(ring.consumer.pop(batch) == std::unexpected(RingError::peer_corrupt));
}

TEST_CASE("ring 6: all possible producer indices are believed, no other", "[ring]") {
    const auto produced = GENERATE(range(std::uint64_t{3}, std::uint64_t{12}));
    CAPTURE(produced);
    Ring<4> ring;
    ring.push_numbers(0, 4);
    ring.pop_numbers(0, 4);
    ring.push_numbers(4, 1);
    ring.pop_numbers(4, 1);
    ring.memory->produced.value = produced;  // the consumer stands at 5
    std::array<Numbered, 8> batch;
    const auto popped = ring.consumer.pop(batch);
    if (produced >= 5 && produced <= 9) {
        CHECK(popped == produced - 5);
    } else {
        CHECK(popped == std::unexpected(RingError::peer_corrupt));
    }
}

TEST_CASE("ring 6: a consumer index that goes back, or beyond the producer, is peer_corrupt, for ever",
          "[ring]") {
    const auto consumed = GENERATE(std::uint64_t{0}, 1U, 2U, 7U, 8U, 0x8000'0000'0000'0000U, most);
    CAPTURE(consumed);
    Ring<4> ring;
    ring.push_numbers(0, 3);
    ring.pop_numbers(0, 3);
    REQUIRE(ring.producer.room() == 4U);
    ring.push_numbers(3, 3);
    ring.consumed->value = consumed;  // 3 to 6 would be possible
    CHECK(ring.producer.room() == std::unexpected(RingError::peer_corrupt));
    CHECK(ring.producer.push(Numbered::make(9)) == std::unexpected(RingError::peer_corrupt));
    CHECK(ring.producer.wipe() == std::unexpected(RingError::peer_corrupt));
    CHECK(ring.producer.drained() == std::unexpected(RingError::peer_corrupt));
    CHECK(ring.memory->produced.value == 6);
    ring.consumed->value = 3;
    CHECK(ring.producer.room() == std::unexpected(RingError::peer_corrupt));
}

TEST_CASE("ring 6, 8: a peer that scribbles over everything it may write reaches nothing else", "[ring]") {
    Ring<8> ring;
    std::atomic<bool> stop = false;
    std::thread hostile([&] {
        std::mt19937_64 random(3);
        while (!stop) {
            ring.memory->produced.value = random() % 16;
            for (auto& slot : ring.memory->slots) {
                // A plain write of the peer; atomic here for the race detector's sake.
                __atomic_store_n(&slot.words[random() % 8], random(), __ATOMIC_RELAXED);
            }
        }
    });
    std::size_t popped = 0;
    for (int epoch = 0; epoch < 20'000 || popped == 0; ++epoch) {
        RingConsumer<Numbered, 8> consumer(*ring.memory, *ring.consumed);
        std::array<Numbered, 10> batch;
        std::fill(batch.begin(), batch.end(), Numbered::make(1));
        const auto count = consumer.pop(std::span(batch).first(9));
        if (count) {
            popped += *count;
            REQUIRE(*count <= 8);
            REQUIRE(batch[8] == Numbered::make(1));
        }
        REQUIRE(batch[9] == Numbered::make(1));
    }
    stop = true;
    hostile.join();
    CHECK(popped > 0);
}

TEST_CASE("ring 7: the consumer works on memory that it can only read, and so does the producer", "[ring]") {
    using Memory = RingMemory<Numbered, 8>;
    auto records = Mapping::create("ring-test", 2 * page).value();
    auto indices = Mapping::create("ring-test", page).value();
    auto records_view =
        Mapping::receive(flowtap::lib::FileDescriptor(::dup(records.descriptor())), 2 * page).value();
    auto indices_view =
        Mapping::receive(flowtap::lib::FileDescriptor(::dup(indices.descriptor())), page).value();
    auto* memory = new (records.data()) Memory;
    auto* consumed = new (indices.data()) RingIndex;
    const auto* memory_view = reinterpret_cast<const Memory*>(records_view.data());
    const auto* consumed_view = reinterpret_cast<const RingIndex*>(indices_view.data());

    RingProducer<Numbered, 8> producer(*memory, *consumed_view);
    RingConsumer<Numbered, 8> consumer(*memory_view, *consumed);
    for (std::uint64_t i = 0; i < 100; ++i) {
        REQUIRE(producer.push(Numbered::make(i)) == true);
        Numbered record;
        REQUIRE(consumer.pop(record) == true);
        REQUIRE(record == Numbered::make(i));
    }
    CHECK(run_in_child([&] { const_cast<Memory*>(memory_view)->produced.value = 1; }).signal == SIGSEGV);
    CHECK(run_in_child([&] { const_cast<RingIndex*>(consumed_view)->value = 1; }).signal == SIGSEGV);
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("ring 8: no call makes a system call", "[ring]") {
    const auto end = run_in_child([] {
        Ring<4> ring;
        Numbered record;
        // From here on any system call but exit, read and write kills.
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        for (std::uint64_t i = 0; i < 10; ++i) {
            while (ring.producer.push(Numbered::make(i)).value()) {
            }
            while (ring.consumer.pop(record).value()) {
            }
            static_cast<void>(ring.producer.wipe());
        }
        ring.memory->produced.value = 77;
        const bool corrupt = !ring.consumer.pop(record);
        ::syscall(SYS_exit, corrupt ? 42 : 43);
    });
    CHECK(end.signal == 0);
    CHECK(end.code == 42);
}
#endif

TEST_CASE("ring 9: indices of two sides never share a cache line", "[ring]") {
    using flowtap::lib::CommandBlock;
    using flowtap::lib::StatusBlock;
    CHECK(alignof(RingIndex) == 64);
    CHECK(sizeof(RingIndex) == 64);
    using Memory = RingMemory<Numbered, 4>;
    CHECK(offsetof(Memory, slots) >= 64);
    CHECK(offsetof(CommandBlock, completions_consumed) % 64 == 0);
    CHECK(offsetof(CommandBlock, commands) % 64 == 0);
    CHECK(offsetof(StatusBlock, commands_consumed) % 64 == 0);
    CHECK(offsetof(StatusBlock, completions) % 64 == 0);
}

TEST_CASE("ring 9: the peer's index is not read while the copy of it suffices", "[ring]") {
    using Memory = RingMemory<Numbered, 4>;
    // The producer index is the last line of a page, the records begin the next one.
    auto records = Mapping::create("ring-test", 2 * page).value();
    auto indices = Mapping::create("ring-test", page).value();
    auto* memory = new (records.data() + page - sizeof(RingIndex)) Memory;
    auto* consumed = new (indices.data()) RingIndex;
    REQUIRE(reinterpret_cast<std::uintptr_t>(&memory->slots) % page == 0);
    RingProducer<Numbered, 4> producer(*memory, *consumed);
    RingConsumer<Numbered, 4> consumer(*memory, *consumed);

    SECTION("by the producer") {
        const auto end = run_in_child([&] {
            ::mprotect(indices.data(), page, PROT_NONE);
            std::array<Numbered, 4> batch{};
            ::_exit(producer.push(batch) == 4U ? 42 : 43);
        });
        CHECK(end.code == 42);
    }
    SECTION("by the consumer") {
        std::array<Numbered, 4> batch{};
        REQUIRE(producer.push(batch) == 4U);
        REQUIRE(consumer.pop(batch[0]) == true);
        // pop() of one looked at all four.
        const auto end = run_in_child([&] {
            ::mprotect(records.data(), page, PROT_NONE);
            ::_exit(consumer.pop(std::span(batch).first(3)) == 3U ? 42 : 43);
        });
        CHECK(end.code == 42);
    }
    SECTION("but when it does not suffice, it is") {
        const auto end = run_in_child([&] {
            ::mprotect(records.data(), page, PROT_NONE);
            Numbered record;
            static_cast<void>(consumer.pop(record));
        });
        CHECK(end.signal == SIGSEGV);
    }
}

TEST_CASE("ring 10: a new epoch begins empty", "[ring]") {
    Ring<4> ring;
    ring.push_numbers(0, 3);
    ring.pop_numbers(0, 1);
    RingProducer<Numbered, 4> producer(*ring.memory, *ring.consumed);
    RingConsumer<Numbered, 4> consumer(*ring.memory, *ring.consumed);
    Numbered record;
    CHECK(consumer.pop(record) == false);
    CHECK(producer.room() == 4U);
    REQUIRE(producer.push(Numbered::make(9)) == true);
    REQUIRE(consumer.pop(record) == true);
    CHECK(record == Numbered::make(9));
}

TEST_CASE("ring 11: wipe() leaves no byte of what was popped, and all of what was not", "[ring]") {
    Ring<4> ring;
    ring.push_numbers(1, 3);
    CHECK(ring.producer.wipe() == 0U);
    ring.pop_numbers(1, 2);
    CHECK(ring.producer.wipe() == 2U);
    CHECK(ring.memory->slots[0] == Numbered{});
    CHECK(ring.memory->slots[1] == Numbered{});
    CHECK(ring.memory->slots[2] == Numbered::make(3));
    CHECK(ring.producer.wipe() == 0U);

    // Slots that are in use again are left alone, however late the call comes.
    ring.pop_numbers(3, 1);
    ring.push_numbers(4, 4);
    ring.pop_numbers(4, 1);
    ring.push_numbers(8, 1);
    static_cast<void>(ring.producer.wipe());
    ring.pop_numbers(5, 4);
    static_cast<void>(ring.producer.wipe());
    for (const Numbered& slot : ring.memory->slots) {
        CHECK(slot == Numbered{});
    }
}
