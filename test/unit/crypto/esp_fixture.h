// What the tests of crypto/ share: keys, packets, and OpenSSL as an oracle that shares no code with IPsec-MB.
#pragma once

#include "crypto/engine.h"
#include "crypto/esp.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"
#include "crypto/outbound_sa.h"
#include "crypto/sealer.h"
#include "lib/address.h"
#include "test/support/esp_oracle.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string_view>
#include <vector>

namespace flowtap::test {

using Bytes = std::vector<std::uint8_t>;

inline constexpr lib::Spi spi{0x1001};

/// 32 bytes of AES key and 4 of salt, all different.
std::span<const std::uint8_t> key();

/// Key material of any suite, all bytes different; of AES-256-GCM it is key().
Bytes key_of(lib::Suite suite);
EspOracle oracle_of(lib::Suite suite, bool extended = false);

Bytes from_hex(std::string_view digits);
Bytes concat(std::initializer_list<std::span<const std::uint8_t>> parts);
Bytes random_bytes(std::mt19937_64& random, std::size_t size);

lib::IpAddress address(std::string_view text);

/// An IP packet of `size` bytes (at least its header's) with right lengths and random content; `ds` is the DS
/// field with ECN. The IPv4 header checksum is left random: nothing here looks at it.
Bytes ipv4_packet(std::mt19937_64& random, std::size_t size, std::uint8_t ds = 0);
Bytes ipv6_packet(std::mt19937_64& random, std::size_t size, std::uint8_t ds = 0);

crypto::Sealer make_sealer(crypto::Implementation implementation = crypto::Implementation::automatic);
crypto::Opener make_opener(crypto::Implementation implementation = crypto::Implementation::automatic);

/// An SA with the outer family, spi and key() above, lease [0, 2^32) unless given.
crypto::OutboundParameters outbound(lib::Family family = lib::Family::ipv4);
crypto::OutboundParameters outbound(lib::Suite suite, const Bytes& material,
                                    lib::Family family = lib::Family::ipv4);
std::unique_ptr<crypto::OutboundSa> make_sa(const crypto::OutboundParameters& parameters);
std::unique_ptr<crypto::InboundSa> make_inbound(std::optional<std::size_t> window = 64);

/// Implementations that this CPU runs.
std::vector<crypto::Implementation> implementations();

/// Seals one packet in a buffer of exactly the right size and returns the outer packet; fails the test if
/// refused.
Bytes seal(crypto::Sealer& sealer, crypto::OutboundSa& sa, std::span<const std::uint8_t> inner);

/// The same for many, in one burst.
std::vector<Bytes> seal_all(crypto::Sealer& sealer, crypto::OutboundSa& sa, std::span<const Bytes> inners);

/// OpenSSL's AES-256-GCM, to seal with a key of 16 bytes AES-128-GCM; `tag` is 16 bytes. open returns false
/// when the tag does not fit.
void openssl_seal(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
                  std::span<const std::uint8_t> aad, std::span<std::uint8_t> text,
                  std::span<std::uint8_t> tag);
bool openssl_open(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
                  std::span<const std::uint8_t> aad, std::span<std::uint8_t> text,
                  std::span<const std::uint8_t> tag);

/// An ESP packet, from the SPI to the ICV, under spi and key() with any plaintext (trailer included), made by
/// OpenSSL.
Bytes esp_of(std::uint32_t sequence, std::span<const std::uint8_t> plain, std::uint64_t iv = 77);

}  // namespace flowtap::test
