// Nanoseconds of the DTCP codec for an ordinary ADD of a real client, one thread:
//
//     dtcp-bench [--json]
//
// Rows: split (framing), parse (message form), typed (form and ADD), hmac (one HMAC-SHA1 over the signed
// bytes, the peer of the ratio), verify (form and signature), request (all that a server does with an ADD:
// framing, form, envelope, signature, typed value), answer (the signed response), bytewise (framing of a 64
// KiB message that comes byte by byte, a byte). Times and ratios are medians of interleaved rounds, so that
// both of a ratio saw the same machine.
#include "lib/dtcp/auth.h"
#include "lib/dtcp/framing.h"
#include "lib/dtcp/requests.h"
#include "lib/dtcp/response.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

namespace dtcp = lib::dtcp;

struct Row {
    std::string_view name;
    std::size_t runs;  ///< in one round
    double divisor;    ///< units of work in one run
    std::function<void()> run;
    std::vector<double> nanoseconds{};
};

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

dtcp::Hmac make_key() {
    constexpr std::string_view text = "Juniper";
    return dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}).value();
}

std::string ordinary_add(dtcp::Hmac& key) {
    std::string message =
        "ADD DTCP/0.7\r\nCsource-ID: ftap1\r\nCdest-ID: cd1\r\nSource-Address: 192.0.2.17\r\nDest-Address: "
        "*\r\n"
        "Source-Port: *\r\nDest-Port: 443\r\nProtocol: 6\r\nPriority: 2\r\nX-JTap-Cdest-Dest-Address: "
        "203.0.113.2\r\n"
        "X-JTap-Cdest-Dest-Port: 7890\r\nX-JTap-Cdest-Source-Address: 198.51.100.1\r\n"
        "X-JTap-Cdest-Source-Port: 49153\r\nX-JTap-Cdest-TTL: 64\r\nX-MD-Intercept-Id: 0011223344556677\r\n"
        "Flags: STATIC\r\nSeq: 4711\r\n";
    key.sign(message);
    return message;
}

volatile std::uint64_t sink = 0;

void use(std::uint64_t value) {
    sink = sink + value;
}

int run(bool json) {
    auto key = make_key();
    const std::string add = ordinary_add(key);
    const auto parsed = dtcp::parse_request(add);
    const std::string signed_bytes{parsed.signed_bytes()};
    const std::string longest = std::string(dtcp::max_message - 4, 'a') + "\r\n\r\n";
    dtcp::Splitter splitter;
    dtcp::Splitter byte_splitter;

    std::vector<Row> rows;
    rows.push_back({"hmac", 50, 1, [&] { use(key.digest(signed_bytes)[0]); }});
    rows.push_back({"split", 50, 1, [&] {
                        std::string_view input = add;
                        use((*splitter.next(input))->size());
                    }});
    rows.push_back({"parse", 50, 1, [&] { use(dtcp::parse_request(add).parameters().size()); }});
    rows.push_back({"typed", 50, 1, [&] { use(dtcp::parse_add(dtcp::parse_request(add))->cdests.size()); }});
    rows.push_back({"verify", 50, 1, [&] { use(key.verify(dtcp::parse_request(add)) ? 1 : 0); }});
    rows.push_back({"request", 50, 1, [&] {
                        std::string_view input = add;
                        const auto message = splitter.next(input);
                        const auto request = dtcp::parse_request(**message);
                        const auto envelope = dtcp::parse_envelope(request);
                        const bool good = envelope && key.verify(request);
                        use(good ? dtcp::parse_add(request)->priority : 0U);
                    }});
    rows.push_back({"answer", 50, 1, [&] {
                        use(dtcp::add_response(dtcp::version_0_7, 4711, 815, dtcp::Timestamp{}, key).size());
                    }});
    rows.push_back({"bytewise", 1, static_cast<double>(longest.size()), [&] {
                        for (const char& byte : longest) {
                            std::string_view input{&byte, 1};
                            use(byte_splitter.next(input)->has_value() ? 1 : 0);
                        }
                    }});

    constexpr int rounds = 1001;
    for (int round = 0; round < rounds; ++round) {
        for (Row& row : rows) {
            const auto from = std::chrono::steady_clock::now();
            for (std::size_t i = 0; i < row.runs; ++i) {
                row.run();
            }
            const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - from;
            row.nanoseconds.push_back(elapsed.count() / static_cast<double>(row.runs) / row.divisor);
        }
    }
    for (const Row& row : rows) {
        std::vector<double> ratios;
        for (std::size_t i = 0; i < row.nanoseconds.size(); ++i) {
            ratios.push_back(row.nanoseconds[i] / rows.front().nanoseconds[i]);
        }
        if (json) {
            const nlohmann::json line{{"row", row.name},
                                      {"bytes", add.size()},
                                      {"nanoseconds", median(row.nanoseconds)},
                                      {"peer", "hmac"},
                                      {"ratio", median(ratios)}};
            std::puts(line.dump().c_str());
        } else {
            std::printf("%-9s %9.1f ns  %6.2f of hmac\n", std::string{row.name}.c_str(),
                        median(row.nanoseconds), median(ratios));
        }
    }
    return 0;
}

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    const bool json = argc == 2 && std::string_view{argv[1]} == "--json";
    if (argc > 1 && !json) {
        std::fprintf(stderr, "usage: %s [--json]\n", argv[0]);
        return 2;
    }
    return flowtap::test::run(json);
}
