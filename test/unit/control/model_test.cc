// The service against its reference model: random requests, good and bad, of several sources, with deaths of
// either process in between, and no difference. FLOWTAP_MODEL_SEED and FLOWTAP_MODEL_STEPS choose another
// run.
#include "test/unit/control/model_run.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <string>

namespace flowtap::test {

namespace {

std::uint64_t chosen(const char* variable, std::uint64_t otherwise) {
    const char* const text = std::getenv(variable);
    return text == nullptr ? otherwise : std::stoull(text);
}

}  // namespace

TEST_CASE("the service differs from its reference model in nothing, whatever is asked and whoever dies") {
    const auto steps = chosen("FLOWTAP_MODEL_STEPS", 20'000);
    model::Run run{chosen("FLOWTAP_MODEL_SEED", 1)};
    REQUIRE_NOTHROW(run.go(steps));
    std::string seen;
    for (const auto& [what, times] : run.seen()) {
        seen += fmt::format("\n{}: {}", what, times);
    }
    INFO(seen);
    if (steps >= 100'000) {
        for (const auto* const what : {"code 200",
                                       "code 400",
                                       "code 430",
                                       "code 431",
                                       "code 432",
                                       "code 433",
                                       "code 500",
                                       "code 501",
                                       "code 505",
                                       "code 550",
                                       "code 551",
                                       "code 901",
                                       "silent",
                                       "single",
                                       "burst",
                                       "time",
                                       "packets",
                                       "dataplane bounced",
                                       "dataplane bounced in a burst",
                                       "resync in a burst",
                                       "away",
                                       "away too long",
                                       "refused",
                                       "control died",
                                       "both died",
                                       "clients gone",
                                       "session closed",
                                       "suspect",
                                       "too long",
                                       "ended by idle",
                                       "ended by total",
                                       "ended by packets",
                                       "ended by bytes",
                                       "ended by removed"}) {
            INFO(what);
            CHECK(run.seen().contains(what));
        }
    }
}

}  // namespace flowtap::test
