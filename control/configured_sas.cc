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

/// Names key, salt, tunnel, direction and all else that the dataplane is told of the SA together; one-way.
std::uint64_t identity(const lib::StaticSa& sa, std::uint16_t tunnel, lib::SaDirection direction) {
    const auto text =
        fmt::format("flowtap sa {} {} {} {} {} {}{}", static_cast<std::uint32_t>(sa.spi),
                    static_cast<unsigned>(sa.suite), tunnel, sa.extended_sequence, sa.udp_encapsulation,
                    sa.padded_length, direction == lib::SaDirection::opens ? " in" : "");
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

/// How long a key may seal is for the end that does: a lifetime here would look as if it were kept.
std::optional<std::string> life_error(const ConfiguredSa& configured) {
    const auto& sa = configured.sa;
    const auto longest = lib::longest_life(*lib::find_suite(sa.suite), sa.extended_sequence);
    if (sa.lifetimes == lib::complete({}, longest)) {
        return std::nullopt;
    }
    return fmt::format(
        "{}: lifetimes are kept by the end that seals, for this SA the gateway: here they have "
        "to be left out",
        configured.file.string());
}

std::string where(const lib::Config& config, const ConfiguredSa& configured) {
    return fmt::format("{} (tunnel \"{}\")", configured.file.string(),
                       config.tunnels[configured.tunnel].name);
}

/// What any two SAs must not have in common, whichever way they work.
std::optional<std::string> same_key(const lib::Config& config, const ConfiguredSa& one,
                                    const ConfiguredSa& other) {
    if (one.digest != other.digest) {
        return std::nullopt;
    }
    return fmt::format("{}: {} and {} have the same key: their IVs would meet. Each needs its own",
                       config.file.string(), where(config, one), where(config, other));
}

/// Who receives finds an SA by the SPI alone: the gateway what we seal, we what any gateway seals.
std::optional<std::string> same_spi(const lib::Config& config, const ConfiguredSa& one,
                                    const ConfiguredSa& other, lib::SaDirection direction) {
    const auto& remote = config.tunnels[one.tunnel].remote;
    const bool opens = direction == lib::SaDirection::opens;
    if (one.sa.spi != other.sa.spi || (!opens && remote != config.tunnels[other.tunnel].remote)) {
        return std::nullopt;
    }
    return fmt::format(
        "{}: {} and {} have the same SPI, {:#x}{}: {} could not tell them apart. Each needs "
        "its own",
        config.file.string(), where(config, one), where(config, other),
        static_cast<std::uint32_t>(one.sa.spi), opens ? "" : ", to " + lib::to_string(remote),
        opens ? "this box" : "the gateway");
}

/// One reading of all files.
class Loader {
  public:
    explicit Loader(const lib::Config& config) : config_{config} {}

    void load(std::uint16_t tunnel, const std::filesystem::path& file, lib::SaDirection direction);

    ConfiguredSas sas;
    std::vector<std::string> errors;

  private:
    void check(std::optional<std::string> error) {
        if (error) {
            errors.push_back(std::move(*error));
        }
    }

    const lib::Config& config_;
};

void Loader::load(std::uint16_t tunnel, const std::filesystem::path& file, lib::SaDirection direction) {
    auto sa = lib::load_sa_file(file);
    if (!sa) {
        for (const auto& error : sa.error()) {
            errors.push_back(lib::to_string(error));
        }
        return;
    }
    ConfiguredSa configured{.tunnel = tunnel, .file = file, .sa = {}};
    const auto& suite = *lib::find_suite(sa->suite);
    configured.digest = key_digest(std::as_const(sa->key).bytes().first(suite.cipher_key_size));
    configured.id = identity(*sa, tunnel, direction);
    configured.sa = std::move(*sa);
    const bool seals = direction == lib::SaDirection::seals;
    check(seals ? room_error(config_, configured) : life_error(configured));
    for (const auto* const list : {&sas.sealing, &sas.opening}) {
        for (const auto& other : *list) {
            check(same_key(config_, other, configured));
        }
    }
    auto& own = seals ? sas.sealing : sas.opening;
    for (const auto& other : own) {
        check(same_spi(config_, other, configured, direction));
    }
    own.push_back(std::move(configured));
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

std::expected<ConfiguredSas, std::vector<std::string>> load_sas(const lib::Config& config) {
    Loader loader{config};
    for (std::size_t tunnel = 0; tunnel < config.tunnels.size(); ++tunnel) {
        for (const auto& file : config.tunnels[tunnel].sas) {
            loader.load(static_cast<std::uint16_t>(tunnel), file, lib::SaDirection::seals);
        }
        for (const auto& file : config.tunnels[tunnel].sas_in) {
            loader.load(static_cast<std::uint16_t>(tunnel), file, lib::SaDirection::opens);
        }
    }
    if (!loader.errors.empty()) {
        return std::unexpected{std::move(loader.errors)};
    }
    return std::move(loader.sas);
}

std::vector<std::string> legacy_warnings(const ConfiguredSas& sas, const lib::Config& config) {
    std::vector<std::string> sentences;
    for (const auto* const list : {&sas.sealing, &sas.opening}) {
        for (const auto& configured : *list) {
            const auto& suite = *lib::find_suite(configured.sa.suite);
            if (suite.legacy) {
                sentences.push_back(
                    fmt::format("tunnel \"{}\": {}: {} is a legacy suite, too weak for a new installation; "
                                "\"{}\" is a good one",
                                config.tunnels[configured.tunnel].name, configured.file.string(), suite.name,
                                lib::suites.front().name));
            }
        }
    }
    return sentences;
}

}  // namespace flowtap::control
