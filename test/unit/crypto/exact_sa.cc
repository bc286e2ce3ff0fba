#include "test/unit/crypto/exact_sa.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace flowtap::test {
namespace {

constexpr std::uint64_t wrap = std::uint64_t{1} << 32;
constexpr std::size_t largest_payload = 9000;
constexpr std::size_t combinations = 16;

bool is_slow(const lib::SuiteInfo& suite) {
    return suite.cipher == lib::Cipher::triple_des_cbc;
}

lib::IpAddress draw_address(std::mt19937_64& random, lib::Family family) {
    lib::IpAddress drawn{.family = family};
    std::generate_n(drawn.bytes.begin(), lib::address_size(family),
                    [&] { return static_cast<std::uint8_t>(random()); });
    return drawn;
}

std::uint64_t draw_first(std::mt19937_64& random, bool extended, std::uint32_t packets) {
    const std::uint64_t block = random() % 2 == 0 ? 0 : random() % (wrap / 2);
    if (extended) {
        const std::uint64_t before = random() % 2 == 0 ? random() % packets : random() % wrap;
        return block == 0 && random() % 4 == 0 ? 1 : (block + 1) * wrap - before;
    }
    switch (random() % 3) {
        case 0:
            return block * wrap + 1;
        case 1:
            return (block + 1) * wrap - packets;
        default:
            return block * wrap + 1 + random() % (wrap - packets);
    }
}

}  // namespace

std::size_t wanted_packets(const lib::SuiteInfo& suite) {
    if (const char* const text = std::getenv("FLOWTAP_ESP_PACKETS"); text != nullptr) {
        return std::strtoull(text, nullptr, 10);
    }
    if (std::getenv("FLOWTAP_LONG") != nullptr) {
        return 1'000'000;
    }
    return is_slow(suite) ? 1024 : 4096;
}

Split split(std::size_t wanted) {
    const auto packets =
        static_cast<std::uint32_t>(std::clamp<std::size_t>(wanted / combinations / 2, 64, 4096));
    return {(wanted + packets - 1) / packets, packets};
}

crypto::OutboundParameters DrawnSa::outbound() const {
    crypto::OutboundParameters parameters;
    parameters.spi = lib::Spi{spi};
    parameters.suite = suite->suite;
    parameters.key = material;
    parameters.local = outer.local;
    parameters.remote = outer.remote;
    parameters.lease = {first, packets};
    parameters.ttl = outer.ttl;
    parameters.dscp = outer.dscp;
    parameters.extended_sequence = extended;
    parameters.udp_encapsulation = outer.udp;
    parameters.padded_length = padded_length;
    return parameters;
}

crypto::InboundParameters DrawnSa::inbound(std::size_t window) const {
    return {.spi = lib::Spi{spi},
            .suite = suite->suite,
            .key = material,
            .window = window,
            .extended_sequence = extended,
            .highest = extended ? first - 1 : 0};
}

std::string DrawnSa::description() const {
    return fmt::format("{} by {}, SPI {:#x}, over {}{}, from {}{}, padded to {}", suite->name,
                       to_string(implementation), spi,
                       outer.local.family == lib::Family::ipv4 ? "IPv4" : "IPv6", outer.udp ? " and UDP" : "",
                       first, extended ? ", extended" : "", padded_length);
}

DrawnSa draw_sa(std::mt19937_64& random, const lib::SuiteInfo& suite, std::size_t number,
                std::uint32_t packets) {
    static const std::vector<crypto::Implementation> available = implementations();
    const lib::Family family = (number & 1) == 0 ? lib::Family::ipv4 : lib::Family::ipv6;
    DrawnSa sa;
    sa.suite = &suite;
    sa.implementation =
        is_slow(suite) ? available.back() : available[(number + number / combinations) % available.size()];
    sa.material = random_bytes(random, suite.key_material_size());
    sa.spi = lib::first_spi + static_cast<std::uint32_t>(random() % (UINT32_MAX - lib::first_spi));
    sa.extended = (number & 2) != 0 && suite.cipher != lib::Cipher::triple_des_cbc;
    sa.padded_length = static_cast<std::uint16_t>((number & 8) != 0 ? 64 + random() % largest_payload : 0);
    sa.packets = packets;
    sa.first = draw_first(random, sa.extended, packets);
    sa.outer = {
        .local = draw_address(random, family),
        .remote = draw_address(random, family),
        .ttl = static_cast<std::uint8_t>(1 + random() % 255),
        .dscp = random() % 2 == 0 ? std::optional(static_cast<std::uint8_t>(random() % 64)) : std::nullopt,
        .udp = (number & 4) != 0};
    return sa;
}

Deck::Deck(std::mt19937_64& random) : random_(random), content_(random_bytes(random, std::size_t{1} << 20)) {
    std::vector<Card> small;
    for (std::size_t payload = 0; payload <= largest_payload; ++payload) {
        for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
            (payload < 200 ? small : cards_).push_back({family, payload});
        }
    }
    std::ranges::shuffle(small, random);
    std::ranges::shuffle(cards_, random);
    for (std::size_t i = 0; i < small.size(); ++i) {
        cards_.insert(cards_.begin() + static_cast<std::ptrdiff_t>(2 * i), small[i]);
    }
}

Bytes Deck::next() {
    const auto [family, payload] = cards_[next_];
    if (++next_ == cards_.size()) {
        next_ = 0;
        std::ranges::shuffle(cards_, random_);
    }
    const bool ipv4 = family == lib::Family::ipv4;
    const std::size_t size = payload + (ipv4 ? 20 : 40);
    const auto from = content_.begin() + static_cast<std::ptrdiff_t>(random_() % (content_.size() - size));
    Bytes packet(from, from + static_cast<std::ptrdiff_t>(size));
    packet[0] = static_cast<std::uint8_t>(ipv4 ? 0x45 : 0x60 | (packet[0] & 0x0f));
    const std::size_t says = ipv4 ? size : payload;
    packet[ipv4 ? 2 : 4] = static_cast<std::uint8_t>(says >> 8);
    packet[ipv4 ? 3 : 5] = static_cast<std::uint8_t>(says);
    return packet;
}

std::uint8_t next_header_of(const Bytes& inner) {
    return inner[0] >> 4 == 4 ? 4 : 41;
}

std::uint8_t ds_of(const Bytes& inner) {
    return inner[0] >> 4 == 4 ? inner[1] : static_cast<std::uint8_t>(inner[0] << 4 | inner[1] >> 4);
}

}  // namespace flowtap::test
