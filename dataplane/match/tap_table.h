// The tap table: which taps does this frame belong to? All of them, exactly, and for almost every frame:
// none.
//
// Thread safety: one writer (the manager) calls everything that is not const; any number of readers (the
// workers) call classify, which takes no lock, makes no system call, allocates nothing and waits for nobody.
// A reader joins the Quiescence that the table was made with, and reports quiescent() between bursts, when it
// no longer uses the Matches of the last one.
//
// Invariants:
//  1. A batch is everything staged between two commits. A burst is classified against one commit: with all of
//  a
//     batch or with none of it. The switch is one store (the published generation); every tap carries the
//     generation that added it and the one that removed it, and the verifier compares them with the
//     generation that the burst began with.
//  2. The index may show a reader taps that do not match, are not yet added or already removed: candidates.
//  It never
//     hides one that is live in the reader's generation. The verifier decides every match in full.
//  3. What a reader may still be looking at is unlinked one grace period after its removal was committed, and
//  freed
//     one grace period after it was unlinked.
//  4. A staged call that fails has changed nothing; rollback() leaves what the last commit left.
//
// A payload is handed out from the commit of its add until live(period of the commit of its removal) is true;
// then nobody has it any more and its owner may free it. After rollback() the payloads of the batch's adds
// were never handed out.
#pragma once

#include "dataplane/match/headers.h"
#include "dataplane/match/quiescence.h"
#include "dataplane/match/simd.h"
#include "lib/criterion.h"
#include "lib/records.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <memory_resource>
#include <span>

namespace flowtap::dataplane::match {

/// Most taps that are reported for one frame.
inline constexpr std::size_t max_matches = 64;

/// Counts commits.
using Generation = std::uint64_t;

/// What the table's user wants back with a match: an index or a pointer; the table never looks at it.
enum class Payload : std::uint64_t {};

struct Match {
    Payload payload{};
    lib::TapSlot slot{};
};

/// The taps of one frame, in no particular order, each once.
struct alignas(64) FrameMatches {
    std::uint32_t count = 0;     ///< entries of taps in use
    std::uint32_t overflow = 0;  ///< matching taps beyond max_matches, left out
    std::array<Match, max_matches> taps;

    const Match* begin() const { return taps.data(); }
    const Match* end() const { return taps.data() + count; }
};

/// The taps of a burst. Large (about 70 KB): one a worker, kept.
struct Matches {
    std::uint64_t matched = 0;  ///< bit i: frame i matches at least one tap; frames[i] is valid only then
    Generation generation = 0;  ///< the commit that the burst was classified with
    std::array<FrameMatches, max_burst> frames;
};

/// What a fragment was when it came, for a look at it again when its first one is known.
struct EarlyFragment {
    Headers headers;            ///< as parsed
    Generation generation = 0;  ///< that it was classified with
    bool unmatched =
        false;  ///< whatever matched it then was not told: it is the box's own, by what was known
};

enum class StageError : std::uint8_t {
    slot_out_of_range,  ///< not under max_taps
    slot_in_use,        ///< add: a tap is there, and its removal is not staged
    unknown_slot,       ///< remove: no tap, or another one, is there
    bad_criterion,      ///< see CompiledCriterion::compile
    no_memory,
};

class TapTable {
  public:
    struct Options {
        std::uint32_t max_taps = 1'048'576;
        Simd simd = best_simd();
        /// Everything the table allocates comes from here, in the writer's thread; outlives the table.
        std::pmr::memory_resource* memory = std::pmr::new_delete_resource();
        /// Salts the index, so that nobody outside can choose addresses that collide in it.
        std::uint64_t seed = 0;
    };

    /// Throws std::bad_alloc, once, at start. `quiescence` outlives the table.
    TapTable(Quiescence& quiescence, const Options& options);
    ~TapTable();  ///< no reader may be left
    TapTable(const TapTable&) = delete;
    TapTable& operator=(const TapTable&) = delete;

    // Writer

    /// Adds a tap to the batch. The slot must be free, or its tap's removal staged or committed before.
    std::expected<void, StageError> stage_add(lib::TapSlot slot, lib::TapId id,
                                              const lib::Criterion& criterion, Payload payload);
    /// Removes the tap with this id from the slot, with the batch.
    std::expected<void, StageError> stage_remove(lib::TapSlot slot, lib::TapId id);
    /// Makes the batch visible: every burst that begins after this sees all of it. Cannot fail.
    Period commit() noexcept;
    /// The generation that the next commit publishes.
    Generation next_generation() const noexcept;
    /// Every reader classifies with that commit, and no payload removed by it is in use.
    bool live(Period commit) noexcept;
    /// Forgets the batch.
    void rollback() noexcept;
    /// Unlinks and frees what no reader can see any more, at most `budget` steps of work; call it now and
    /// then. True while something is left that waits for readers.
    bool reclaim(std::size_t budget = 1024) noexcept;

    struct Usage {
        std::uint32_t taps = 0;     ///< committed and not removed
        std::uint64_t keys = 0;     ///< entries in the index
        std::uint64_t bytes = 0;    ///< allocated now, what waits for readers included
        std::uint64_t waiting = 0;  ///< objects that wait for readers
        std::uint32_t asking = 0;   ///< taps, by direction, for which fragments are looked at a second time
    };
    Usage usage() const noexcept;

    // Readers

    /// For each frame of the burst that may be matched (HeaderBurst::ipv4, ipv6, frames): every tap that
    /// matches it. Taps of whole frames are found as the others are: the frame's verdict says nothing to
    /// them.
    void classify(const HeaderBurst& burst, Matches& matches) const noexcept;

    /// Which of these fragments (bits of HeaderBurst::fragments) have to be matched with what the first one
    /// of their datagram says: later ones that classify would not find every tap for, and first ones of
    /// datagrams whose later ones may be such. None, without a look at them, while no tap asks for it.
    std::uint64_t first_fragment_decides(const HeaderBurst& burst) const noexcept;

    /// Of later fragments, one a frame of `burst`, whose headers are completed (fragment_table.h): the taps
    /// that match them now, were live when they came, and did not match them then.
    void classify_rest(const HeaderBurst& burst, std::span<const EarlyFragment> early,
                       Matches& matches) const noexcept;

    Simd simd() const noexcept;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace flowtap::dataplane::match
