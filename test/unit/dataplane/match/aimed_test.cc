// Frames that nearly match, and recorded ones: with 1 to 100,000 taps, every variant of the table finds what
// the reference finds. A decision is one frame against one tap in one variant; FLOWTAP_DECISIONS=N asks for
// at least N of them for each number of taps and each variant (the suite `exact`: 10 million), and for as
// many frames that a large table is not judged by a handful.
#include "test/support/aimed_traffic.h"
#include "test/support/recorded.h"
#include "test/unit/dataplane/match/coverage.h"
#include "test/unit/dataplane/match/table_fixture.h"

#include <cstdlib>
#include <deque>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

std::size_t wanted_decisions() {
    const char* const text = std::getenv("FLOWTAP_DECISIONS");
    return text == nullptr ? 200'000 : std::strtoull(text, nullptr, 10);
}

/// For each table, however many taps it has.
std::size_t least_frames() {
    return std::max<std::size_t>(128, wanted_decisions() / 5'000);
}

struct Hits {
    std::size_t taps = 0;
    std::size_t frames = 0;  ///< that match at least one
    std::size_t beyond = 0;  ///< frames that match more than is told
};

/// The same taps in a table of each variant that the processor has.
class Tables {
  public:
    explicit Tables(std::uint32_t population) : taps_(population) {
        for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
            if (supported(simd)) {
                variants_.emplace_back(population, simd);
            }
        }
    }

    std::size_t variants() const { return variants_.size(); }
    const lib::Criterion& criterion(std::uint32_t slot) const { return taps_.at(slot).criterion; }

    /// Exchanges what is in the slot; visible with the next commit.
    void put(std::uint32_t slot, lib::Criterion criterion) {
        Tap& tap = taps_.at(slot);
        const std::uint64_t id = ++last_id_;
        for (Variant& variant : variants_) {
            if (tap.id != 0) {
                REQUIRE(variant.table.stage_remove(lib::TapSlot{slot}, lib::TapId{tap.id}));
            }
            REQUIRE(variant.table.stage_add(lib::TapSlot{slot}, lib::TapId{id}, criterion, Payload{id}));
        }
        if (tap.id != 0) {
            coverage_.remove_tap(tap.criterion);
        }
        coverage_.add_tap(criterion);
        tap = {id, std::move(criterion)};
    }

    void commit() {
        for (Variant& variant : variants_) {
            (void)variant.table.commit();
            variant.quiescence.quiescent(0);
            (void)variant.table.reclaim();
        }
    }

    const Coverage& coverage() const { return coverage_; }

    /// Ids of the taps that each frame matches, as the reference says.
    std::vector<std::uint64_t> expected(const RandomTraffic::Sample& sample, std::uint16_t port) {
        std::vector<std::uint64_t> ids;
        const auto facts = sample.is_packet ? std::optional(sample.facts) : std::nullopt;
        const lib::InterfaceTerm arrival{port, reference_vlan(sample.frame)};
        for (const Tap& tap : taps_) {
            if (reference_matches(tap.criterion, facts, arrival)) {
                ids.push_back(tap.id);
                coverage_.match(tap.criterion);
            }
        }
        if (facts) {
            coverage_.frame(*facts);
        }
        std::ranges::sort(ids);
        return ids;
    }

    /// In every variant.
    Hits check(const std::vector<RandomTraffic::Sample>& samples, std::uint16_t port) {
        std::vector<std::vector<std::uint64_t>> wanted;
        Hits hits;
        for (const RandomTraffic::Sample& sample : samples) {
            const std::size_t count = wanted.emplace_back(expected(sample, port)).size();
            hits.taps += count;
            hits.frames += std::size_t{count != 0};
            hits.beyond += std::size_t{count > max_matches};
        }
        const Burst burst(samples, port);
        for (const Variant& variant : variants_) {
            variant.table.classify(burst.headers(), *matches_);
            for (std::size_t i = 0; i < samples.size(); ++i) {
                if (!agrees(i, wanted[i])) {
                    explain(samples[i], port, variant.table.simd(), i, wanted[i]);
                }
            }
        }
        return hits;
    }

  private:
    struct Tap {
        std::uint64_t id = 0;
        lib::Criterion criterion;
    };
    struct Variant {
        Variant(std::uint32_t population, Simd simd)
            : table(quiescence, {.max_taps = population, .simd = simd, .seed = population}) {
            REQUIRE(quiescence.join(0));
        }
        Quiescence quiescence{4};
        TapTable table;
    };

    std::vector<std::uint64_t> found(std::size_t frame) const {
        std::vector<std::uint64_t> ids;
        if ((matches_->matched >> frame & 1) != 0) {
            for (const Match& match : matches_->frames[frame]) {
                ids.push_back(static_cast<std::uint64_t>(match.payload));
            }
        }
        std::ranges::sort(ids);
        return ids;
    }

    // All of them, once; of more than can be told, so many different ones, and the number of the others.
    bool agrees(std::size_t frame, const std::vector<std::uint64_t>& wanted) const {
        const std::vector<std::uint64_t> ids = found(frame);
        if (wanted.size() <= max_matches) {
            return ids == wanted && (wanted.empty() || matches_->frames[frame].overflow == 0);
        }
        return ids.size() == max_matches && std::ranges::adjacent_find(ids) == ids.end() &&
               std::ranges::includes(wanted, ids) &&
               matches_->frames[frame].overflow == wanted.size() - max_matches;
    }

    void explain(const RandomTraffic::Sample& sample, std::uint16_t port, Simd simd, std::size_t frame,
                 const std::vector<std::uint64_t>& wanted) const {
        const std::vector<std::uint64_t> ids = found(frame);
        std::string text = sample.is_packet ? to_string(sample.facts) : "no packet";
        for (const Tap& tap : taps_) {
            const bool is_wanted = std::ranges::binary_search(wanted, tap.id);
            if (is_wanted != std::ranges::binary_search(ids, tap.id)) {
                text += (is_wanted ? "\nmissed: " : "\ntoo many: ") + to_string(tap.criterion).substr(0, 400);
            }
        }
        FAIL(to_string(simd) << " port " << port << " vlan " << reference_vlan(sample.frame) << ": " << text);
    }

    std::deque<Variant> variants_;
    std::vector<Tap> taps_;
    Coverage coverage_;
    std::uint64_t last_id_ = 0;
    std::unique_ptr<Matches> matches_ = std::make_unique<Matches>();
};

struct Tally {
    std::size_t frames = 0;
    std::size_t decisions = 0;  ///< of one variant
    Hits hits;
    std::size_t aimed = 0;
    std::size_t aimed_hits = 0;
    std::size_t one_off = 0;  ///< aimed frames that would match but for one element of the criterion

    double percent(std::size_t part) const {
        return 100.0 * static_cast<double>(part) / static_cast<double>(aimed);
    }
};

class Run {
  public:
    Run(std::uint32_t population, std::uint64_t seed)
        : traffic_(seed, std::max<std::size_t>(3, population / 20)),
          aimed_(seed),
          tables_(population),
          population_(population) {}

    Tally decide(std::size_t wanted) {
        for (std::uint32_t slot = 0; slot < population_; ++slot) {
            tables_.put(slot, criterion(slot));
        }
        tables_.commit();
        while (tally_.decisions < wanted || tally_.frames < least_frames()) {
            burst(tally_.decisions < wanted
                      ? std::min<std::size_t>(max_burst, 1 + (wanted - tally_.decisions) / population_)
                      : max_burst);
            for (std::uint64_t changes = std::max(1U, population_ / 500); changes > 0; --changes) {
                const std::uint32_t changed = slot();
                tables_.put(changed, criterion(changed));
            }
            tables_.commit();
        }
        return tally_;
    }

    std::size_t variants() const { return tables_.variants(); }
    const Coverage& coverage() const { return tables_.coverage(); }

  private:
    std::uint32_t slot() { return static_cast<std::uint32_t>(traffic_.below(population_)); }

    bool is_large() const { return population_ >= 1000; }

    // What slots hold: those of one host, those of a level each, and any.
    std::uint32_t popular_slots() const { return is_large() ? 4 * max_matches : 0; }
    std::uint32_t level_slots() const { return is_large() ? 512 : population_ / 4; }
    std::uint32_t level_slot() {
        return popular_slots() + static_cast<std::uint32_t>(traffic_.below(level_slots()));
    }

    lib::Criterion criterion(std::uint32_t slot) {
        if (slot < popular_slots()) {
            return popular(traffic_.chance(50));
        }
        const bool at_a_level =
            population_ == 1 ? traffic_.chance(20) : slot < popular_slots() + level_slots();
        return at_a_level ? of_a_level() : any_criterion();
    }

    // With many wide taps every frame would match more of them than a table tells.
    lib::Criterion any_criterion() {
        const bool wide = !is_large() || traffic_.below(5000) == 0;
        for (;;) {
            lib::Criterion made = any_criterion(wide);
            if (wide || is_narrow(made)) {
                return made;
            }
        }
    }

    /// One host that more taps ask for than one frame can tell, half of them by more than its address.
    lib::Criterion popular(bool bare) {
        lib::Criterion made = bare ? lib::Criterion{} : traffic_.criterion(false);
        made.family = lib::Family::ipv4;
        made.source_address.clear();
        made.dest_address.clear();
        made.either_address = lib::parse_address("198.51.100.77").value();
        return made;
    }

    /// A range that is looked up as blocks of one of the levels, anywhere: the other traffic passes few of
    /// them.
    lib::Criterion of_a_level() {
        const bool v4 = traffic_.chance(40);
        const auto draw = [&](const auto& levels) { return levels[traffic_.below(levels.size())]; };
        const unsigned length = v4 ? draw(ipv4_levels) : draw(ipv6_levels);
        lib::Criterion made;
        made.family = v4 ? lib::Family::ipv4 : lib::Family::ipv6;
        lib::AddressTerm term;
        term.first.family = made.family;
        for (std::size_t i = 0; i < lib::address_size(made.family); ++i) {
            term.first.bytes[i] = static_cast<std::uint8_t>(traffic_.below(256));
        }
        term.last = term.first;
        for (unsigned bit = length; bit < 8 * lib::address_size(made.family); ++bit) {
            const auto mask = static_cast<std::uint8_t>(0x80 >> bit % 8);
            term.first.bytes[bit / 8] = static_cast<std::uint8_t>(term.first.bytes[bit / 8] & ~mask);
            term.last.bytes[bit / 8] = static_cast<std::uint8_t>(term.last.bytes[bit / 8] | mask);
        }
        (traffic_.chance(50) ? made.source_address : made.dest_address) = {term};
        return made;
    }

    lib::Criterion any_criterion(bool wide) {
        if (!recorded_frames().empty() && traffic_.chance(population_ > 1000 ? 3 : 30)) {
            const Bytes& frame = recorded_frames()[traffic_.below(recorded_frames().size())];
            if (const Reading reading = reference_parse(frame); reading.facts) {
                return aimed_.criterion(*reading.facts, {port(), reference_vlan(frame)});
            }
        }
        lib::Criterion made = traffic_.criterion(wide);
        if (wide && traffic_.chance(15)) {
            made = {};
            made.layer2 = true;
        }
        if (made.layer2 || traffic_.chance(30)) {
            made.interfaces = traffic_.interfaces();
        }
        return made;
    }

    // One side is of few hosts.
    static bool is_narrow(const lib::Criterion& criterion) {
        const auto few = [](const lib::AddressTerm& term) {
            const std::size_t same = lib::address_size(term.first.family) - 1;
            return term.negated || std::equal(term.first.bytes.begin(), term.first.bytes.begin() + same,
                                              term.last.bytes.begin());
        };
        const auto narrow = [&](const lib::AddressList& list) {
            return std::ranges::all_of(list, few) && !std::ranges::all_of(list, &lib::AddressTerm::negated);
        };
        return narrow(criterion.source_address) || narrow(criterion.dest_address) || criterion.either_address;
    }

    std::uint16_t port() { return static_cast<std::uint16_t>(traffic_.below(4)); }

    RandomTraffic::Sample sample(std::uint16_t port) {
        const std::uint64_t kind = traffic_.below(100);
        if (is_large() && kind < 5) {
            return aimed_.frame(popular(true), port);
        }
        if (kind < 60) {
            const bool at_a_level = level_slots() != 0 && kind < 20;
            const lib::Criterion& target = tables_.criterion(at_a_level ? level_slot() : slot());
            RandomTraffic::Sample made = aimed_.frame(target, port);
            const unsigned off = elements_off(target, made.facts, {port, reference_vlan(made.frame)});
            ++tally_.aimed;
            tally_.aimed_hits += off == 0 ? 1 : 0;
            tally_.one_off += off == 1 ? 1 : 0;
            return made;
        }
        if (kind < 80 && !recorded_frames().empty()) {
            RandomTraffic::Sample made;
            made.frame = recorded_frames()[traffic_.below(recorded_frames().size())];
            const Reading reading = reference_parse(made.frame);
            made.is_packet = reading.facts.has_value();
            made.facts = reading.facts.value_or(PacketFacts{});
            return made;
        }
        return kind < 97 ? traffic_.frame() : traffic_.strange_frame();
    }

    void burst(std::size_t size) {
        const std::uint16_t at = port();
        std::vector<RandomTraffic::Sample> samples(size);
        std::ranges::generate(samples, [&] { return sample(at); });
        const Hits hits = tables_.check(samples, at);
        tally_.hits.taps += hits.taps;
        tally_.hits.frames += hits.frames;
        tally_.hits.beyond += hits.beyond;
        tally_.frames += size;
        tally_.decisions += size * population_;
    }

    RandomTraffic traffic_;
    AimedTraffic aimed_;
    Tables tables_;
    std::uint32_t population_;
    Tally tally_;
};

void decide(std::uint32_t population) {
    CAPTURE(population);
    Run run(population, population + 17);
    const Tally tally = run.decide(wanted_decisions());
    const Coverage& met = run.coverage();
    CHECK(tally.frames >= least_frames());
    // A comparison of nothing with nothing would prove little.
    CHECK(tally.percent(tally.aimed_hits) > 20);
    CHECK(tally.percent(tally.one_off) > 15);
    CHECK(tally.hits.beyond * 4 < tally.frames);
    if (population >= 1000) {
        CHECK(tally.hits.beyond * 200 > tally.frames);
        CHECK(met.crowded() * 200 > tally.frames);
    }
    if (population == 1 || wanted_decisions() > 200'000) {  // else a large table's frames are too few for all
        CHECK(met.rarest_level() * 1000 > tally.frames);
    }
    if (wanted_decisions() > 200'000) {
        WARN(population << " taps: " << tally.decisions << " decisions in each of " << run.variants()
                        << " variants, " << tally.frames << " frames, " << tally.hits.frames
                        << " of them match " << tally.hits.taps << " taps, " << tally.hits.beyond
                        << " more than are told, " << met.crowded() << " are of crowded hosts, at least "
                        << met.rarest_level() << " of each level; of the " << tally.aimed << " aimed frames "
                        << tally.percent(tally.aimed_hits) << " % match their tap, "
                        << tally.percent(tally.one_off) << " % would but for one element");
    }
}

TEST_CASE("frames that nearly match are decided as the reference does, with 1 and 100 taps",
          "[table][exact]") {
    decide(1);
    decide(100);
}

TEST_CASE("frames that nearly match are decided as the reference does, with 10,000 taps", "[table][exact]") {
    decide(10'000);
}

TEST_CASE("frames that nearly match are decided as the reference does, with 100,000 taps",
          "[table][exact][as-shipped]") {
    decide(100'000);
}

}  // namespace
}  // namespace flowtap::test
