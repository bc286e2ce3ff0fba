// Authentication-Info: HMAC-SHA1 (RFC 2104) in lower-case hex over the raw bytes before its line (dtcp.md
// section 3).
#pragma once

#include "lib/dtcp/message.h"

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

extern "C" struct evp_mac_ctx_st;

namespace flowtap::lib::dtcp {

/// The key of one control source, scheduled once and used for many messages. OpenSSL keeps what it needs of
/// the key on its own heap and wipes it; the caller's bytes are not needed after create(). Not thread-safe:
/// one owner.
class Hmac {
  public:
    using Digest = std::array<std::uint8_t, 20>;

    /// Errors: an empty key, or an OpenSSL without SHA-1; a sentence for a person, never the key.
    static std::expected<Hmac, std::string> create(std::span<const std::uint8_t> key);

    Digest digest(std::string_view bytes);
    std::string hex(std::string_view bytes);

    /// Constant time in the digest. False where the message has no Authentication-Info.
    bool verify(const Request& request);
    /// `expected`: 40 lower-case hex digits; anything else is false.
    bool verify(std::string_view bytes, std::string_view expected);

    /// Appends the AUTHENTICATION-INFO line and the empty line to a message that ends with a line end.
    void sign(std::string& message);

  private:
    struct Free {
        void operator()(evp_mac_ctx_st* context) const;
    };
    using Context = std::unique_ptr<evp_mac_ctx_st, Free>;

    explicit Hmac(Context context) : context_{std::move(context)} {}

    Context context_;
};

}  // namespace flowtap::lib::dtcp
