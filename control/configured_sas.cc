#include "control/configured_sas.h"

#include "lib/suite.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace flowtap::control {

namespace {

/// What every host takes in one piece (RFC 791 section 3.2, RFC 8200 section 5): a tunnel through which less
/// fits would cut up the smallest of copies.
constexpr std::size_t least_ipv4_packet = 576;
constexpr std::size_t least_ipv6_packet = 1280;

/// Names key, salt, tunnel and all else that the dataplane is told of the SA together; one-way.
std::uint64_t identity(const lib::StaticSa& sa, std::uint16_t tunnel) {
    const auto text = fmt::format("flowtap sa {} {} {} {} {} {}", static_cast<std::uint32_t>(sa.spi),
                                  static_cast<unsigned>(sa.suite), tunnel, sa.extended_sequence,
                                  sa.udp_encapsulation, sa.padded_length);
    std::array<std::uint8_t, 32> digest{};
    unsigned int size = digest.size();
    static_cast<void>(::HMAC(::EVP_sha256(), sa.key.data(), static_cast<int>(sa.key.size()),
                             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
                             &size));
    std::uint64_t id = 0;
    std::memcpy(&id, digest.data(), sizeof(id));
    return id == 0 ? 1 : id;
}

/// Bytes in front of the ESP packet.
std::size_t outer_headers(const lib::StaticSa& sa, const lib::TunnelConfig& tunnel) {
    const std::size_t ip = tunnel.local.family == lib::Family::ipv4 ? 20 : 40;
    return ip + (sa.udp_encapsulation ? 8 : 0);
}

std::size_t least_packet(const lib::Config& config, std::uint16_t tunnel) {
    const bool ipv6 = std::ranges::any_of(config.routes, [&](const lib::RouteConfig& route) {
        return route.tunnel == tunnel && route.prefix.address.family == lib::Family::ipv6;
    });
    return ipv6 ? least_ipv6_packet : least_ipv4_packet;
}

/// What is wrong with the delivery port's mtu for the SA.
std::optional<std::string> room_error(const lib::Config& config, const ConfiguredSa& configured) {
    const auto& tunnel = config.tunnels[configured.tunnel];
    const auto& sa = configured.sa;
    const auto& suite = *lib::find_suite(sa.suite);
    const std::size_t headers = outer_headers(sa, tunnel);
    const std::size_t mtu = config.delivery.mtu;
    if (const auto size = headers + lib::esp_size(suite, sa.padded_length);
        sa.padded_length != 0 && size > mtu) {
        return fmt::format("{}: padded-length {} makes packets of {} bytes; the delivery port's mtu is {}",
                           configured.file.string(), sa.padded_length, size, mtu);
    }
    const std::size_t least = least_packet(config, configured.tunnel);
    if (sa.padded_length != 0 && sa.padded_length < least) {
        return fmt::format(
            "{}: padded-length {} cuts packets of tunnel \"{}\" that have to fit, up to {} bytes; "
            "{} or more is needed",
            configured.file.string(), sa.padded_length, tunnel.name, least, least);
    }
    if (const auto largest = lib::largest_inner(suite, mtu > headers ? mtu - headers : 0); largest < least) {
        return fmt::format(
            "{}: the delivery port's mtu, {}, leaves {} bytes for the packets inside of tunnel "
            "\"{}\" ({}); {} have to fit: an mtu of {} or more is needed",
            config.file.string(), mtu, largest, tunnel.name, suite.name, least,
            headers + lib::esp_size(suite, least));
    }
    return std::nullopt;
}

/// What two SAs must not have in common.
std::optional<std::string> conflict(const lib::Config& config, const ConfiguredSa& one,
                                    const ConfiguredSa& other) {
    const auto where = [&](const ConfiguredSa& configured) {
        return fmt::format("{} (tunnel \"{}\")", configured.file.string(),
                           config.tunnels[configured.tunnel].name);
    };
    if (one.digest == other.digest) {
        return fmt::format("{}: {} and {} have the same key: their IVs would meet. Each needs its own",
                           config.file.string(), where(one), where(other));
    }
    const auto& remote = config.tunnels[one.tunnel].remote;
    if (one.sa.spi == other.sa.spi && remote == config.tunnels[other.tunnel].remote) {
        return fmt::format(
            "{}: {} and {} have the same SPI, {:#x}, to {}: the gateway could not tell them apart. "
            "Each needs its own",
            config.file.string(), where(one), where(other), static_cast<std::uint32_t>(one.sa.spi),
            lib::to_string(remote));
    }
    return std::nullopt;
}

/// Of an SA with a short lifetime: a restart costs what is left of a lease.
constexpr std::uint64_t lease_parts = 256;
constexpr std::uint64_t shortest_lease = std::uint64_t{1} << 16;

}  // namespace

SequenceSpace ConfiguredSa::space() const {
    const SequenceSpace& whole = sa.extended_sequence ? extended_space : short_space;
    const std::uint64_t packets = sa.lifetimes.hard[lib::LifeUnit::packets];
    if (packets >= whole.end - 1) {
        return whole;
    }
    const auto part = std::max(shortest_lease, std::bit_floor(packets / lease_parts));
    return {std::min(part, whole.block), packets + 1};
}

std::expected<std::vector<ConfiguredSa>, std::vector<std::string>> load_sas(const lib::Config& config) {
    std::vector<ConfiguredSa> sas;
    std::vector<std::string> errors;
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        for (const auto& file : config.tunnels[i].sas) {
            auto sa = lib::load_sa_file(file);
            if (!sa) {
                for (const auto& error : sa.error()) {
                    errors.push_back(lib::to_string(error));
                }
                continue;
            }
            ConfiguredSa configured{.tunnel = static_cast<std::uint16_t>(i), .file = file, .sa = {}};
            const auto& suite = *lib::find_suite(sa->suite);
            configured.digest = key_digest(std::as_const(sa->key).bytes().first(suite.cipher_key_size));
            configured.id = identity(*sa, configured.tunnel);
            configured.sa = std::move(*sa);
            if (auto error = room_error(config, configured)) {
                errors.push_back(std::move(*error));
            }
            for (const auto& other : sas) {
                if (auto error = conflict(config, other, configured)) {
                    errors.push_back(std::move(*error));
                }
            }
            sas.push_back(std::move(configured));
        }
    }
    if (!errors.empty()) {
        return std::unexpected{std::move(errors)};
    }
    return sas;
}

std::vector<std::string> legacy_warnings(const std::vector<ConfiguredSa>& sas, const lib::Config& config) {
    std::vector<std::string> sentences;
    for (const auto& configured : sas) {
        const auto& suite = *lib::find_suite(configured.sa.suite);
        if (suite.legacy) {
            sentences.push_back(
                fmt::format("tunnel \"{}\": {}: {} is a legacy suite, too weak for a new installation; "
                            "\"{}\" is a good one",
                            config.tunnels[configured.tunnel].name, configured.file.string(), suite.name,
                            lib::suites.front().name));
        }
    }
    return sentences;
}

}  // namespace flowtap::control
