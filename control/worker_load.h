// How busy the workers were over the last second or two, from cycles that only ever grow.
#pragma once

#include "lib/region.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::control {

/// Not thread-safe: one owner.
class WorkerLoad {
  public:
    /// About once a second.
    void sample(const lib::StatusView& status) {
        if (epoch_ != status.epoch()) {
            *this = {};
            epoch_ = status.epoch();
        }
        for (std::size_t worker = 0; worker < status.shape().worker_count; ++worker) {
            older_[worker] = newer_[worker];
            newer_[worker] = read(status, worker);
        }
    }

    /// 0..100; since the sample before the last one.
    double busy_percent(const lib::StatusView& status, std::size_t worker) const {
        const auto now = read(status, worker);
        const auto since = epoch_ == status.epoch() ? older_[worker] : Cycles{};
        const auto busy = static_cast<double>(now.busy - since.busy);
        const auto all = busy + static_cast<double>(now.idle - since.idle);
        return all > 0 ? 100 * busy / all : 0;
    }

  private:
    struct Cycles {
        std::uint64_t busy = 0;
        std::uint64_t idle = 0;
    };

    static Cycles read(const lib::StatusView& status, std::size_t worker) {
        const auto& counters = status.status().workers[worker];
        return {counters.busy_cycles.load(std::memory_order_relaxed),
                counters.idle_cycles.load(std::memory_order_relaxed)};
    }

    lib::Epoch epoch_{};
    std::array<Cycles, lib::max_workers> older_{};
    std::array<Cycles, lib::max_workers> newer_{};
};

}  // namespace flowtap::control
