// Blocks of every size, whole, aligned, and given back.
#include "dataplane/large_pages.h"

#include <catch2/catch.hpp>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

namespace {

using flowtap::dataplane::LargePages;

/// Bytes of address space in use.
std::size_t mapped() {
    std::ifstream file("/proc/self/statm");
    std::size_t pages = 0;
    file >> pages;
    return pages * 4096;
}

TEST_CASE("every block is writable to its last byte and aligned as asked") {
    LargePages memory;
    for (const std::size_t bytes : {std::size_t{1}, LargePages::page - 1, LargePages::page,
                                    LargePages::page + 1, 7 * LargePages::page + 12'345}) {
        for (const std::size_t alignment : {std::size_t{16}, std::size_t{64}, std::size_t{4096}}) {
            void* const block = memory.allocate(bytes, alignment);
            CHECK(reinterpret_cast<std::uintptr_t>(block) % alignment == 0);
            if (bytes >= LargePages::page) {
                CHECK(reinterpret_cast<std::uintptr_t>(block) % LargePages::page == 0);
            }
            std::memset(block, 0xa5, bytes);
            memory.deallocate(block, bytes, alignment);
        }
    }
}

TEST_CASE("what is given back is unmapped") {
    LargePages memory;
    const std::size_t before = mapped();
    for (int round = 0; round < 100; ++round) {
        memory.deallocate(memory.allocate(20 * LargePages::page, 64), 20 * LargePages::page, 64);
    }
    CHECK(mapped() < before + 20 * LargePages::page);
}

}  // namespace
