// The parameter lines of a filter.
#include "lib/dtcp/filter.h"
#include "lib/dtcp/framing.h"
#include "test/fuzz/dtcp_fuzz.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

namespace dtcp = lib::dtcp;

std::expected<lib::Criterion, dtcp::Failure> parse(const std::string& raw) {
    return dtcp::parse_filter(dtcp::parse_request(raw));
}

/// "ipv4 source-address=A,B dest-port=1" as an ADD.
std::string as_request(std::string_view text) {
    std::string raw = "ADD DTCP/0.8\r\nX-JTap-IP-Version: ";
    for (const char letter : text) {
        if (letter == ' ') {
            raw += "\r\n";
        } else {
            raw += letter == '=' ? ':' : letter;
        }
    }
    return raw + "\r\n\r\n";
}

template <typename List>
void check_terms(const List& list) {
    for (const auto& term : list) {
        require(!(term.last < term.first), "a term is not reversed");
    }
}

void check(std::string_view text) {
    const std::string raw = "ADD DTCP/0.8\r\n" + std::string{text} + "\r\n\r\n";
    const auto criterion = parse(raw);
    if (!criterion) {
        const auto code = criterion.error().code;
        require(code == dtcp::Code::improper_filter || code == dtcp::Code::not_implemented ||
                    code == dtcp::Code::bad_request,
                "a filter fails with 432, 501 or 400");
        require(!criterion.error().line.empty() && raw.find(criterion.error().line) != std::string::npos,
                "the offending line is named");
        return;
    }
    require(lib::term_count(*criterion) <= lib::max_terms, "bound on terms");
    for (const auto* const list : {&criterion->source_address, &criterion->dest_address}) {
        check_terms(*list);
        for (const auto& term : *list) {
            require(term.first.family == criterion->family && term.last.family == criterion->family,
                    "one family");
        }
    }
    for (const auto* const list : {&criterion->protocol, &criterion->source_port, &criterion->dest_port,
                                   &criterion->icmp_type, &criterion->icmp_code}) {
        check_terms(*list);
    }
    const std::string again = as_request(dtcp::to_string(*criterion));
    if (again.size() <= dtcp::max_message) {
        require(parse(again) == *criterion, "the criterion written as a filter is the same criterion");
    }
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    flowtap::test::check(flowtap::test::as_text(data, size));
    return 0;
}
