// What one side writes, the other reads as the same: random requests and responses.
#include "lib/dtcp/escape.h"
#include "lib/dtcp/request_builder.h"
#include "lib/dtcp/response.h"
#include "lib/dtcp/response_reader.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

using dtcp::Method;
using dtcp::Name;

class Random {
  public:
    explicit Random(unsigned seed) : engine_{seed} {}

    std::uint64_t below(std::uint64_t bound) {
        return std::uniform_int_distribution<std::uint64_t>{0, bound - 1}(engine_);
    }

    std::uint64_t number() { return engine_() >> below(64); }

    std::string bytes() {
        std::string text;
        for (auto i = below(20); i > 0; --i) {
            text += below(3) == 0 ? static_cast<char>(below(256)) : static_cast<char>('a' + below(26));
        }
        return text;
    }

    Name name() { return static_cast<Name>(below(dtcp::name_count)); }

  private:
    std::mt19937_64 engine_;
};

TEST_CASE("request: parse(build(x)) is x, and verifies, for random x", "[dtcp]") {
    auto key = hmac("secret");
    Random random{5};
    for (int round = 0; round < 20'000; ++round) {
        const auto method = static_cast<Method>(random.below(7));
        const dtcp::Version version{0, static_cast<std::uint16_t>(5 + random.below(4))};
        dtcp::RequestBuilder builder{method, version};
        std::vector<std::pair<std::string, std::string>> parameters;
        for (auto i = random.below(20); i > 0; --i) {
            const Name name = random.name();
            if (name == Name::authentication_info || name == Name::csource_id || name == Name::seq) {
                continue;
            }
            const std::string value = random.bytes();
            if (random.below(4) == 0) {
                builder.add(fmt::format("X-Own.{}", i), dtcp::escape(value));
                parameters.emplace_back(fmt::format("X-Own.{}", i), value);
            } else {
                builder.add(name, dtcp::escape(value));
                parameters.emplace_back(dtcp::to_string(name), value);
            }
        }
        const std::string csource = fmt::format("c{}\xc3\xa4", random.below(10));
        const std::uint64_t seq = random.number();
        const std::string raw = builder.sign(csource, seq, key);
        CAPTURE(raw);
        const auto request = dtcp::parse_request(raw);
        REQUIRE(request.method() == method);
        REQUIRE(request.version() == version);
        REQUIRE(key.verify(request));
        const auto envelope = dtcp::parse_envelope(request);
        REQUIRE(envelope);
        REQUIRE(envelope->csource_id == csource);
        REQUIRE(envelope->seq == seq);
        REQUIRE(request.parameters().size() == parameters.size() + 2);
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            REQUIRE(request.parameters()[i].name == parameters[i].first);
            REQUIRE(dtcp::unescape(request.parameters()[i].value) == parameters[i].second);
        }
        // Nothing that was put in can be ill-formed; only out of place.
        REQUIRE((!request.failure() || request.failure()->code == dtcp::Code::not_implemented));
    }
}

TEST_CASE("request: no name or value can add a line", "[dtcp]") {
    auto key = hmac("secret");
    Random random{6};
    for (int round = 0; round < 5000; ++round) {
        std::string evil_name = fmt::format("{}\r\n\r\n{}", random.bytes(), random.bytes());
        dtcp::RequestBuilder builder{Method::add, dtcp::version_0_7};
        builder.add(fmt::format("X-{}", evil_name), fmt::format("{}\r\n\n{}", random.bytes(), random.bytes()))
            .add(Name::cdest_id, "a\r\nSeq: 3");
        const std::string raw = builder.sign("a\nb", 1, key);
        const auto request = dtcp::parse_request(raw);
        REQUIRE(request.parameters().size() == 4);
        REQUIRE(request.signed_bytes().size() + 65 == raw.size());
        REQUIRE(key.verify(request));
        REQUIRE(request.find(Name::seq)->value == "1");
        REQUIRE(dtcp::unescape(request.find(Name::csource_id)->value) == "a\nb");
        REQUIRE_FALSE(request.failure());
    }
}

TEST_CASE("response: read(write(x)) is x, and verifies, for random x", "[dtcp]") {
    auto key = hmac("secret");
    Random random{7};
    for (int round = 0; round < 20'000; ++round) {
        const dtcp::Version version{0, static_cast<std::uint16_t>(5 + random.below(4))};
        constexpr std::array codes{dtcp::Code::ok, dtcp::Code::bad_request, dtcp::Code::purged};
        const auto code = codes[random.below(codes.size())];
        dtcp::MessageWriter writer{version, code};
        std::vector<std::pair<Name, std::string>> fields;
        for (auto i = random.below(20); i > 0; --i) {
            const Name name = random.name();
            if (name == Name::authentication_info) {
                continue;
            }
            const std::string value = random.bytes();
            writer.text(name, value);
            fields.emplace_back(name, value);
        }
        const std::string raw = writer.sign(key);
        CAPTURE(raw);
        const auto response = dtcp::read_response(raw, key);
        REQUIRE(response);
        REQUIRE(response->version == version);
        REQUIRE(response->code == static_cast<std::uint16_t>(code));
        REQUIRE(response->text == dtcp::text(code));
        REQUIRE(response->other_lines.empty());
        REQUIRE(response->fields.size() == fields.size());
        for (std::size_t i = 0; i < fields.size(); ++i) {
            REQUIRE(response->fields[i].id == fields[i].first);
            REQUIRE(dtcp::unescape(response->fields[i].value) == fields[i].second);
        }
    }
}

TEST_CASE("request: an ADD that the client builds is the ADD that the server reads", "[dtcp]") {
    auto key = hmac("secret");
    const std::string raw =
        dtcp::RequestBuilder{Method::add, dtcp::version_0_7}
            .add(Name::cdest_id, fmt::format("{},{}", dtcp::escape_entry("c,1"), dtcp::escape_entry("!*")))
            .add(Name::source_address, "10.0.0.0/8,!10.0.0.7")
            .add(Name::timeout_packets, 5)
            .sign("csrc", 9, key);
    const auto add = dtcp::parse_add(dtcp::parse_request(raw));
    REQUIRE(add);
    CHECK(add->cdests == std::vector<dtcp::Cdest>{{.id = "c,1"}, {.id = "!*"}});
    CHECK(add->timeouts == dtcp::Timeouts{.packets = 5});
    CHECK(add->criterion.source_address.size() == 2);
}

}  // namespace
}  // namespace flowtap::test
