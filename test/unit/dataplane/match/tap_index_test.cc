#include "dataplane/match/tap_index.h"

#include "test/unit/dataplane/match/table_fixture.h"

#include <catch2/catch.hpp>

#include <bit>
#include <random>
#include <set>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

/// What a reader with this view finds for the entry's key.
bool finds(const TapIndex::View& view, const Entry& wanted) {
    const std::uint16_t tag = tag_of(wanted.hash);
    const std::uint32_t bucket = bucket_of(wanted.hash, view.filter.size, view.mask);
    if ((view.filter.words[2 * bucket + (tag & 1)] & filter_bits(tag)) != filter_bits(tag)) {
        return false;
    }
    const auto in_list = [&](const Cell& cell) {
        const std::uint64_t value = cell.load();
        if (value == 0 || tag_in(value) != tag) {
            return false;
        }
        for (const Entry* entry = entry_in(value); entry != nullptr; entry = entry->next.load()) {
            if (entry == &wanted) {
                return true;
            }
        }
        return false;
    };
    const Bucket& place = view.bucket(wanted.hash);
    if (std::ranges::any_of(place.cells, in_list)) {
        return true;
    }
    for (const OverflowLine* line = place.next.load(); line != nullptr; line = line->next.load()) {
        if (std::ranges::any_of(line->cells, in_list)) {
            return true;
        }
    }
    return false;
}

/// An index, its entries, and readers that began at various moments and still hold what they saw then.
class Model {
  public:
    Model(std::size_t keys, std::uint64_t seed) : index_(memory_, keys), random_(seed), entries_(keys) {}

    void insert() {
        const std::size_t place = random_() % entries_.size();
        if (entries_[place] != nullptr) {
            return;
        }
        entries_[place] = std::make_unique<Entry>();
        // Some keys have several entries.
        entries_[place]->hash = mix(static_cast<std::uint32_t>(place / (place % 3 == 0 ? 8 : 1)) * 77);
        REQUIRE(index_.insert(*entries_[place]));
        live_.insert(entries_[place].get());
    }
    void unlink() {
        const std::size_t place = random_() % entries_.size();
        if (entries_[place] == nullptr) {
            return;
        }
        index_.unlink(*entries_[place]);
        live_.erase(entries_[place].get());
        open_.push_back(std::move(entries_[place]));
    }
    void begin_reading() { readers_.push_back({index_.view(), live_}); }

    /// Like TapTable::reclaim: a round is sealed, readers from before it end, it is settled in pieces.
    void reclaim() {
        if (!sealed_active_) {
            index_.seal();
            sealed_ = std::move(open_);
            open_.clear();
            before_seal_ = readers_.size();
            sealed_active_ = true;
            return;
        }
        readers_.erase(readers_.begin(), readers_.begin() + static_cast<std::ptrdiff_t>(before_seal_));
        before_seal_ = 0;
        std::size_t budget = random_() % 50;
        if (index_.settle(budget)) {
            sealed_.clear();
            sealed_active_ = false;
        }
    }
    void finish() {
        while (index_.unsettled() || sealed_active_) {
            reclaim();
        }
    }
    void check() {
        const TapIndex::View now = index_.view();
        for (const Entry* entry : live_) {
            REQUIRE(finds(now, *entry));
        }
        for (const Reader& reader : readers_) {
            for (const Entry* entry : reader.live) {
                // What was unlinked since is another matter: it was invisible before.
                if (live_.contains(entry)) {
                    REQUIRE(finds(reader.view, *entry));
                }
            }
        }
    }
    std::size_t size() const { return live_.size(); }
    std::uint32_t buckets() const { return index_.view().filter.size; }
    std::uint64_t bytes() const { return memory_.bytes(); }
    std::uint64_t random() { return random_(); }
    std::uint64_t keys() const { return index_.keys(); }
    std::size_t different_keys() const {
        std::set<std::uint32_t> hashes;
        for (const Entry* entry : live_) {
            hashes.insert(entry->hash);
        }
        return hashes.size();
    }

  private:
    struct Reader {
        TapIndex::View view;
        std::set<const Entry*> live;
    };
    Memory memory_{*std::pmr::new_delete_resource()};
    TapIndex index_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<Entry>> entries_;
    std::set<const Entry*> live_;
    std::vector<Reader> readers_;
    std::vector<std::unique_ptr<Entry>> open_;
    std::vector<std::unique_ptr<Entry>> sealed_;
    std::size_t before_seal_ = 0;
    bool sealed_active_ = false;
};

TEST_CASE("readers of every age find what is linked, while the index grows and shrinks", "[index]") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        Model model(3000, seed);
        const std::uint32_t smallest = model.buckets();
        const std::uint64_t empty = model.bytes();
        std::uint32_t largest = 0;
        for (const unsigned grow : {90U, 10U, 80U, 50U, 5U}) {
            for (int step = 0; step < 4000; ++step) {
                if (model.random() % 100 < grow) {
                    model.insert();
                } else {
                    model.unlink();
                }
                if (model.random() % 200 == 0) {
                    model.begin_reading();
                }
                if (model.random() % 100 == 0) {
                    model.reclaim();
                }
                if (step % 400 == 0) {
                    model.check();
                }
            }
            largest = std::max(largest, model.buckets());
            CHECK(model.keys() == model.different_keys());
        }
        CHECK(largest > 16 * smallest);
        while (model.size() > 0) {
            model.unlink();
            if (model.random() % 50 == 0) {
                model.reclaim();
            }
        }
        model.finish();
        CHECK(model.keys() == 0);
        CHECK(model.bytes() == empty);
        CHECK(model.buckets() < largest / 8);
    }
}

TEST_CASE("one in a hundred keys that are not there pass the filter, at every size", "[index]") {
    for (const std::uint32_t count : {100U, 3'000U, 70'000U, 300'000U}) {
        Memory memory(*std::pmr::new_delete_resource());
        TapIndex index(memory, 2 * count);
        std::vector<Entry> entries(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            entries[i].hash = mix(i);
            REQUIRE(index.insert(entries[i]));
        }
        std::size_t budget = std::size_t(-1);
        index.seal();
        REQUIRE(index.settle(budget));
        const TapIndex::View view = index.view();
        std::uint32_t passed = 0;
        constexpr std::uint32_t asked = 100'000;
        for (std::uint32_t i = 0; i < asked; ++i) {
            Entry other;
            other.hash = mix(0x8000'0000U + i);
            const std::uint16_t tag = tag_of(other.hash);
            const std::uint32_t bucket = bucket_of(other.hash, view.filter.size, view.mask);
            passed += (view.filter.words[2 * bucket + (tag & 1)] & filter_bits(tag)) == filter_bits(tag);
        }
        CAPTURE(count, view.filter.size);
        CHECK(passed < asked / 100);
    }
}

TEST_CASE("an insertion that finds no memory changes nothing", "[index]") {
    CountingResource resource;
    Memory memory(resource);
    TapIndex index(memory, 64);
    std::vector<Entry> entries(4000);
    resource.refuse_after(3);
    std::size_t linked = 0;
    std::size_t refused = 0;
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
        entries[i].hash = mix(i + 1);  // never 0
        if (index.insert(entries[i])) {
            ++linked;
        } else {
            ++refused;
            REQUIRE_FALSE(finds(index.view(), entries[i]));
            entries[i].hash = 0;
        }
    }
    CHECK(linked > 100);
    CHECK(refused > 0);
    CHECK(index.keys() == linked);
    for (Entry& entry : entries) {
        if (entry.hash != 0) {
            REQUIRE(finds(index.view(), entry));
            index.unlink(entry);
        }
    }
    CHECK(index.keys() == 0);
}

}  // namespace
}  // namespace flowtap::test
