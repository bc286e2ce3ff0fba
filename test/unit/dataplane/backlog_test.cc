#include "dataplane/backlog.h"

#include <catch2/catch.hpp>

namespace flowtap::test {
namespace {

int waiting_frames = 0;

int waiting(std::uint16_t port, std::uint16_t queue) {
    return port == 3 && queue == 1 ? waiting_frames : 0;
}

TEST_CASE("A worker is behind a queue of which more than half is full") {
    const dataplane::Backlog backlog(3, 1, 1024, waiting);
    for (const auto& [frames, behind] : {std::pair{0, false}, {512, false}, {513, true}, {1024, true}}) {
        waiting_frames = frames;
        CHECK(backlog.behind() == behind);
    }
    CHECK_FALSE(dataplane::Backlog(2, 1, 1024, waiting).behind());
}

TEST_CASE("A worker is not behind a queue that cannot say how full it is, nor behind none") {
    waiting_frames = -95;
    CHECK_FALSE(dataplane::Backlog(3, 1, 64, waiting).behind());
    CHECK_FALSE(dataplane::Backlog{}.behind());
}

}  // namespace
}  // namespace flowtap::test
