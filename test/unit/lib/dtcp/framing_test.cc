#include "lib/dtcp/framing.h"

#include <catch2/catch.hpp>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

using lib::dtcp::FramingError;
using lib::dtcp::max_message;
using lib::dtcp::Splitter;

/// All messages of the stream when it arrives in these chunks; the error as "too long".
std::vector<std::string> split(Splitter& splitter, const std::vector<std::string>& chunks) {
    std::vector<std::string> messages;
    for (const std::string& chunk : chunks) {
        std::string_view input = chunk;
        for (;;) {
            const auto message = splitter.next(input);
            if (!message) {
                messages.emplace_back("too long");
                return messages;
            }
            if (!*message) {
                REQUIRE(input.empty());
                break;
            }
            messages.emplace_back(**message);
        }
    }
    return messages;
}

std::vector<std::string> split(const std::vector<std::string>& chunks) {
    Splitter splitter;
    return split(splitter, chunks);
}

std::vector<std::string> bytewise(std::string_view stream) {
    std::vector<std::string> chunks;
    for (const char byte : stream) {
        chunks.emplace_back(1, byte);
    }
    return chunks;
}

using Messages = std::vector<std::string>;

TEST_CASE("2: a message ends with an empty line, which is part of it",
          "[dtcp][dtcp:1.ssh-framing][dtcp:2.empty-line]") {
    CHECK(split({"A\r\nB\r\n\r\nC\r\n\r\n"}) == Messages{"A\r\nB\r\n\r\n", "C\r\n\r\n"});
    CHECK(split({"A\r\nB\r\n"}).empty());
}

TEST_CASE("2: a bare LF is accepted as a line end", "[dtcp][dtcp:2.line-end]") {
    CHECK(split({"A\nB\n\nC\n\n"}) == Messages{"A\nB\n\n", "C\n\n"});
    CHECK(split({"A\nB\r\n\nC\n\r\n"}) == Messages{"A\nB\r\n\n", "C\n\r\n"});
}

TEST_CASE("2: white space before a line end is ignored: a line of white space is empty",
          "[dtcp][dtcp:2.trailing-space]") {
    CHECK(split({"A \r\n \t\r\nB\r\n\r\n"}) == Messages{"A \r\n \t\r\n", "B\r\n\r\n"});
}

TEST_CASE("2: a CR that no LF follows is no line end", "[dtcp][dtcp:2.line-end]") {
    CHECK(split({"A\r\rB\r\n\r\r\n\r\n"}) == Messages{"A\r\rB\r\n\r\r\n\r\n"});
    CHECK(split({"A\n\rB\n\n"}) == Messages{"A\n\rB\n\n"});
    CHECK(split({"A\n\r \n\n"}) == Messages{"A\n\r \n\n"});
}

TEST_CASE("framing: empty lines before a message belong to none", "[dtcp]") {
    CHECK(split({"\r\n\n \r\nA\r\n\r\n\r\n\r\nB\n\n"}) == Messages{"A\r\n\r\n", "B\n\n"});
    CHECK(split({" ", "\t", "A\n\n"}) == Messages{" \tA\n\n"});
}

TEST_CASE("framing: how the stream is cut into chunks changes nothing", "[dtcp][dtcp:1.ssh-framing]") {
    const std::string stream =
        "\r\n \nADD DTCP/0.7\r\nA: b \r\n\r\nNOOP DTCP/0.7\nB: c\r\r\n\n\n\r\r\n \t\n\r\n\r\nX\n";
    const Messages whole = split({stream});
    REQUIRE(whole.size() == 3);
    CHECK(split(bytewise(stream)) == whole);
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        CHECK(split({stream.substr(0, cut), stream.substr(cut)}) == whole);
    }
    std::mt19937 random{1};
    for (int round = 0; round < 2000; ++round) {
        std::string letters;
        std::uniform_int_distribution<int> length{0, 60};
        std::uniform_int_distribution<std::size_t> letter{0, 5};
        for (int i = length(random); i > 0; --i) {
            letters += std::string_view{"\n\n\r \tA"}[letter(random)];
        }
        CHECK(split(bytewise(letters)) == split({letters}));
    }
}

TEST_CASE("1: a message of 64 KiB is taken, one byte more is not", "[dtcp][dtcp:1.max-message]") {
    const std::string longest = std::string(max_message - 4, 'a') + "\r\n\r\n";
    REQUIRE(longest.size() == 64 * 1024);
    CHECK(split({longest, longest}) == Messages{longest, longest});
    CHECK(split({"\n\n\n" + longest + "\n\n" + longest}) == Messages{longest, longest});
    CHECK(split({"a" + longest}) == Messages{"too long"});
    CHECK(split({"A\n\na" + longest}) == Messages{"A\n\n", "too long"});
    CHECK(split(bytewise(longest)) == Messages{longest});
}

TEST_CASE("1: too long is decided at the first byte beyond the limit, and nothing beyond it is kept",
          "[dtcp][dtcp:1.max-message]") {
    Splitter splitter{100};
    for (int i = 0; i < 100; ++i) {
        std::string_view input = "x";
        const auto message = splitter.next(input);
        REQUIRE(message);
        REQUIRE(splitter.pending() == static_cast<std::size_t>(i) + 1);
    }
    std::string_view input = "x";
    CHECK(splitter.next(input).error() == FramingError::too_long);
    CHECK(splitter.pending() == 0);

    Splitter at_once{100};
    const std::string megabyte(1 << 20, 'x');
    input = megabyte;
    CHECK(at_once.next(input).error() == FramingError::too_long);
    CHECK(at_once.pending() == 0);
}

TEST_CASE("framing: white space without end is too long as well, empty lines never are", "[dtcp]") {
    CHECK(split(std::vector<std::string>(max_message + 1, " ")) == Messages{"too long"});
    CHECK(split(std::vector<std::string>(max_message, "\r\n")).empty());
}

TEST_CASE("framing: an empty line longer than the limit is too long, in one chunk or in many", "[dtcp]") {
    const std::string longest = std::string(max_message - 1, ' ') + "\n";
    for (const auto& line : {longest, " " + longest}) {
        std::vector<std::string> bytes;
        for (const char byte : line + "A\n\n") {
            bytes.emplace_back(1, byte);
        }
        const std::vector<std::string> expected{line == longest ? "A\n\n" : "too long"};
        CHECK(split({line + "A\n\n"}) == expected);
        CHECK(split(bytes) == expected);
    }
}

TEST_CASE("framing: after an error nothing more is taken", "[dtcp]") {
    Splitter splitter{4};
    CHECK(split(splitter, {"12345"}) == Messages{"too long"});
    CHECK(split(splitter, {"A\n\n"}) == Messages{"too long"});
}

}  // namespace
}  // namespace flowtap::test
