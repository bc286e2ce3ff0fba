// Words of a line: as a shell takes them apart, and nothing is expanded or guessed at.
#include "tools/dtcp/words.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace flowtap::tools::dtcp {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("blanks part words, however many, and at both ends") {
    CHECK(split_words("").value().empty());
    CHECK(split_words(" \t\r").value().empty());
    CHECK(split_words(" a\t bc  d\r").value() == Words{"a", "bc", "d"});
}

TEST_CASE("quotes keep blanks, may stand inside a word, and may hold nothing") {
    CHECK(split_words("'a b'\"c d\"e ''").value() == Words{"a bc de", ""});
    CHECK(split_words("\"it's\" '\"'").value() == Words{"it's", "\""});
    CHECK(split_words("\"a \\\"b\\\\ \\013\" '\\013'").value() == Words{"a \"b\\ \\013", "\\013"});
    CHECK(split_words("a\\ b \\# \\\\013").value() == Words{"a b", "#", "\\013"});
}

TEST_CASE("a comment starts a word of its own, and not inside one") {
    CHECK(split_words("a # b 'c").value() == Words{"a"});
    CHECK(split_words("a#b '#' x").value() == Words{"a#b", "#", "x"});
    CHECK(split_words("# only").value().empty());
}

TEST_CASE("nothing is expanded") {
    CHECK(split_words("$HOME *.x ~ `id` a;b {1,2}").value() ==
          Words{"$HOME", "*.x", "~", "`id`", "a;b", "{1,2}"});
}

TEST_CASE("what is not closed is an error") {
    for (const auto* wrong : {"'a", "\"a", "a 'b", "\"a\\\"", "a\\"}) {
        CHECK_FALSE(split_words(wrong).has_value());
    }
}

}  // namespace
}  // namespace flowtap::tools::dtcp
