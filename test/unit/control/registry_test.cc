#include "control/registry.h"

#include "control/slot_pool.h"
#include "test/unit/control/victim.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <fcntl.h>
#include <map>
#include <random>
#include <set>
#include <sys/stat.h>

namespace flowtap::test {

namespace {

using control::Registry;
using control::RegistryEntry;
using lib::TapId;
using lib::TapSlot;

constexpr std::uint32_t max_taps = 64;

/// Everything in it follows from slot and id, so that what comes back can be judged.
RegistryEntry entry(std::uint32_t slot, std::uint64_t id) {
    RegistryEntry made{TapSlot{slot}, TapId{id}, static_cast<std::int64_t>(id * 7), id * 11, {}, {}};
    made.csource_address.bytes[0] = static_cast<std::uint8_t>(id);
    std::mt19937_64 random{id};
    made.message.resize(1 + random() % (id % 5 == 0 ? 60'000 : 1'500));
    for (auto& letter : made.message) {
        letter = static_cast<char>(random());
    }
    return made;
}

bool equal(const RegistryEntry& left, const RegistryEntry& right) {
    return left.slot == right.slot && left.id == right.id && left.added_utc == right.added_utc &&
           left.added_boot == right.added_boot && left.csource_address == right.csource_address &&
           left.message == right.message;
}

Registry adopted(const Registry& registry) {
    auto next = Registry::adopt(lib::FileDescriptor{::dup(registry.descriptor())}, max_taps);
    REQUIRE(next.has_value());
    return std::move(*next);
}

}  // namespace

TEST_CASE("what was added comes back byte for byte in the next process") {
    auto registry = Registry::create(max_taps).value();
    for (std::uint32_t slot = 0; slot < max_taps; ++slot) {
        REQUIRE(registry.add(entry(slot, 1000 + slot)).has_value());
    }
    const auto next = adopted(registry);
    CHECK(next.damaged() == 0);
    CHECK(next.size() == max_taps);
    for (std::uint32_t slot = 0; slot < max_taps; ++slot) {
        const auto read = next.read(TapSlot{slot});
        REQUIRE(read.has_value());
        CHECK(equal(*read, entry(slot, 1000 + slot)));
    }
}

TEST_CASE("blocks of removed entries are used again: the registry does not fill up") {
    auto registry = Registry::create(max_taps).value();
    const auto blocks = control::RegistryGeometry::of(max_taps).block_count;
    for (std::uint64_t id = 1; id < blocks; ++id) {
        auto big = entry(1, id);
        big.message.assign(30'000, 'x');
        REQUIRE(registry.add(big).has_value());
        const std::array slots{TapSlot{1}};
        registry.remove(slots);
    }
    CHECK(registry.size() == 0);
}

TEST_CASE("a full registry is an error, and what is in it stays") {
    auto registry = Registry::create(max_taps).value();
    std::uint32_t slot = 0;
    for (; slot < max_taps; ++slot) {
        auto big = entry(slot, slot + 1);
        big.message.assign(lib::round_up(65'000, 1), static_cast<char>(slot));
        if (!registry.add(big)) {
            break;
        }
    }
    REQUIRE(slot == max_taps);  // 64 x 65 blocks fit 4192: no lack here; a taken slot is the other error
    CHECK_FALSE(registry.add(entry(3, 99)).has_value());
    CHECK(registry.read(TapSlot{3})->message.size() == 65'000);
}

TEST_CASE("statistics change as a whole and survive") {
    auto registry = Registry::create(max_taps).value();
    REQUIRE(registry.add(entry(5, 5)).has_value());
    control::TapStatistics statistics;
    statistics.epoch = lib::Epoch{3};
    statistics.before = {1, 2, 3, 4};
    statistics.seen = {5, 6, 7, 8};
    statistics.active = 9;
    registry.set_statistics(TapSlot{5}, statistics);
    CHECK(adopted(registry).statistics(TapSlot{5}) == statistics);
}

TEST_CASE("a descriptor that is no registry of this shape is refused") {
    CHECK_FALSE(Registry::adopt(lib::FileDescriptor{::open("/dev/zero", O_RDWR)}, max_taps).has_value());
    CHECK_FALSE(Registry::adopt(lib::FileDescriptor{}, max_taps).has_value());
    const auto registry = Registry::create(max_taps).value();
    CHECK_FALSE(
        Registry::adopt(lib::FileDescriptor{::dup(registry.descriptor())}, max_taps + 4096).has_value());
}

TEST_CASE("bytes changed by another writer never become a tap, and never harm the reader") {
    std::mt19937_64 random{3};
    for (int round = 0; round < 300; ++round) {
        auto registry = Registry::create(max_taps).value();
        for (std::uint32_t slot = 0; slot < 8; ++slot) {
            REQUIRE(registry.add(entry(slot, 1 + slot)).has_value());
        }
        const auto geometry = control::RegistryGeometry::of(max_taps);
        for (int change = 0; change < 4; ++change) {
            const bool in_slots = random() % 2 == 0;
            const std::size_t offset =
                in_slots ? geometry.slots + random() % (16 * 8)
                         : geometry.blocks + random() % 24 * control::block_size + random() % 64;
            const auto value = static_cast<std::uint8_t>(random());
            REQUIRE(::pwrite(registry.descriptor(), &value, 1, static_cast<off_t>(offset)) == 1);
        }
        auto next = adopted(registry);
        for (const auto slot : next.slots()) {
            const auto read = next.read(slot);
            REQUIRE(read.has_value());
            REQUIRE(
                equal(*read, entry(static_cast<std::uint32_t>(slot), 1 + static_cast<std::uint32_t>(slot))));
        }
        REQUIRE(next.add(entry(40, 40)).has_value());
        const auto slots = next.slots();
        next.remove(slots);
        REQUIRE(next.size() == 0);
    }
}

TEST_CASE("killed at any point: every change is wholly there or not at all, and all that was acknowledged is",
          "[dtcp:5.all-or-nothing]") {
    // The child writes what it is about to do, does it, and writes that it is done.
    struct Log {
        std::atomic<std::uint64_t> next_id{1};
        std::array<std::atomic<std::uint64_t>, max_taps> acknowledged{};  ///< id in the slot; 0: free
        std::atomic<std::uint64_t> adding{0};
        std::atomic<std::uint32_t> adding_slot{0};
        std::atomic<std::uint64_t> removing{0};  ///< bit set of slots
        std::atomic<std::uint64_t> steps{0};
    };
    std::mt19937_64 random{11};
    auto registry = Registry::create(max_taps).value();
    Witness<Log> log;
    for (int life = 0; life < 400; ++life) {
        const auto seed = random();
        run_and_kill(std::chrono::microseconds{random() % 1500}, [&](const auto& begun) {
            auto mine = Registry::adopt(lib::FileDescriptor{::dup(registry.descriptor())}, max_taps);
            std::mt19937_64 choice{seed};
            begun();
            while (mine) {
                const auto slot = static_cast<std::uint32_t>(choice() % max_taps);
                if (choice() % 4 != 0) {
                    if (log->acknowledged[slot].load() != 0) {
                        continue;
                    }
                    const auto id = log->next_id.fetch_add(1);
                    log->adding_slot.store(slot);
                    log->adding.store(id);
                    if (!mine->add(entry(slot, id))) {
                        ::_exit(1);
                    }
                    log->acknowledged[slot].store(id);
                    log->adding.store(0);
                } else {
                    const auto set = choice() & choice();
                    std::vector<TapSlot> slots;
                    for (std::uint32_t i = 0; i < max_taps; ++i) {
                        if ((set >> i & 1) != 0) {
                            slots.push_back(TapSlot{i});
                        }
                    }
                    log->removing.store(set);
                    mine->remove(slots);
                    for (const auto gone : slots) {
                        log->acknowledged[static_cast<std::uint32_t>(gone)].store(0);
                    }
                    log->removing.store(0);
                }
                log->steps.fetch_add(1);
            }
        });
        auto next = adopted(registry);
        REQUIRE(next.damaged() == 0);
        const auto adding = log->adding.load();
        const auto adding_slot = log->adding_slot.load();
        const auto removing = log->removing.load();
        std::set<bool> removal_outcomes;
        for (std::uint32_t slot = 0; slot < max_taps; ++slot) {
            const auto read = next.read(TapSlot{slot});
            const auto known = log->acknowledged[slot].load();
            if (adding != 0 && slot == adding_slot) {
                if (read) {
                    REQUIRE(equal(*read, entry(slot, adding)));
                }
            } else if ((removing >> slot & 1) != 0) {
                if (known != 0) {
                    removal_outcomes.insert(read.has_value());
                }
                if (read) {
                    REQUIRE(equal(*read, entry(slot, known)));
                }
            } else if (known != 0) {
                REQUIRE(read.has_value());
                REQUIRE(equal(*read, entry(slot, known)));
            } else {
                REQUIRE_FALSE(read.has_value());
            }
            log->acknowledged[slot].store(read ? static_cast<std::uint64_t>(read->id) : 0);
        }
        REQUIRE(removal_outcomes.size() <= 1);
        log->adding.store(0);
        log->removing.store(0);
    }
    CHECK(log->steps.load() > 1000);
}

TEST_CASE("a removal that has begun is finished by the next process; one that was undone is not") {
    auto registry = Registry::create(max_taps).value();
    for (std::uint32_t slot = 0; slot < 6; ++slot) {
        REQUIRE(registry.add(entry(slot, slot + 1)).has_value());
    }
    const std::array first{TapSlot{0}, TapSlot{1}};
    const std::array second{TapSlot{2}, TapSlot{3}};
    registry.begin_removal(first);
    registry.begin_removal(second);
    CHECK(registry.read(TapSlot{0}).has_value());
    registry.undo_removal(first);
    CHECK(adopted(registry).slots() == std::vector{TapSlot{0}, TapSlot{1}, TapSlot{4}, TapSlot{5}});
    // What comes into a slot again is not leaving.
    auto next = adopted(registry);
    REQUIRE(next.add(entry(2, 9)).has_value());
    CHECK(adopted(next).slots().size() == 5);
}

TEST_CASE("killed at any point of the beginning or the end of a removal: all of them leave, or none") {
    constexpr std::uint32_t taps = 40;
    std::mt19937_64 random{23};
    std::vector<TapSlot> slots;
    for (std::uint32_t slot = 0; slot < taps; ++slot) {
        slots.push_back(TapSlot{slot});
    }
    std::size_t left = 0;
    std::size_t stayed = 0;
    for (int life = 0; life < 300; ++life) {
        auto registry = Registry::create(max_taps).value();
        for (const auto slot : slots) {
            const auto number = static_cast<std::uint32_t>(slot);
            REQUIRE(registry.add(entry(number, number + 1)).has_value());
        }
        run_and_kill(std::chrono::microseconds{random() % 300}, [&](const auto& begun) {
            begun();
            while (true) {
                registry.begin_removal(slots);
                registry.undo_removal(slots);
            }
        });
        const auto kept = adopted(registry).slots().size();
        REQUIRE((kept == 0 || kept == taps));
        ++(kept == 0 ? left : stayed);
    }
    CHECK(left > 0);
    CHECK(stayed > 0);
}

TEST_CASE("terms change and survive") {
    auto registry = Registry::create(max_taps).value();
    auto made = entry(5, 5);
    made.terms.total = 60;
    REQUIRE(registry.add(made).has_value());
    REQUIRE(registry.add(entry(6, 6)).has_value());
    for (std::uint32_t step = 1; step <= 5; ++step) {
        control::TapTerms terms;
        terms.total = step;
        terms.packets_end = step * 1'000;
        terms.suppressed = step;
        const std::array changes{control::TermsChange{TapSlot{5}, terms}};
        registry.set_terms(changes);
        const auto next = adopted(registry);
        CHECK(next.read(TapSlot{5})->terms == terms);
        CHECK(next.read(TapSlot{6})->terms == control::TapTerms{});
    }
}

TEST_CASE("killed at any point of a change of terms: the taps have the old ones or the new ones, all of them",
          "[dtcp:5.all-or-nothing]") {
    struct Log {
        std::atomic<std::uint64_t> begun{0};
        std::atomic<std::uint64_t> done{0};
    };
    constexpr std::uint32_t taps = 40;
    std::mt19937_64 random{17};
    auto registry = Registry::create(max_taps).value();
    for (std::uint32_t slot = 0; slot < taps; ++slot) {
        REQUIRE(registry.add(entry(slot, slot + 1)).has_value());
    }
    Witness<Log> log;
    std::uint64_t unfinished = 0;
    for (int life = 0; life < 400; ++life) {
        run_and_kill(std::chrono::microseconds{random() % 600}, [&](const auto& begun) {
            auto mine = Registry::adopt(lib::FileDescriptor{::dup(registry.descriptor())}, max_taps);
            begun();
            while (mine) {
                const auto value = log->done.load() + 1;
                log->begun.store(value);
                std::vector<control::TermsChange> changes;
                for (std::uint32_t slot = 0; slot < taps; ++slot) {
                    control::TapTerms terms;
                    terms.packets = value;
                    terms.bytes_end = value + slot;
                    changes.push_back({TapSlot{slot}, terms});
                }
                mine->set_terms(changes);
                log->done.store(value);
            }
        });
        const auto next = adopted(registry);
        REQUIRE(next.damaged() == 0);
        const auto value = next.read(TapSlot{0})->terms.packets;
        REQUIRE((value == log->done.load() || value == log->begun.load()));
        unfinished += log->done.load() != log->begun.load() ? 1U : 0U;
        for (std::uint32_t slot = 0; slot < taps; ++slot) {
            const auto terms = next.read(TapSlot{slot})->terms;
            REQUIRE(terms.packets == value);
            REQUIRE((value == 0 || terms.bytes_end == value + slot));
        }
        log->done.store(value);
    }
    CHECK(log->done.load() > 1'000);
    CHECK(unfinished > 50);
}

TEST_CASE("what an SA slot was given last is remembered, also by the next process") {
    auto registry = Registry::create(max_taps).value();
    const control::SaGrant first{{1}, 7, lib::Epoch{3}, 100};
    const control::SaGrant second{{2}, 8, lib::Epoch{3}, 50};
    registry.set_grant(lib::SaSlot{0}, first);
    const auto next = adopted(registry);
    CHECK(next.grant(lib::SaSlot{0}) == first);
    CHECK(next.granted({1}) == 100);
    CHECK(next.granted({2}) == 0);
    registry.set_grant(lib::SaSlot{0}, second);
    registry.set_grant(lib::SaSlot{5}, {{2}, 8, lib::Epoch{2}, 40});
    CHECK(next.grant(lib::SaSlot{0}) == second);
    CHECK(next.granted({1}) == 100);
    CHECK(next.granted({2}) == 50);
}

TEST_CASE(
    "up to where a key was granted is remembered when its slot goes to others, for the last thousand of "
    "them") {
    constexpr std::uint64_t keys = 3000;
    auto registry = Registry::create(max_taps).value();
    const auto digest = [](std::uint64_t number) {
        return std::array<std::uint8_t, 32>{static_cast<std::uint8_t>(number),
                                            static_cast<std::uint8_t>(number >> 8U), 1};
    };
    for (std::uint64_t number = 1; number <= keys; ++number) {
        registry.set_grant(lib::SaSlot{number % 2 == 0 ? 0U : 1U},
                           {digest(number), number, lib::Epoch{3}, number});
        // One that comes back again and again takes no place of the others, and keeps the highest value.
        registry.set_grant(lib::SaSlot{2}, {digest(0), 1, lib::Epoch{3}, 2 * number});
        registry.set_grant(lib::SaSlot{2}, {digest(keys + 1), 2, lib::Epoch{3}, 1});
    }
    const auto next = adopted(registry);
    CHECK(next.granted(digest(0)) == 2 * keys);
    for (std::uint64_t number = keys - 1000; number <= keys; ++number) {
        CHECK(next.granted(digest(number)) == number);
    }
}

TEST_CASE("slots are lent once, and the one given back longest ago comes first") {
    control::SlotPool pool{3};
    CHECK(pool.claim(1));
    CHECK_FALSE(pool.claim(1));
    CHECK_FALSE(pool.claim(3));
    CHECK(pool.take() == 0U);
    CHECK(pool.take() == 2U);
    CHECK_FALSE(pool.take().has_value());
    pool.give_back(2);
    pool.give_back(0);
    CHECK(pool.take() == 2U);
    CHECK(pool.take() == 0U);
}

TEST_CASE("a slot that was claimed and given back before its turn is lent once") {
    control::SlotPool pool{3};
    CHECK(pool.claim(2));
    pool.give_back(2);
    std::set<std::uint32_t> lent;
    for (int i = 0; i < 3; ++i) {
        lent.insert(pool.take().value());
    }
    CHECK(lent.size() == 3);
    CHECK_FALSE(pool.take().has_value());
}

}  // namespace flowtap::test
