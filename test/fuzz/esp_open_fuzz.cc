// Opening ESP. The first byte chooses the suite, the next what follows: bit 0, a plaintext with its trailer,
// which is sealed right (cut to what the suite can encrypt), so that the checks behind the ICV get their
// share; else an ESP packet as it came from the wire. Bit 1: with extended sequence numbers.
#include "crypto/engine.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"
#include "test/support/esp_oracle.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t number = 0x1001;  // of the SA
constexpr std::uint64_t sequence = 7;

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

crypto::Opener& opener() {
    static crypto::Opener only = crypto::Opener::create(crypto::Engine::create().value()).value();
    return only;
}

EspOracle oracle(const lib::SuiteInfo& suite, bool extended) {
    std::vector<std::uint8_t> key(suite.key_material_size());
    std::ranges::generate(key, [n = std::uint8_t{0}]() mutable { return ++n; });
    return {suite.suite, std::move(key), extended};
}

/// One of each kind, made when it is first wanted.
crypto::InboundSa& association(const lib::SuiteInfo& suite, bool extended) {
    static std::array<std::array<std::unique_ptr<crypto::InboundSa>, 2>, lib::suites.size()> made;
    auto& place = made[static_cast<std::size_t>(suite.suite)][extended ? 1 : 0];
    if (!place) {
        const auto key = oracle(suite, extended).key;
        place = crypto::InboundSa::create(opener().engine(), {.spi = lib::Spi{number},
                                                              .suite = suite.suite,
                                                              .key = key,
                                                              .window = 64,
                                                              .extended_sequence = extended})
                    .value();
    }
    place->restart();  // every input sees a window that has seen nothing
    return *place;
}

Bytes sealed(const lib::SuiteInfo& suite, bool extended, std::span<const std::uint8_t> plain) {
    const Bytes iv(suite.iv_size, 7);
    return oracle(suite, extended)
        .seal(number, sequence, iv, plain.first(plain.size() / suite.alignment * suite.alignment));
}

void check(const lib::SuiteInfo& suite, bool extended, Bytes packet, bool is_authentic) {
    using crypto::OpenVerdict;
    crypto::InboundSa& sa = association(suite, extended);
    const Bytes before = packet;
    const crypto::Opened result = opener().open(sa, packet);
    require(result.verdict < OpenVerdict::count_, "the verdict is one of the names");
    require(result.verdict != OpenVerdict::no_cipher, "the cipher works");
    require((result.verdict == OpenVerdict::opened) == !result.inner.empty(),
            "an opened packet has a content");
    if (is_authentic) {
        require(result.verdict != OpenVerdict::bad_icv && result.verdict != OpenVerdict::wrong_spi &&
                    result.verdict != OpenVerdict::replayed && result.verdict != OpenVerdict::misaligned,
                "a rightly sealed packet passes the ICV check");
    }
    if (!result.inner.empty()) {
        const std::size_t in_front = std::size_t{8} + suite.iv_size;
        require(result.inner.data() == packet.data() + in_front &&
                    in_front + result.inner.size() + 2 + suite.icv_size <= packet.size(),
                "the content lies between IV and trailer");
        require(result.inner[0] >> 4 == (result.next_header == crypto::NextHeader::ipv4 ? 4 : 6),
                "the content is of the version that the next header says");
        require(oracle(suite, extended).open(before, result.sequence).has_value(), "OpenSSL opens it too");
        Bytes again = before;
        require(opener().open(sa, again).verdict == OpenVerdict::replayed, "a packet opens once");
    }
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace lib = flowtap::lib;
    namespace test = flowtap::test;
    if (size < 2) {
        return 0;
    }
    const lib::SuiteInfo& suite = lib::suites[data[0] % lib::suites.size()];
    const bool extended = (data[1] & 2) != 0;
    const std::span<const std::uint8_t> rest(data + 2, size - 2);
    if ((data[1] & 1) == 0) {
        test::check(suite, extended, {rest.begin(), rest.end()}, false);
    } else {
        test::check(suite, extended, test::sealed(suite, extended, rest), true);
    }
    return 0;
}
