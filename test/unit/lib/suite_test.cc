#include "lib/suite.h"

#include <catch2/catch.hpp>

namespace flowtap::test {

TEST_CASE("of every suite the longest inner packet fits, and one byte more does not") {
    for (const auto& suite : lib::suites) {
        INFO(suite.name);
        for (std::size_t room = 0; room < 300; ++room) {
            const std::size_t largest = lib::largest_inner(suite, room);
            if (largest != 0) {
                CHECK(lib::esp_size(suite, largest) <= room);
            }
            CHECK(lib::esp_size(suite, largest + 1) > room);
        }
    }
}

}  // namespace flowtap::test
