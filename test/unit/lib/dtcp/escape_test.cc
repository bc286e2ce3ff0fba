#include "lib/dtcp/escape.h"

#include <catch2/catch.hpp>

#include <random>
#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

using lib::dtcp::escape;
using lib::dtcp::escape_entry;
using lib::dtcp::escape_line;
using lib::dtcp::is_utf8;
using lib::dtcp::unescape;

TEST_CASE("2: three decimal digits after a backslash stand for that byte", "[dtcp][dtcp:2.escape]") {
    CHECK(unescape("a\\044b") == "a,b");
    CHECK(unescape("\\000\\255") == std::string{'\0', static_cast<char>(255)});
    CHECK(unescape("\\0921") == "\\1");
    CHECK(unescape("") == "");
}

TEST_CASE("2: a backslash with anything else after it is no escape", "[dtcp][dtcp:2.escape]") {
    for (const std::string_view bad :
         {"\\", "\\1", "\\12", "\\256", "\\999", "\\a12", "\\12a", "a\\", "\\ 44"}) {
        CAPTURE(bad);
        CHECK_FALSE(unescape(bad));
    }
}

TEST_CASE("escape: what is written is read as the same bytes, and stays inside its line and list",
          "[dtcp][dtcp:2.escape-no-delimiter]") {
    std::mt19937 random{2};
    std::uniform_int_distribution<int> length{0, 24};
    std::uniform_int_distribution<int> byte{0, 255};
    constexpr std::string_view delimiters = "\r\n\t ,!*\\-\xc3\xa4";
    std::uniform_int_distribution<std::size_t> delimiter{0, delimiters.size() - 1};
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes;
        for (int i = length(random); i > 0; --i) {
            bytes += i % 2 == 0 ? static_cast<char>(byte(random)) : delimiters[delimiter(random)];
        }
        const std::string whole = escape(bytes);
        const std::string entry = escape_entry(bytes);
        REQUIRE(unescape(whole) == bytes);
        REQUIRE(unescape(entry) == bytes);
        for (const std::string& text : {whole, entry, escape_line(bytes)}) {
            REQUIRE(is_utf8(text));
            REQUIRE(text.find_first_of("\r\n") == std::string::npos);
        }
        if (!bytes.empty()) {
            REQUIRE(std::string_view{" \t"}.find(whole.front()) == std::string_view::npos);
            REQUIRE(std::string_view{" \t"}.find(whole.back()) == std::string_view::npos);
        }
        REQUIRE(entry.find_first_of(",*") == std::string::npos);
        REQUIRE(!entry.starts_with('!'));
    }
}

TEST_CASE("escape: what is escaped already stays as it is in a line", "[dtcp]") {
    CHECK(escape_line("10.0.0.0/8,!10.0.0.1\\044 \t") == "10.0.0.0/8,!10.0.0.1\\044 \t");
    CHECK(escape_line(std::string_view{"a\0b", 3}) == "a\\000b");
}

TEST_CASE("2: UTF-8 is what RFC 3629 says", "[dtcp][dtcp:2.utf-8]") {
    for (const std::string_view good :
         {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
          "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "z\xc3\xa4z"}) {
        CHECK(is_utf8(good));
    }
    for (const std::string_view bad :
         {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xe0\xa0",
          "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
          "\xf5\x80\x80\x80", "\xff", "a\xfe"}) {
        CHECK_FALSE(is_utf8(bad));
    }
}

}  // namespace
}  // namespace flowtap::test
