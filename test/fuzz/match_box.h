// A tap table of every variant that the machine has, and the plain list of what they should hold. Whoever
// uses it changes them together and passes bursts; what differs from the reference, which shares no code with
// them, or between two variants, ends the program.
#pragma once

#include "dataplane/match/fragment_table.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/quiescence.h"
#include "dataplane/match/tap_table.h"
#include "lib/criterion.h"
#include "test/support/packets.h"
#include "test/support/reference_match.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace flowtap::fuzz {

class MatchBox {
  public:
    static constexpr std::uint32_t most_taps = 160;
    static constexpr std::size_t most_frames = 32;

    MatchBox();
    MatchBox(const MatchBox&) = delete;
    MatchBox& operator=(const MatchBox&) = delete;
    ~MatchBox();

    /// The slot may be in use: then the tables have to refuse.
    void add(std::size_t slot, const lib::Criterion& criterion);
    /// The slot may be free: likewise.
    void remove(std::size_t slot);
    bool is_free(std::size_t slot) const { return staged_[slot] == nullptr; }
    void commit();
    void rollback();
    /// One step of work; the reader may still hold what it waits for.
    void reclaim(std::size_t budget);
    void quiescent() { quiescence_.quiescent(0); }

    void add_frame(test::Bytes bytes);
    std::size_t frames() const { return frames_.size(); }
    /// What a criterion for the frame needs; none: it is no packet.
    const std::optional<test::PacketFacts>& facts(std::size_t frame) const { return frames_[frame].facts; }
    std::uint16_t vlan(std::size_t frame) const { return frames_[frame].vlan; }

    /// Frames first .. first + count, of those that there are, come in at a port: each finds every tap that
    /// matches it, once, and beyond max_matches they are counted exactly.
    void burst(std::size_t first, std::size_t count, std::uint16_t port);
    /// The later fragments of the last burst, their first ones known by now: they find the taps that were
    /// live then and are, and match only with what the first one says. Each that has some should have been
    /// kept.
    void complete(const dataplane::match::UpperFacts& upper);

    /// Removes all taps: without taps and readers all is given back.
    void clear();

  private:
    using Payload = dataplane::match::Payload;

    struct TestFrame {
        test::Bytes bytes;
        std::optional<test::PacketFacts> facts;
        std::uint16_t vlan = 0;
    };
    /// What the reference says of a tap and a frame is asked once, since neither changes.
    struct Tap {
        lib::TapId id{};
        lib::Criterion criterion;
        std::array<std::uint32_t, 2> asked{};  ///< by port; bit: a frame
        std::array<std::uint32_t, 2> matching{};
    };
    using Taps = std::array<std::shared_ptr<Tap>, most_taps>;  // by slot
    /// Of all tables: what they have taken and not given back.
    class CountedMemory : public std::pmr::memory_resource {
      public:
        std::size_t taken() const { return taken_; }

      private:
        void* do_allocate(std::size_t bytes, std::size_t alignment) override {
            taken_ += bytes;
            return std::pmr::new_delete_resource()->allocate(bytes, alignment);
        }
        void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
            taken_ -= bytes;
            std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
        }
        bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
            return this == &other;
        }

        std::size_t taken_ = 0;
    };
    /// Too large to be made for each input.
    struct Scratch {
        dataplane::match::HeaderBurst burst;
        dataplane::match::Matches matches;
        std::array<dataplane::match::EarlyFragment, dataplane::match::max_burst> early;
    };

    template <typename Function>
    auto each(Function function);
    bool matches(Tap& tap, std::size_t frame) const;
    void keep_later_fragments();
    std::vector<Payload> found_by_first_fragment(std::size_t place,
                                                 const dataplane::match::UpperFacts& upper);
    void check(std::size_t place, const std::vector<Payload>& wanted);
    [[noreturn]] void tell(std::size_t variant, std::size_t place, const std::vector<Payload>& wanted,
                           const std::vector<Payload>& found, std::size_t overflow) const;
    static Scratch& scratch_of(std::size_t variant);

    CountedMemory memory_;
    dataplane::match::Quiescence quiescence_{1};
    std::vector<std::unique_ptr<dataplane::match::TapTable>> tables_;  // by variant
    std::uint64_t last_id_ = 0;
    Taps staged_;
    Taps live_;
    std::vector<TestFrame> frames_;
    // The last burst: where it came in, its first frame, the taps then, its later fragments, and which of its
    // frames the tables would keep.
    std::uint16_t port_ = 0;
    std::size_t first_ = 0;
    Taps then_;
    std::uint64_t later_ = 0;
    std::uint64_t decided_ = 0;
};

}  // namespace flowtap::fuzz
