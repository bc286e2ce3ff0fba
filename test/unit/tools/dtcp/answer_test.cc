// Answers from their messages: whole when every entry is there, once, in whatever order they come.
#include "tools/dtcp/answer.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Method;
using lib::dtcp::Response;

Response response(std::string_view lines, std::string_view version = "0.7") {
    return lib::dtcp::read_response_unverified("DTCP/" + std::string{version} + " 200 OK\r\nSEQ: 1\r\n" +
                                               std::string{lines} + "\r\n")
        .value();
}

std::string entry(int number, int count) {
    return "CRITERIA-ID: " + std::to_string(100 + number) + "\r\nCRITERIA-NUM: " + std::to_string(number) +
           "\r\nCRITERIA-COUNT: " + std::to_string(count) + "\r\n";
}

TEST_CASE("an answer of one message is whole at once, a LIST without entries too") {
    CHECK(AnswerParts{Method::add}.add(response("CRITERIA-ID: 1\r\n")).has_value());
    CHECK(AnswerParts{Method::delete_}.add(response("CRITERIA-COUNT: 5\r\n")).has_value());
    CHECK(AnswerParts{Method::list}.add(response("")).has_value());
    CHECK(AnswerParts{Method::list}.add(response(entry(1, 2) + entry(2, 2))).has_value());
    // A refusal of a LIST may repeat a line that looks like a part.
    auto refused = response("CRITERIA-COUNT: 5\r\n");
    refused.code = 400;
    CHECK(AnswerParts{Method::list}.add(refused).has_value());
}

TEST_CASE("parts in any order, some twice, are one answer in the order of the entries") {
    AnswerParts parts{Method::list};
    CHECK_FALSE(parts.add(response(entry(3, 4) + entry(4, 4))).has_value());
    CHECK_FALSE(parts.add(response(entry(3, 4) + entry(4, 4))).has_value());
    CHECK_FALSE(parts.add(response(entry(1, 4))).has_value());
    const auto answer = parts.add(response(entry(2, 4)));
    REQUIRE(answer.has_value());
    REQUIRE(answer->messages.size() == 3);
    std::string ids;
    for (const auto& message : answer->messages) {
        for (const auto& one : message.entries()) {
            ids += one.front().value + " ";
        }
    }
    CHECK(ids == "101 102 103 104 ");
}

TEST_CASE("in version 0.5 the count in the last message ends the answer") {
    AnswerParts parts{Method::list};
    CHECK_FALSE(parts.add(response("CRITERIA-ID: 1\r\n", "0.5")).has_value());
    CHECK_FALSE(parts.add(response("CRITERIA-ID: 2\r\n", "0.5")).has_value());
    CHECK(parts.add(response("CRITERIA-ID: 3\r\nNUM-CRITERIA: 3\r\n", "0.5")).has_value());
}

TEST_CASE("entries without numbers, as of a server that has none, are counted or taken as they are") {
    CHECK(AnswerParts{Method::list}.add(response("CRITERIA-ID: 1\r\nCRITERIA-ID: 2\r\n")).has_value());
    CHECK(AnswerParts{Method::list}
              .add(response("CRITERIA-ID: 1\r\nCRITERIA-COUNT: 2\r\nCRITERIA-ID: 2\r\nCRITERIA-COUNT: 2\r\n"))
              .has_value());
}

TEST_CASE("a response without Seq is a notification by its code alone") {
    const auto bare = [](std::string_view status) {
        return lib::dtcp::read_response_unverified("DTCP/0.7 " + std::string{status} +
                                                   "\r\nTIMESTAMP: x\r\n\r\n")
            .value();
    };
    for (const auto* status : {"130 A", "131 A", "390 A", "580 A", "598 A", "599 A", "680 A"}) {
        CHECK(is_notification(bare(status)));
    }
    for (const auto* status : {"200 OK", "400 A", "505 A", "901 A"}) {
        CHECK_FALSE(is_notification(bare(status)));
    }
    auto with_seq = response("");
    with_seq.code = 131;
    CHECK_FALSE(is_notification(with_seq));
}

}  // namespace
}  // namespace flowtap::tools::dtcp
