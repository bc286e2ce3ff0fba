// What the tap table's payload stands for: what becomes of the frames that a tap matches, where their copies
// go, resolved when the tap was installed, and on what terms.
#pragma once

#include "dataplane/copy_numbers.h"
#include "dataplane/direction.h"
#include "dataplane/encapsulation.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/own_flows.h"
#include "dataplane/tap_usage.h"
#include "lib/config.h"
#include "lib/records.h"
#include "lib/status.h"

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace flowtap::dataplane {

enum class RouteKind : std::uint8_t {
    none,    ///< no delivery route: the copy is dropped and counted
    clear,   ///< the operator wrote clear = true
    tunnel,  ///< sealed, or dropped where the tunnel has no SA
};

struct CopyTarget {
    Encapsulation encapsulation;
    RouteKind route = RouteKind::none;
    bool variable_shim = false;                  ///< each copy's shim says something else
    bool limited = false;                        ///< its account has a rate-limit
    std::uint16_t account = lib::other_account;  ///< as of lib::TapDestination
    std::uint16_t tunnel = 0;                    ///< index in the configuration
    CopyNumbers* numbers = nullptr;              ///< null: its shim has none; TapCopies' own
};

/// How long a tap copies and what it leaves out, from one commit on. Constant once a worker can see it.
struct TapTerms {
    lib::TapService service;
    match::Generation since = 0;         ///< the commit that brought it; earlier bursts go by `previous`
    const TapTerms* previous = nullptr;  ///< null: without limits and drop policies
    TapUsage* usage = nullptr;           ///< null: no limits, and never had any
    TapUsage::Term term = 0;

    bool over() const { return usage != nullptr && usage->over(service, term); }
};

/// Whether the worker copies a packet of so many bytes; `counted` is what it has counted of the tap, this
/// packet not included.
inline Admission admit(const TapTerms& terms, std::uint16_t worker, const lib::TapCounters& counted,
                       std::uint32_t bytes) {
    if (terms.usage == nullptr) {
        return Admission::admitted;
    }
    if (!terms.usage->has_contribution(worker)) {
        terms.usage->contribute(worker,
                                counted[lib::TapCounter::matched_packets].load(std::memory_order_relaxed),
                                counted[lib::TapCounter::matched_bytes].load(std::memory_order_relaxed));
    }
    return terms.usage->admit(terms.service, terms.term, bytes);
}

/// The terms of a burst that was classified with this generation.
inline const TapTerms* terms_of(const TapTerms* newest, match::Generation generation) {
    while (newest != nullptr && newest->since > generation) {
        newest = newest->previous;
    }
    return newest;
}

/// Owned by the manager, which frees it when no worker can see the tap any more; constant meanwhile, but for
/// `terms`.
struct TapCopies {
    std::vector<CopyTarget> targets;  ///< none of a tap that blocks
    std::atomic<const TapTerms*> terms =
        nullptr;  ///< null: without limits and drop policies; the manager writes
    std::unique_ptr<const DirectionRule> direction;  ///< null: no shim says it
    bool layer2 = false;                             ///< copies are whole frames
    lib::TapAction action = lib::TapAction::copy;
    lib::TapId id{};
    std::vector<FlowKey> flows;  ///< of the encapsulations, for OwnFlows

    std::vector<std::unique_ptr<CopyNumbers>> numbers;  ///< of those targets that have any

    // The manager's alone.
    std::unique_ptr<const TapTerms> owned_terms;  ///< what `terms` points to
    std::unique_ptr<TapTerms> staged_terms;       ///< of a batch
    std::unique_ptr<TapUsage> usage;              ///< once the tap has a limit
};

/// A new target of the tap. `first_number`: of its copies, where its shim has one.
void add_target(TapCopies& copies, const lib::TapDestination& destination, const lib::Criterion& criterion,
                std::span<const lib::RouteConfig> routes, std::uint64_t first_number);

/// The longest prefix that holds the address decides.
CopyTarget resolve(const lib::TapDestination& destination, std::span<const lib::RouteConfig> routes);

FlowKey flow_of(const lib::TapDestination& destination);

/// Bits of a payload that its pointer leaves free: so that a frame's matches say without a look at the taps
/// whether one of them stops it.
namespace mark {
inline constexpr std::uint64_t stops = 1;    ///< the tap's action is not Copy
inline constexpr std::uint64_t decided = 2;  ///< of one match: the tap takes the frame, and has counted it
inline constexpr std::uint64_t all = stops | decided;
}  // namespace mark
static_assert(alignof(TapCopies) > mark::all);

inline match::Payload payload_of(const TapCopies& copies) {
    return match::Payload{std::bit_cast<std::uint64_t>(&copies) |
                          (copies.action == lib::TapAction::copy ? 0 : mark::stops)};
}
inline const TapCopies& copies_of(match::Payload payload) {
    return *std::bit_cast<const TapCopies*>(static_cast<std::uint64_t>(payload) & ~mark::all);
}
inline bool stops(match::Payload payload) {
    return (static_cast<std::uint64_t>(payload) & mark::stops) != 0;
}
inline bool is_decided(match::Payload payload) {
    return (static_cast<std::uint64_t>(payload) & mark::decided) != 0;
}
inline match::Payload decided(match::Payload payload) {
    return match::Payload{static_cast<std::uint64_t>(payload) | mark::decided};
}

}  // namespace flowtap::dataplane
