#include "lib/sa_file.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace {

using flowtap::lib::load_sa_file;
using flowtap::lib::parse_sa_file;
using flowtap::lib::Spi;
using flowtap::lib::Suite;

const std::string good_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fA0A1A2A3";

/// The errors of a text, one a line; "" when it is accepted.
std::string errors_of(std::string_view content) {
    const auto sa = parse_sa_file(content, "f");
    std::string all;
    if (!sa) {
        for (const auto& error : sa.error()) {
            all += fmt::format("{}:{}:{}: {}\n", error.file, error.line, error.column, error.message);
        }
    }
    return all;
}

TEST_CASE("a static SA is read from its file's text") {
    for (const auto& spi : {"0x1001", "4097", "0b1_0000_0000_0001"}) {
        const auto sa = parse_sa_file(
            fmt::format("# a comment\n  spi={}\nsuite = 'aes-256-gcm-16'\r\n\tkey =  \"{}\" # key\n", spi,
                        good_key),
            "f");
        REQUIRE(sa.has_value());
        CHECK(sa->spi == Spi{4097});
        CHECK(sa->suite == Suite::aes_256_gcm_16);
        REQUIRE(sa->key.size() == 36);
        for (unsigned i = 0; i < 36; ++i) {
            CHECK(sa->key.bytes()[i] == (i < 32 ? i : 0xa0 + i - 32));
        }
    }
    CHECK(errors_of(fmt::format("key = '{}'\nspi = 256\nsuite = \"aes-256-gcm-16\"", good_key)) == "");
}

TEST_CASE("every error of a file is reported, with its place and what would be right") {
    const std::string rest = fmt::format("suite = \"aes-256-gcm-16\"\nkey = \"{}\"\n", good_key);
    const std::string numbers = "spi has to be an integer from 256 to 4294967295\n";
    CHECK(errors_of("spi = 255\n" + rest) == "f:1:7: spi is 255; " + numbers);
    CHECK(errors_of("spi = 4294967296\n" + rest) == "f:1:7: spi is 4294967296; " + numbers);
    CHECK(errors_of("spi = -1\n" + rest) == "f:1:7: spi is -1; " + numbers);
    CHECK(errors_of("spi = 256.0\n" + rest) == "f:1:7: " + numbers);
    CHECK(errors_of("spi = \"256\"\n" + rest) == "f:1:7: " + numbers);
    CHECK(errors_of("spi = 256\nSPI = 3\n" + rest) ==
          "f:2:1: \"SPI\" is unknown here; spi, suite and key are known\n");
    CHECK(errors_of("spi = 1\nsuite = \"des\"\nkey = \"00\"\n") ==
          "f:1:7: spi is 1; " + numbers + "f:2:9: suite has to be one of \"aes-256-gcm-16\"\n");
    CHECK(errors_of("") ==
          "f:0:0: no spi; spi has to be an integer from 256 to 4294967295\n"
          "f:0:0: no suite; suite has to be one of \"aes-256-gcm-16\"\n"
          "f:0:0: no key; it has to be key = \"HEX DIGITS\" on a line of its own\n");
    CHECK_THAT(errors_of("spi = \n" + rest), Catch::StartsWith("f:1:7: "));
    // toml++ 3.3 runs into undefined behaviour on this character where it expects white space.
    CHECK(errors_of("spi = \xd0\x8c 256\n" + rest) ==
          "f:1:7: a character beyond ASCII; this file, comments too, has to be plain ASCII\n");
    CHECK(errors_of("spi = 256 # \xc3\xbc\n" + rest) ==
          "f:1:13: a character beyond ASCII; this file, comments too, has to be plain ASCII\n");
    CHECK(errors_of("spi = 256\n#\xff\n" + rest) ==
          "f:2:2: a character beyond ASCII; this file, comments too, has to be plain ASCII\n");
}

/// The errors of an otherwise good file with these lines for the key.
std::string key_errors(std::string_view lines) {
    return errors_of(fmt::format("spi = 0x1001\nsuite = \"aes-256-gcm-16\"\n{}\n", lines));
}

TEST_CASE("a key of the wrong size, of wrong digits or without randomness is refused") {
    const std::string right =
        "; aes-256-gcm-16 needs 72 hexadecimal digits: 32 bytes of key, then 4 bytes of salt\n";
    CHECK(key_errors("key = \"" + good_key.substr(2) + "\"") == "f:3:7: the key has 70 digits" + right);
    CHECK(key_errors("key = \"" + good_key + "00\"") == "f:3:7: the key has 74 digits" + right);
    CHECK(key_errors("key = \"\"") == "f:3:7: the key has 0 digits" + right);
    CHECK(key_errors("key = \"00 1\"") ==
          "f:3:7: key: character 3 is not a hexadecimal digit (0-9, a-f, A-F)" + right);
    CHECK(key_errors("key = \"" + std::string(64, '7') + "00112233\"") ==
          "f:3:7: the key repeats one byte; it has to be random (openssl rand -hex)\n");
}

TEST_CASE("a key written in a way that would show it to the TOML parser is refused") {
    const std::string right = "the key has to be written as key = \"HEX DIGITS\" on a line of its own\n";
    CHECK(key_errors("\"key\" = \"" + good_key + "\"") == "f:3:9: " + right);
    CHECK(key_errors("key = \"\"\"" + good_key + "\"\"\"") == "f:3:7: " + right);
    CHECK(key_errors("key = " + good_key) == "f:3:7: " + right);
    CHECK(key_errors("key = [\"" + good_key + "\"]") == "f:3:7: " + right);
    CHECK_THAT(key_errors("key.a = \"" + good_key + "\""), Catch::Contains("the key is not a string"));
    CHECK(key_errors("note = \"\"\"\nkey = \"00\"\n\"\"\"\nkey = \"" + good_key + "\"") ==
          "f:3:1: \"note\" is unknown here; spi, suite and key are known\n");
}

TEST_CASE("no error quotes a key") {
    for (const std::string& line :
         {"key = \"" + good_key, "key = \"" + good_key + "\" x", "key = '" + good_key + "\"",
          "key = " + good_key, "key == \"" + good_key + "\"",
          "key = \"" + good_key + "\"\nkey = \"" + good_key + "\"", "\"key\" = \"" + good_key + "\"",
          "key = \"\\u0030" + good_key + "\""}) {
        const std::string errors = key_errors(line);
        CHECK(errors != "");
        CHECK_THAT(errors, !Catch::Contains("0405"));
    }
}

/// A random key that this process never holds as digits or bytes: it is kept under a mask.
class HiddenKey {
  public:
    HiddenKey() {
        std::random_device random;
        for (std::size_t i = 0; i < masked_.size(); ++i) {
            masked_[i] = static_cast<std::uint8_t>(random());
        }
    }

    char digit(std::size_t i) const {
        const unsigned byte = masked_[i / 2] ^ 0x5aU;
        return "0123456789abcdef"[i % 2 == 0 ? byte >> 4 : byte & 15];
    }
    std::uint8_t byte(std::size_t i) const { return masked_[i] ^ 0x5a; }

    void write(const std::filesystem::path& file) const {
        const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        REQUIRE(out >= 0);
        const std::string_view head = "spi = 0x1001\nsuite = \"aes-256-gcm-16\"\nkey = \"";
        REQUIRE(::write(out, head.data(), head.size()) == static_cast<ssize_t>(head.size()));
        for (std::size_t i = 0; i < 2 * masked_.size(); ++i) {
            const char c = digit(i);
            REQUIRE(::write(out, &c, 1) == 1);
        }
        REQUIRE(::write(out, "\"\n", 2) == 2);
        ::close(out);
    }

    static constexpr std::size_t size = 36;

  private:
    std::array<std::uint8_t, size> masked_{};
};

/// How often `length` bytes at(0), at(1), ... occur in this process's writable memory.
template <typename At>
std::size_t occurrences(const At& at, std::size_t length) {
    std::ifstream maps("/proc/self/maps");
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    REQUIRE(memory >= 0);
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t first = 0;
        std::uintptr_t last = 0;
        char dash = 0;
        std::string permissions;
        std::istringstream(line) >> std::hex >> first >> dash >> last >> permissions;
        // The sanitizers' shadows are terabytes that hold no data.
        if (permissions.starts_with("rw") && last - first < (std::uintptr_t{1} << 30)) {
            ranges.emplace_back(first, last);
        }
    }
    std::size_t found = 0;
    // Only one page is held at a time, with the key's length less one of the page before: what is read is
    // wiped, so that the search does not find itself.
    std::vector<std::uint8_t> window(4096 + 128);
    const std::uint8_t* const own = window.data();
    for (const auto& [first, last] : ranges) {
        std::size_t kept = 0;
        for (std::uintptr_t place = first; place < last; place += 4096) {
            const bool is_own = place + 4096 > reinterpret_cast<std::uintptr_t>(own) &&
                                place < reinterpret_cast<std::uintptr_t>(own) + window.size();
            if (is_own || ::pread(memory, window.data() + kept, 4096, static_cast<off_t>(place)) != 4096) {
                kept = 0;
                continue;
            }
            const std::size_t have = kept + 4096;
            for (std::size_t i = 0; i + length <= have; ++i) {
                std::size_t same = 0;
                while (same < length && window[i + same] == static_cast<std::uint8_t>(at(same))) {
                    ++same;
                }
                found += same == length ? 1 : 0;
            }
            kept = length - 1;
            std::copy_n(window.begin() + static_cast<std::ptrdiff_t>(have - kept), kept, window.begin());
        }
        std::ranges::fill(window, std::uint8_t{0});
    }
    ::close(memory);
    return found;
}

TEST_CASE("after a file is loaded, its key is nowhere in memory but in the SA") {
    const auto file = std::filesystem::temp_directory_path() / fmt::format("flowtap-sa-{}", ::getpid());
    const HiddenKey key;
    key.write(file);
    {
        const auto sa = load_sa_file(file);
        REQUIRE(sa.has_value());
        CHECK(occurrences([&](std::size_t i) { return key.byte(i); }, HiddenKey::size) == 1);
        // A part of the digits would do as well: small-string and parser buffers may hold less than all.
        for (const std::size_t start : {std::size_t{0}, std::size_t{24}, std::size_t{48}}) {
            CHECK(occurrences([&](std::size_t i) { return key.digit(start + i); }, 12) == 0);
        }
    }
    CHECK(occurrences([&](std::size_t i) { return key.byte(i); }, HiddenKey::size) == 0);

    REQUIRE(::chmod(file.c_str(), 0640) == 0);
    const auto wide = load_sa_file(file);
    REQUIRE_FALSE(wide.has_value());
    REQUIRE(wide.error().size() == 1);
    CHECK(wide.error()[0].file == file);
    CHECK_THAT(wide.error()[0].message, Catch::StartsWith("mode is 0640"));
    std::filesystem::remove(file);
    CHECK_THAT(load_sa_file(file).error()[0].message, Catch::Contains("No such file"));
}

}  // namespace
