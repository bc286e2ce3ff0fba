// When may the manager free what workers may still be reading? DPDK's rte_rcu_qsbr answers; this class owns
// the variable's memory and gives its calls types. One serves all that a worker reads: taps, routes, SAs.
//
// Thread safety: every reader uses its own id; next_period and passed are the writer's alone. Needs no EAL.
//
// Use: the writer unpublishes an object, then takes period = next_period(); the object may be freed once
// passed(period): every online reader has called quiescent() since, and holds nothing older.
#pragma once

#include <cstdint>
#include <memory>

struct rte_rcu_qsbr;

namespace flowtap::dataplane::match {

/// A moment in the writer's time.
enum class Period : std::uint64_t {};

class Quiescence {
  public:
    /// Throws std::bad_alloc. Readers are 0..max_readers-1.
    explicit Quiescence(std::uint32_t max_readers);
    ~Quiescence();
    Quiescence(const Quiescence&) = delete;
    Quiescence& operator=(const Quiescence&) = delete;

    /// From now on the writer waits for this reader. False: the id is beyond max_readers.
    bool join(std::uint32_t reader) noexcept;
    /// The reader holds nothing and reads nothing until it joins again.
    void leave(std::uint32_t reader) noexcept;
    /// The reader holds nothing at this moment: between bursts, at least once a poll. No locked instruction.
    void quiescent(std::uint32_t reader) noexcept;

    Period next_period() noexcept;
    /// Never waits.
    bool passed(Period period) noexcept;

  private:
    struct Free {
        void operator()(rte_rcu_qsbr* memory) const noexcept;
    };
    std::unique_ptr<rte_rcu_qsbr, Free> variable_;
    std::uint32_t max_readers_;
};

}  // namespace flowtap::dataplane::match
