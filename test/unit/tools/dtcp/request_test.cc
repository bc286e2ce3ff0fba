// Lines as requests: each line by itself, whatever the lines before it were.
#include "tools/dtcp/request.h"

#include <catch2/catch.hpp>

#include <string>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Method;

std::string text(const RequestSpec& request) {
    std::string all = std::string{to_string(request.method)} + " " + to_string(request.version);
    for (const auto& [name, value] : request.parameters) {
        all += "|" + name + ": " + value;
    }
    return all + (request.seq ? "|" + std::to_string(*request.seq) : "");
}

TEST_CASE("a line has nothing of the lines before it") {
    LineParser parser;
    const auto parsed = [&](std::string_view line) { return text(parser.parse(line).value().value()); };
    CHECK(parsed("add --cdest a --static --send-async --priority 3 --parameter 'X-A: 1' --dtcp-version 0.8 "
                 "--seq 9") == "ADD DTCP/0.8|CDEST-ID: a|PRIORITY: 3|Flags: Static,SendAsync|X-A: 1|9");
    CHECK(parsed("add --dest-port 53") == "ADD DTCP/0.7|DEST-PORT: 53");
    CHECK_FALSE(parser.parse("add --cdest b --static --nonsense").has_value());
    CHECK(parsed("list --flags stats") == "LIST DTCP/0.7|Flags: stats");
    CHECK(parsed("list") == "LIST DTCP/0.7");
    CHECK(parsed("noop") == "NOOP DTCP/0.7");
}

TEST_CASE("empty lines and comments are no request and no error") {
    LineParser parser;
    for (const auto* line : {"", "   ", "# add", "\r"}) {
        CHECK_FALSE(parser.parse(line).value().has_value());
    }
}

TEST_CASE("options of a connection, of other requests, and help are errors in a line") {
    LineParser parser;
    for (const auto* line :
         {"noop --host x", "noop --csource x", "noop --static", "list --timeout-idle 3", "noop noop",
          "noop extra", "--help", "add --help", "batch x", "list --flags All", "noop --dtcp-version 7",
          "noop --seq -1", "noop --seq 18446744073709551616", "add --parameter nocolon"}) {
        const auto request = parser.parse(line);
        CHECK_FALSE(request.has_value());
        if (!request) {
            CHECK_FALSE(request.error().empty());
        }
    }
}

TEST_CASE("only what changes nothing is safe to send twice") {
    CHECK(is_safe(Method::list));
    CHECK(is_safe(Method::noop));
    for (const auto method :
         {Method::add, Method::delete_, Method::refresh, Method::enable, Method::disable}) {
        CHECK_FALSE(is_safe(method));
    }
}

}  // namespace
}  // namespace flowtap::tools::dtcp
