// Packets in a folder of files: each in one of them, in order, and no file that is not complete under its own
// name.
#include "tools/receive/rotating_files.h"

#include "test/unit/lib/temporary_folder.h"

#include <catch2/catch.hpp>
#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace {

namespace fs = std::filesystem;
using flowtap::test::TemporaryFolder;
using flowtap::tools::receive::RotatingFiles;
using flowtap::tools::receive::Rotation;
using Time = RotatingFiles::Clock::time_point;

constexpr std::size_t packet_size = 100;
constexpr std::uint64_t on_disk = packet_size + 16;

std::vector<fs::path> files(const fs::path& folder, const std::string& ending) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().string().ends_with(ending)) {
            found.push_back(entry.path());
        }
    }
    std::ranges::sort(found);
    return found;
}

std::vector<std::uint8_t> packet(std::uint32_t number) {
    std::vector<std::uint8_t> bytes(packet_size);
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
    }
    return bytes;
}

/// The numbers of the packets in a pcap file.
std::vector<std::uint32_t> numbers(const fs::path& file) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    pcap_t* const handle = pcap_open_offline(file.c_str(), error.data());
    INFO(error.data());
    REQUIRE(handle != nullptr);
    std::vector<std::uint32_t> found;
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    int result = 0;
    while ((result = pcap_next_ex(handle, &header, &data)) == 1) {
        CHECK(header->len == packet_size);
        found.push_back(static_cast<std::uint32_t>(data[0] | data[1] << 8 | data[2] << 16));
    }
    CHECK(result == PCAP_ERROR_BREAK);  // the end, not a damaged file
    pcap_close(handle);
    return found;
}

struct Writer {
    RotatingFiles files;
    Time now{};
    std::uint32_t next = 0;

    void write(std::uint32_t count) {
        for (const std::uint32_t end = next + count; next < end; ++next) {
            REQUIRE(files.write(packet(next), {1, 2}, now));
        }
    }
};

TEST_CASE("files are as long as they may be, and hold every packet once, in order") {
    const TemporaryFolder folder;
    const std::uint64_t most = 24 + 3 * on_disk;
    Writer writer{RotatingFiles({.folder = folder.path(), .bytes = most, .age = {}, .keep = {}})};
    writer.write(10);
    CHECK(files(folder.path(), ".pcap").size() == 3);
    CHECK(files(folder.path(), ".partial").size() == 1);
    REQUIRE(writer.files.close());
    CHECK(files(folder.path(), ".partial").empty());
    std::vector<std::uint32_t> all;
    for (const fs::path& file : files(folder.path(), ".pcap")) {
        CHECK(fs::file_size(file) <= most);
        const auto some = numbers(file);
        CHECK_FALSE(some.empty());
        all.insert(all.end(), some.begin(), some.end());
    }
    REQUIRE(all.size() == 10);
    for (std::uint32_t i = 0; i < all.size(); ++i) {
        CHECK(all[i] == i);
    }
    CHECK(writer.files.completed() == 4);
}

TEST_CASE("a file is complete at its age, whether packets come or not") {
    const TemporaryFolder folder;
    using std::chrono::seconds;
    Writer writer{RotatingFiles({.folder = folder.path(), .bytes = {}, .age = seconds(10), .keep = {}})};
    REQUIRE(writer.files.tend(writer.now));
    CHECK(files(folder.path(), "").empty());  // none without a packet
    writer.write(1);
    writer.now += seconds(9);
    writer.write(1);
    REQUIRE(writer.files.tend(writer.now));
    CHECK(files(folder.path(), ".pcap").empty());
    writer.now += seconds(1);
    REQUIRE(writer.files.tend(writer.now));
    CHECK(files(folder.path(), ".pcap").size() == 1);
    CHECK(files(folder.path(), ".partial").empty());
    writer.write(1);
    writer.now += seconds(10);
    writer.write(1);
    CHECK(files(folder.path(), ".pcap").size() == 2);
    REQUIRE(writer.files.close());
    const auto all = files(folder.path(), ".pcap");
    REQUIRE(all.size() == 3);
    CHECK(numbers(all[0]) == std::vector<std::uint32_t>{0, 1});
    CHECK(numbers(all[1]) == std::vector<std::uint32_t>{2});
    CHECK(numbers(all[2]) == std::vector<std::uint32_t>{3});
}

TEST_CASE("the oldest files go, and nothing that is not ours") {
    const TemporaryFolder folder;
    std::ofstream(folder.path() / "flowtap-notes.txt") << "mine";
    std::ofstream(folder.path() / "other.pcap") << "mine";
    Writer writer{RotatingFiles({.folder = folder.path(), .bytes = 24 + on_disk, .age = {}, .keep = 2})};
    writer.write(5);
    REQUIRE(writer.files.close());
    const auto all = files(folder.path(), ".pcap");
    REQUIRE(all.size() == 3);
    CHECK(numbers(all[0]) == std::vector<std::uint32_t>{3});
    CHECK(numbers(all[1]) == std::vector<std::uint32_t>{4});
    CHECK(all[2].filename() == "other.pcap");
    CHECK(fs::exists(folder.path() / "flowtap-notes.txt"));
}

TEST_CASE("a second run, or a second receiver, overwrites nothing") {
    const TemporaryFolder folder;
    const Rotation rotation{.folder = folder.path(), .bytes = {}, .age = {}, .keep = {}};
    Writer first{RotatingFiles(rotation)};
    Writer second{RotatingFiles(rotation)};
    first.write(1);
    second.write(2);
    REQUIRE(second.files.close());
    REQUIRE(first.files.close());
    Writer third{RotatingFiles(rotation)};
    third.write(3);
    REQUIRE(third.files.close());
    std::vector<std::size_t> sizes;
    for (const fs::path& file : files(folder.path(), ".pcap")) {
        sizes.push_back(numbers(file).size());
    }
    std::ranges::sort(sizes);
    CHECK(sizes == std::vector<std::size_t>{1, 2, 3});
}

TEST_CASE("whatever the umask is, nobody but the owner may read a file, be it complete or not") {
    const TemporaryFolder folder;
    const mode_t before = ::umask(0);
    Writer writer{RotatingFiles({.folder = folder.path(), .bytes = 24 + on_disk, .age = {}, .keep = {}})};
    writer.write(2);
    ::umask(before);
    const auto all = files(folder.path(), "");
    REQUIRE(all.size() == 2);
    for (const fs::path& file : all) {
        CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
    }
}

TEST_CASE("a folder that cannot be written to is an error that names it") {
    Writer writer{RotatingFiles({.folder = "/nowhere/at/all", .bytes = {}, .age = {}, .keep = {}})};
    const auto written = writer.files.write(packet(1), {}, writer.now);
    REQUIRE_FALSE(written);
    CHECK(written.error().find("/nowhere/at/all") != std::string::npos);
}

}  // namespace
