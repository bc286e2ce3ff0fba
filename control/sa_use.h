// How much of its lifetimes a security association has used up. Pure functions.
#pragma once

#include "lib/sa_lifetime.h"

#include <cstdint>
#include <optional>

namespace flowtap::control {

enum class LifeStage : std::uint8_t {
    fresh,
    soft,  ///< another one is to take over
    over,  ///< it must not be used any more
};

struct LifeVerdict {
    LifeStage stage = LifeStage::fresh;
    std::optional<lib::LifeUnit> unit;  ///< by which it is so
};

inline LifeVerdict judge(const lib::SaLifetimes& lifetimes, const lib::LifeSpan& used) {
    LifeVerdict verdict;
    for (std::size_t i = 0; i < used.values.size(); ++i) {
        const auto stage = used.values[i] >= lifetimes.hard.values[i]   ? LifeStage::over
                           : used.values[i] >= lifetimes.soft.values[i] ? LifeStage::soft
                                                                        : LifeStage::fresh;
        if (stage > verdict.stage) {
            verdict = {stage, static_cast<lib::LifeUnit>(i)};
        }
    }
    return verdict;
}

}  // namespace flowtap::control
