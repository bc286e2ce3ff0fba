// The memory between control and dataplane: who can write it, and that nobody can be hurt by reading it.
#include "lib/region.h"

#include "lib/records.h"
#include "test/unit/lib/child.h"
#include "test/unit/lib/layout.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace {

using namespace std::string_literals;
using flowtap::lib::CommandRegion;
using flowtap::lib::CommandView;
using flowtap::lib::Epoch;
using flowtap::lib::FileDescriptor;
using flowtap::lib::Mapping;
using flowtap::lib::RegionShape;
using flowtap::lib::StatusRegion;
using flowtap::lib::StatusView;
using flowtap::lib::TapCounter;
using flowtap::lib::WorkerCounter;
using flowtap::test::run_in_child;

constexpr std::size_t page = 4096;
constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

FileDescriptor duplicate(int descriptor) {
    return FileDescriptor(::dup(descriptor));
}

/// A memfd as a careless or hostile peer might make one.
FileDescriptor make_memfd(std::size_t size, int seals, bool allocate = true, unsigned flags = 0) {
    FileDescriptor memfd(::memfd_create("region-test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
    REQUIRE(::ftruncate(memfd.get(), static_cast<off_t>(size)) == 0);
    if (allocate) {
        REQUIRE(::fallocate(memfd.get(), 0, 0, static_cast<off_t>(size)) == 0);
    }
    REQUIRE(::fcntl(memfd.get(), F_ADD_SEALS, seals) == 0);
    return memfd;
}

/// The flags of the mapping that holds the address ("rd mr sh dd"), from /proc/self/smaps.
std::string mapping_flags(const void* address) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream smaps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(smaps, line);) {
        unsigned long first = 0;
        unsigned long last = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {
            inside = first <= wanted && wanted < last;
        } else if (inside && line.starts_with("VmFlags:")) {
            return line;
        }
    }
    return {};
}

}  // namespace

TEST_CASE("region: the layout is the one of its version", "[region]") {
    // Other text here: the layout has changed, so raise layout_version in lib/records.h and put its digest
    // here.
    INFO(flowtap::test::layout_text());
    CHECK(fmt::format("{} {}", flowtap::lib::layout_version, flowtap::test::layout_digest()) ==
          "6 807146b14397f3ae");
}

TEST_CASE("region: where things are follows from the shape alone", "[region]") {
    using flowtap::lib::status_region_size;
    using flowtap::lib::tap_counters_offset;
    STATIC_REQUIRE(tap_counters_offset % 64 == 0);
    STATIC_REQUIRE(tap_counters_offset >= sizeof(flowtap::lib::StatusBlock));
    STATIC_REQUIRE(flowtap::lib::command_region_size >= sizeof(flowtap::lib::CommandBlock));
    const RegionShape shape{.max_taps = GENERATE(1U, 7U, 4096U), .worker_count = GENERATE(1U, 3U, 64U)};
    const std::size_t size = status_region_size(shape);
    CHECK(size % page == 0);
    const std::size_t slots = std::size_t{shape.max_taps} * shape.worker_count;
    CHECK(flowtap::lib::tap_losses_offset(shape) == tap_counters_offset + slots * 64);
    const std::size_t end = tap_counters_offset + slots * (64 + sizeof(flowtap::lib::CopyLosses));
    CHECK(size >= end);
    CHECK(size - page < end);
}

TEST_CASE("region: each worker's counters are its own, and all are in the region", "[region]") {
    const RegionShape shape{.max_taps = 5, .worker_count = 3};
    auto region = StatusRegion::create(shape, Epoch{1}).value();
    const auto view = StatusView::receive(duplicate(region.descriptor()), shape).value();
    for (std::uint32_t worker = 0; worker < 3; ++worker) {
        REQUIRE(region.taps(worker).size() == 5);
        for (std::uint32_t slot = 0; slot < 5; ++slot) {
            region.taps(worker)[slot][TapCounter::copies_dropped] = 10 * worker + slot;
            region.losses(worker)[slot][WorkerCounter::copy_no_sa] = 100 + 10 * worker + slot;
        }
    }
    region.status().workers[2].heartbeat = 77;
    for (std::uint32_t worker = 0; worker < 3; ++worker) {
        for (std::uint32_t slot = 0; slot < 5; ++slot) {
            CHECK(view.taps(worker)[slot][TapCounter::copies_dropped] == 10 * worker + slot);
            CHECK(view.losses(worker)[slot][WorkerCounter::copy_no_sa] == 100 + 10 * worker + slot);
        }
    }
    CHECK(view.status().workers[2].heartbeat == 77);
    const auto* end = reinterpret_cast<const std::byte*>(&view.losses(2)[4] + 1);
    CHECK(end <= reinterpret_cast<const std::byte*>(&view.block()) + status_region_size(shape));
}

TEST_CASE("region: a write through the receiver's mapping is a SIGSEGV", "[region]") {
    auto command = CommandRegion::create(Epoch{1}).value();
    const auto command_view = CommandView::receive(duplicate(command.descriptor())).value();
    const RegionShape shape{.max_taps = 1, .worker_count = 1};
    auto status = StatusRegion::create(shape, Epoch{1}).value();
    const auto status_view = StatusView::receive(duplicate(status.descriptor()), shape).value();

    CHECK(run_in_child([&] {
              const_cast<flowtap::lib::CommandBlock&>(command_view.block()).commands.produced.value = 1;
          }).signal == SIGSEGV);
    CHECK(run_in_child([&] {
              const_cast<flowtap::lib::StatusBlock&>(status_view.block()).status.manager.taps = 1;
          }).signal == SIGSEGV);
    // And the owner can write, so that it is the mapping that makes the difference.
    CHECK(run_in_child([&] {
              command.block().commands.produced.value = 1;
              status.status().manager.taps = 1;
          }).signal == 0);
}

TEST_CASE("region: nobody can make a received region writable, change its size or punch holes in it",
          "[region]") {
    auto region = CommandRegion::create(Epoch{1}).value();
    const FileDescriptor received = duplicate(region.descriptor());
    const std::size_t size = flowtap::lib::command_region_size;

    CHECK(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, received.get(), 0) == MAP_FAILED);
    CHECK(errno == EPERM);

    void* read_only = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, received.get(), 0);
    REQUIRE(read_only != MAP_FAILED);
    CHECK(::mprotect(read_only, size, PROT_READ | PROT_WRITE) == -1);
    CHECK(errno == EACCES);
    ::munmap(read_only, size);

    CHECK(::pwrite(received.get(), "x", 1, 0) == -1);
    CHECK(errno == EPERM);
    CHECK(::ftruncate(received.get(), 0) == -1);
    CHECK(errno == EPERM);
    CHECK(::ftruncate(received.get(), static_cast<off_t>(2 * size)) == -1);
    CHECK(errno == EPERM);
    CHECK(::fallocate(received.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page) == -1);
    CHECK(errno == EPERM);
    CHECK(::fcntl(received.get(), F_ADD_SEALS, F_SEAL_WRITE) == -1);

    // Opening it anew gives no more.
    const FileDescriptor again(
        ::open(fmt::format("/proc/self/fd/{}", received.get()).c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(again);
    CHECK(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0) == MAP_FAILED);
    CHECK(::pwrite(again.get(), "x", 1, 0) == -1);
}

TEST_CASE("region: what is not a sealed memfd of the exact size, all allocated, is refused", "[region]") {
    REQUIRE(Mapping::receive(make_memfd(page, all_seals), page).has_value());

    CHECK_THAT(Mapping::receive(make_memfd(2 * page, all_seals), page).error(),
               Catch::Contains("8192 bytes: 4096 are needed"));
    CHECK_THAT(Mapping::receive(make_memfd(page, all_seals), 2 * page).error(),
               Catch::Contains("4096 bytes: 8192 are needed"));
    for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
        CHECK_THAT(Mapping::receive(make_memfd(page, all_seals & ~missing), page).error(),
                   Catch::Contains("seals"));
    }
    CHECK_THAT(Mapping::receive(make_memfd(2 * page, all_seals, false), 2 * page).error(),
               Catch::Contains("allocated"));

    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    const FileDescriptor writer(pipe[1]);
    CHECK_THAT(Mapping::receive(FileDescriptor(pipe[0]), page).error(), Catch::Contains("not a memfd"));
    CHECK_THAT(Mapping::receive(FileDescriptor(::open("/etc/passwd", O_RDONLY | O_CLOEXEC)), page).error(),
               Catch::Contains("not a memfd"));
    CHECK_FALSE(Mapping::receive(FileDescriptor(), page).has_value());

    // A huge page that cannot be had would kill the reader: such a region never gets that far.
    constexpr std::size_t huge = 2 * 1024 * 1024;
    CHECK_THAT(Mapping::receive(make_memfd(huge, all_seals, false, MFD_HUGETLB), huge).error(),
               Catch::Contains("ordinary pages"));
}

TEST_CASE("region: a header of another layout, shape or kind is refused", "[region]") {
    const RegionShape shape{.max_taps = 16, .worker_count = 2};
    auto status = StatusRegion::create(shape, Epoch{3}).value();
    auto& header = status.block().header;
    const auto original = header;

    SECTION("the right one is accepted") {
        CHECK(StatusView::receive(duplicate(status.descriptor()), shape)->epoch() == Epoch{3});
    }
    SECTION("layout version") {
        header.layout_version = flowtap::lib::layout_version + 1;
    }
    SECTION("magic") {
        header.magic = flowtap::lib::command_magic;
    }
    SECTION("taps") {
        header.max_taps = 17;
    }
    SECTION("workers") {
        header.worker_count = 1;
    }
    SECTION("size") {
        header.size = 1;
    }
    if (header != original) {
        CHECK_THAT(StatusView::receive(duplicate(status.descriptor()), shape).error(),
                   Catch::Contains("the status region") && Catch::Contains("header"));
    }
}

TEST_CASE("region: no core dump holds it, and the one with the keys is not swapped", "[region][as-shipped]") {
    auto command = CommandRegion::create(Epoch{1}).value();
    const auto view = CommandView::receive(duplicate(command.descriptor())).value();
    CHECK_THAT(mapping_flags(&command.block()), Catch::Contains(" dd") && Catch::Contains(" lo"));
    CHECK_THAT(mapping_flags(&view.block()), Catch::Contains(" dd"));
}

TEST_CASE("region: it can be moved, and is unmapped and closed once", "[region]") {
    const RegionShape shape{.max_taps = 4, .worker_count = 1};
    auto region = StatusRegion::create(shape, Epoch{1}).value();
    const int descriptor = region.descriptor();
    {
        StatusRegion moved = std::move(region);
        moved.status().manager.taps = 5;
        CHECK(moved.descriptor() == descriptor);
        region = std::move(moved);
    }
    CHECK(region.status().manager.taps == 5);
    CHECK(::fcntl(descriptor, F_GETFD) >= 0);
    const void* address = &region.block();
    {
        const StatusRegion last = std::move(region);
    }
    CHECK(::fcntl(descriptor, F_GETFD) == -1);
    CHECK(mapping_flags(address).empty());
}

TEST_CASE("region: restarted rings are empty, keys and all; counters stay", "[region]") {
    auto command = CommandRegion::create(Epoch{1}).value();
    auto status = StatusRegion::create({.max_taps = 1, .worker_count = 1}, Epoch{1}).value();
    status.status().manager.taps = 3;
    std::memset(static_cast<void*>(&command.block().commands), 0x55, sizeof(command.block().commands));
    command.block().completions_consumed.value = 5;
    status.block().completions.produced.value = 6;
    status.block().commands_consumed.value = 7;
    command.restart_rings();
    status.restart_rings();
    CHECK(command.block().commands.produced.value == 0);
    CHECK(command.block().completions_consumed.value == 0);
    CHECK(status.block().completions.produced.value == 0);
    CHECK(status.block().commands_consumed.value == 0);
    CHECK(status.status().manager.taps == 3);
    std::size_t left = 0;
    for (const auto& slot : command.block().commands.slots) {
        for (const std::byte byte : slot.bytes) {
            left += byte != std::byte{} ? 1U : 0U;
        }
    }
    CHECK(left == 0);
}

TEST_CASE("region: epochs grow", "[region]") {
    const Epoch first = flowtap::lib::new_epoch();
    CHECK(first > Epoch{});
    CHECK(flowtap::lib::new_epoch() > first);
}

TEST_CASE("region: more workers than there can be are refused", "[region]") {
    CHECK_THAT(StatusRegion::create({.max_taps = 1, .worker_count = 65}, Epoch{1}).error(),
               Catch::Contains("65 workers: at most 64"));
}
