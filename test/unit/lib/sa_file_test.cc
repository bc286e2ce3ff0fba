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
#include <utility>
#include <vector>

namespace {

using flowtap::lib::load_sa_file;
using flowtap::lib::parse_sa_file;
using flowtap::lib::Spi;
using flowtap::lib::Suite;

const std::string good_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fA0A1A2A3";

const std::string known_names =
    "spi, suite, key, authentication-key, extended-sequence-numbers, udp-encapsulation, padded-length, "
    "soft-lifetime-seconds, soft-lifetime-packets, soft-lifetime-bytes, hard-lifetime-seconds, "
    "hard-lifetime-packets, hard-lifetime-bytes are known\n";

const std::string suite_names =
    R"(suite has to be one of "aes-256-gcm-16", "aes-128-gcm-16", "chacha20-poly1305", )"
    R"("aes-128-cbc-hmac-sha1-96", "aes-256-cbc-hmac-sha1-96", )"
    R"("aes-128-cbc-hmac-sha-256-128", "aes-256-cbc-hmac-sha-256-128", )"
    R"("aes-128-cbc-hmac-sha-384-192", "aes-256-cbc-hmac-sha-384-192", )"
    R"("aes-128-cbc-hmac-sha-512-256", "aes-256-cbc-hmac-sha-512-256", "3des-cbc-hmac-sha1-96")"
    "\n";

/// `count` bytes, each one more, as digits.
std::string digits(std::size_t count, unsigned first = 1) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        text += fmt::format("{:02x}", (first + i) % 256);
    }
    return text;
}

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
    CHECK(errors_of("spi = 256\nSPI = 3\n" + rest) == "f:2:1: \"SPI\" is unknown here; " + known_names);
    CHECK(errors_of("spi = 1\nsuite = \"des\"\nkey = \"00\"\n") ==
          "f:1:7: spi is 1; " + numbers + "f:2:9: " + suite_names);
    CHECK(errors_of("") ==
          "f:0:0: no spi; spi has to be an integer from 256 to 4294967295\n"
          "f:0:0: no suite; " +
              suite_names + "f:0:0: no key; it has to be key = \"HEX DIGITS\" on a line of its own\n");
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

std::string file_of(const flowtap::lib::SuiteInfo& suite, const std::string& more = "") {
    std::string text = fmt::format("spi = 0x1001\nsuite = \"{}\"\nkey = \"{}\"\n", suite.name,
                                   digits(std::size_t{suite.cipher_key_size} + suite.salt_size));
    if (!suite.combined()) {
        text += fmt::format("authentication-key = \"{}\"\n", digits(suite.authentication_key_size, 0x80));
    }
    return text + more;
}

TEST_CASE("the keys of every suite are read, one behind the other, and refused one byte shorter or longer") {
    for (const auto& suite : flowtap::lib::suites) {
        INFO(suite.name);
        const auto sa = parse_sa_file(file_of(suite), "f");
        REQUIRE(sa.has_value());
        CHECK(sa->suite == suite.suite);
        REQUIRE(sa->key.size() == suite.key_material_size());
        const std::size_t first = std::size_t{suite.cipher_key_size} + suite.salt_size;
        for (std::size_t i = 0; i < sa->key.size(); ++i) {
            CHECK(std::as_const(sa->key).bytes()[i] == (i < first ? 1 + i : 0x80 + i - first));
        }
        CHECK_FALSE(sa->extended_sequence);
        CHECK_FALSE(sa->udp_encapsulation);
        CHECK(sa->padded_length == 0);
        for (const int change : {-1, 1}) {
            const auto wrong = [&](std::size_t size) {
                return digits(size + static_cast<std::size_t>(change));
            };
            CHECK_THAT(
                errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}\"\n", suite.name, wrong(first))),
                Catch::StartsWith("f:3:7: the key has "));
            if (!suite.combined()) {
                CHECK_THAT(errors_of(fmt::format(
                               "spi = 256\nsuite = \"{}\"\nkey = \"{}\"\nauthentication-key = '{}'",
                               suite.name, digits(first), wrong(suite.authentication_key_size))),
                           Catch::StartsWith("f:4:22: the key has "));
            }
        }
    }
}

TEST_CASE("a suite with an HMAC needs its key, and one without must not have it") {
    const auto& hmac = *flowtap::lib::find_suite(Suite::aes_128_cbc_hmac_sha1_96);
    CHECK(errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}\"\n", hmac.name, digits(16))) ==
          "f:0:0: no authentication-key; aes-128-cbc-hmac-sha1-96 needs 40 hexadecimal digits: 20 bytes of "
          "authentication key\n");
    CHECK(errors_of(file_of(flowtap::lib::suites[0], "authentication-key = \"00\"\n")) ==
          "f:4:22: aes-256-gcm-16 authenticates by its one key; authentication-key has to be left out\n");
    CHECK(errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}\"\nauthentication-key = {}\n",
                                hmac.name, digits(16), digits(20))) ==
          "f:4:22: the key has to be written as authentication-key = \"HEX DIGITS\" on a line of its own\n");
    const std::string same = fmt::format("authentication-key = \"{}\"\n", std::string(40, '7'));
    CHECK(
        errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}\"\n{}", hmac.name, digits(16), same)) ==
        "f:4:22: the key repeats one byte; it has to be random (openssl rand -hex)\n");
}

TEST_CASE("settings are read, and refused where they stand") {
    const auto& suite = flowtap::lib::suites[0];
    const auto sa = parse_sa_file(
        file_of(suite, "extended-sequence-numbers = true\nudp-encapsulation = true\npadded-length = 1400\n"),
        "f");
    REQUIRE(sa.has_value());
    CHECK(sa->extended_sequence);
    CHECK(sa->udp_encapsulation);
    CHECK(sa->padded_length == 1400);
    CHECK(errors_of(file_of(
              suite, "extended-sequence-numbers = 1\nudp-encapsulation = \"yes\"\npadded-length = 63\n")) ==
          "f:4:29: extended-sequence-numbers has to be true or false\n"
          "f:5:21: udp-encapsulation has to be true or false\n"
          "f:6:17: padded-length has to be an integer from 64 to 9198\n");
    CHECK(errors_of(file_of(suite, "padded-length = 64\n")) == "");
    CHECK(errors_of(file_of(suite, "padded-length = 9199\n")) != "");
}

TEST_CASE("weak keys of 3DES are refused, whatever their parity") {
    const auto errors = [](const std::string& parts) {
        return errors_of(fmt::format(
            "spi = 256\nsuite = \"3des-cbc-hmac-sha1-96\"\nkey = \"{}\"\nauthentication-key = \"{}\"\n",
            parts, digits(20)));
    };
    const std::string one = "0123456789abcdef";
    const std::string two = "23456789abcdef01";
    const std::string three = "456789abcdef0123";
    CHECK(errors(one + two + three) == "");
    CHECK(errors(one + two + one) == "");  // two keys: allowed by RFC 2451
    CHECK(errors(one + one + three) ==
          "f:3:7: a weak 3DES key: its first and second part are the same, which makes it single DES; it has "
          "to be random (openssl rand -hex)\n");
    CHECK_THAT(errors(one + two + two), Catch::Contains("its second and third part are the same"));
    CHECK_THAT(errors(one + "0022446688aaccee" + three),
               Catch::Contains("its first and second part are the same"));
    for (const std::string weak :
         {"0101010101010101", "fefefefefefefefe", "e0e0e0e0f1f1f1f1", "1f1f1f1f0e0e0e0e", "011f011f010e010e",
          "1f011f010e010e01", "01e001e001f101f1", "e001e001f101f101", "01fe01fe01fe01fe", "fe01fe01fe01fe01",
          "1fe01fe00ef10ef1", "e01fe01ff10ef10e", "1ffe1ffe0efe0efe", "fe1ffe1ffe0efe0e", "e0fee0fef1fef1fe",
          "fee0fee0fef1fef1", "0000000000000000", "ffffffffffffffff", "e1e1e1e1f0f0f0f0"}) {
        CHECK_THAT(errors(weak + two + three), Catch::Contains("its first part is a weak key of DES"));
        CHECK_THAT(errors(one + weak + three), Catch::Contains("its second part is a weak key of DES"));
        CHECK_THAT(errors(one + two + weak), Catch::Contains("its third part is a weak key of DES"));
        CHECK(errors(one + two + weak).find(weak) == std::string::npos);
    }
}

TEST_CASE(
    "a key that repeats a pattern is refused, of the cipher and of the HMAC, and so is one key for both") {
    const auto& gcm = flowtap::lib::suites[0];
    const auto repeated = [](std::string_view pattern, std::size_t bytes) {
        std::string text;
        while (text.size() < 2 * bytes) {
            text += pattern;
        }
        return text.substr(0, 2 * bytes);
    };
    const auto gcm_errors = [&](const std::string& key) {
        return errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}a0a1a2a3\"\n", gcm.name, key));
    };
    const std::string advice = "; it has to be random (openssl rand -hex)\n";
    CHECK(gcm_errors(std::string(64, '0')) == "f:3:7: the key repeats one byte" + advice);
    CHECK(gcm_errors(repeated("dead", 32)) == "f:3:7: the key repeats a pattern of 2 bytes" + advice);
    CHECK(gcm_errors(repeated("012345", 32)) == "f:3:7: the key repeats a pattern of 3 bytes" + advice);
    CHECK(gcm_errors(repeated("0123456789abcdef", 32)) ==
          "f:3:7: the key repeats a pattern of 8 bytes" + advice);
    CHECK(gcm_errors(repeated("0123456789abcdef", 31) + "ee") == "");

    const auto& hmac = *flowtap::lib::find_suite(Suite::aes_256_cbc_hmac_sha_256_128);
    const auto hmac_errors = [&](const std::string& key) {
        return errors_of(fmt::format("spi = 256\nsuite = \"{}\"\nkey = \"{}\"\nauthentication-key = \"{}\"\n",
                                     hmac.name, digits(32), key));
    };
    CHECK(hmac_errors(repeated("dead", 32)) == "f:4:22: the key repeats a pattern of 2 bytes" + advice);
    CHECK(hmac_errors(digits(32)) == "f:4:22: the key is that of the cipher, too" + advice);
}

/// The lifetimes of an otherwise good file with these lines.
flowtap::lib::SaLifetimes lifetimes_of(const flowtap::lib::SuiteInfo& suite, const std::string& lines) {
    const auto sa = parse_sa_file(file_of(suite, lines), "f");
    REQUIRE(sa.has_value());
    return sa->lifetimes;
}

TEST_CASE("lifetimes: what is not written is the longest that suite and sequence numbers allow") {
    using flowtap::lib::LifeUnit;
    using flowtap::lib::no_limit;
    const auto& gcm = flowtap::lib::suites[0];
    const auto plain = lifetimes_of(gcm, "");
    CHECK(plain.hard == flowtap::lib::LifeSpan{{no_limit, UINT32_MAX, no_limit}});
    CHECK(plain.soft == flowtap::lib::LifeSpan{{no_limit, UINT32_MAX - UINT32_MAX / 8, no_limit}});
    CHECK(lifetimes_of(gcm, "extended-sequence-numbers = true\n").hard[LifeUnit::packets] == UINT64_MAX - 1);
    const auto& triple_des = *flowtap::lib::find_suite(Suite::triple_des_cbc_hmac_sha1_96);
    CHECK(lifetimes_of(triple_des, "").hard[LifeUnit::bytes] == std::uint64_t{32} << 30);
    CHECK(lifetimes_of(triple_des, "").soft[LifeUnit::bytes] == std::uint64_t{28} << 30);
}

TEST_CASE("lifetimes: what is written holds, and the soft one is seven eighths of the hard one") {
    const auto& gcm = flowtap::lib::suites[0];
    const auto written = lifetimes_of(gcm,
                                      "soft-lifetime-seconds = 10\nhard-lifetime-seconds = 20\n"
                                      "hard-lifetime-packets = 800\nsoft-lifetime-bytes = 5\n");
    CHECK(written.soft == flowtap::lib::LifeSpan{{10, 700, 5}});
    CHECK(written.hard == flowtap::lib::LifeSpan{{20, 800, flowtap::lib::no_limit}});
}

TEST_CASE("lifetimes that cannot be are refused where they stand") {
    const auto& gcm = flowtap::lib::suites[0];
    CHECK(errors_of(file_of(gcm, "soft-lifetime-seconds = 0\nhard-lifetime-bytes = \"1\"\n")) ==
          "f:4:25: soft-lifetime-seconds has to be an integer, 1 or more\n"
          "f:5:23: hard-lifetime-bytes has to be an integer, 1 or more\n");
    CHECK(errors_of(file_of(gcm, "hard-lifetime-packets = 4294967296\n")) ==
          "f:4:25: hard-lifetime-packets has to be an integer, 1 to 4294967295\n");
    CHECK(errors_of(file_of(gcm, "hard-lifetime-packets = 4294967295\n")) == "");
    CHECK(errors_of(file_of(gcm, "soft-lifetime-bytes = 7\nhard-lifetime-bytes = 7\n")) ==
          "f:4:23: soft-lifetime-bytes is 7: it has to be less than the hard lifetime, 7\n");
    const auto& triple_des = *flowtap::lib::find_suite(Suite::triple_des_cbc_hmac_sha1_96);
    CHECK(errors_of(file_of(triple_des, "hard-lifetime-bytes = 34359738369\n")) ==
          "f:5:23: hard-lifetime-bytes has to be an integer, 1 to 34359738368\n");
}

TEST_CASE("3DES is refused with extended sequence numbers, and only 3DES") {
    for (const auto& suite : flowtap::lib::suites) {
        INFO(suite.name);
        const bool refused = suite.suite == Suite::triple_des_cbc_hmac_sha1_96;
        CHECK(errors_of(file_of(suite, "extended-sequence-numbers = true\n")) ==
              (refused
                   ? "f:5:29: 3des-cbc-hmac-sha1-96 has 64-bit blocks, too few for so many packets under one "
                     "key; extended-sequence-numbers has to be left out, or another suite taken\n"
                   : ""));
    }
}

TEST_CASE("a key written in a way that would show it to the TOML parser is refused") {
    const std::string right = "the key has to be written as key = \"HEX DIGITS\" on a line of its own\n";
    CHECK(key_errors("\"key\" = \"" + good_key + "\"") == "f:3:9: " + right);
    CHECK(key_errors("key = \"\"\"" + good_key + "\"\"\"") == "f:3:7: " + right);
    CHECK(key_errors("key = " + good_key) == "f:3:7: " + right);
    CHECK(key_errors("key = [\"" + good_key + "\"]") == "f:3:7: " + right);
    CHECK_THAT(key_errors("key.a = \"" + good_key + "\""), Catch::Contains("the key is not a string"));
    CHECK(key_errors("note = \"\"\"\nkey = \"00\"\n\"\"\"\nkey = \"" + good_key + "\"") ==
          "f:3:1: \"note\" is unknown here; " + known_names);
}

TEST_CASE("no error quotes a key") {
    for (const std::string& line :
         {"key = \"" + good_key, "key = \"" + good_key + "\" x", "key = '" + good_key + "\"",
          "key = " + good_key, "key == \"" + good_key + "\"",
          "key = \"" + good_key + "\"\nkey = \"" + good_key + "\"", "\"key\" = \"" + good_key + "\"",
          "key = \"\\u0030" + good_key + "\"", "authentication-key = \"" + good_key,
          "authentication-key = " + good_key, "\"authentication-key\" = \"" + good_key + "\"",
          "authentication-key = [\"" + good_key + "\"]"}) {
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
