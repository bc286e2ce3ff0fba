#include "control/selection.h"

#include <algorithm>
#include <variant>

namespace flowtap::control {

namespace {

using lib::dtcp::CriteriaIds;
using lib::dtcp::Failure;
using lib::dtcp::IdTerm;

struct Candidates {
    std::vector<Tap*> taps;
    bool leaving = false;  ///< one that is named by itself is being removed, whether it is selected or not
};

std::expected<Candidates, Failure> by_ids(TapTable& taps, SourceIndex source, const CriteriaIds& ids) {
    Candidates candidates;
    auto& [found, leaving] = candidates;
    bool all_single = true;
    for (const IdTerm& term : ids.terms) {
        if (term.range) {
            all_single = false;
        } else if (!term.negated) {
            Tap* const tap = taps.find(source, term.first);
            if (tap == nullptr || !tap->exists()) {
                return std::unexpected{Failure{lib::dtcp::Code::unknown_criteria_id, ids.line,
                                               "a Criteria-ID that does not exist"}};
            }
            leaving = leaving || tap->state == TapState::deleting;
            found.push_back(tap);
        } else {
            all_single = false;
        }
    }
    if (all_single) {
        std::ranges::sort(found, {}, &Tap::id);
        const auto repeated = std::ranges::unique(found);
        found.erase(repeated.begin(), repeated.end());
        return candidates;
    }
    found.clear();
    for (const auto& [id, tap] : taps.of(source)) {
        if (ids.selects(id)) {
            found.push_back(tap);
        }
    }
    return candidates;
}

}  // namespace

std::expected<Selection, Failure> select_taps(TapTable& taps, SourceIndex source,
                                              const lib::dtcp::Selector& selector, bool including_static) {
    Selection selection;
    std::vector<Tap*> candidates;
    if (const auto* const cdest = std::get_if<lib::dtcp::CdestId>(&selector)) {
        candidates = taps.with_cdest(source, cdest->id);
    } else {
        auto found = by_ids(taps, source, std::get<CriteriaIds>(selector));
        if (!found) {
            return std::unexpected{std::move(found.error())};
        }
        candidates = std::move(found->taps);
        selection.busy = found->leaving;
    }
    for (Tap* const tap : candidates) {
        if (!tap->exists()) {
            continue;
        }
        // One that is being removed may be gone when its turn comes, and then is unknown, static or not.
        const bool passed_over = tap->plan.is_static && !including_static;
        selection.busy = selection.busy || tap->state == TapState::deleting || (!passed_over && tap->busy());
        if (passed_over) {
            continue;
        }
        selection.taps.push_back(tap);
    }
    return selection;
}

}  // namespace flowtap::control
