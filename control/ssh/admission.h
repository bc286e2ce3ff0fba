// Whether a connection may become an SSH session, decided from its source address and from counts alone.
//
// The order is part of the meaning: a client outside the access list never uses up what the others may have,
// a connection over the connection limit costs none of the minute's attempts, and neither does one that is
// over its client's share of them: what one client cannot have is kept for the others.
#pragma once

#include "control/ssh/rate_limit.h"
#include "lib/address.h"
#include "lib/config.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <sys/socket.h>
#include <vector>

namespace flowtap::control::ssh {

enum class Verdict : std::uint8_t { admitted, access_list, connection_limit, rate_limit_share, rate_limit };

inline constexpr std::array refusals{Verdict::access_list, Verdict::connection_limit,
                                     Verdict::rate_limit_share, Verdict::rate_limit};

/// The name of the setting that decided.
std::string_view to_string(Verdict verdict);

class Admission {
  public:
    explicit Admission(const lib::SshConfig& config);

    /// `sessions`: those established now. An admitted connection counts towards the rate limit.
    Verdict decide(const lib::IpAddress& client, std::size_t sessions, RateLimit::TimePoint now);

  private:
    std::vector<lib::Prefix> access_;
    std::size_t connection_limit_;
    RateLimit rate_;
    std::uint16_t share_;
    std::map<lib::Prefix, RateLimit>
        clients_;  ///< those with an admission in the last window, at most rate-limit many
};

/// Who counts as one client: an IPv4 address, an IPv6 /64, as whoever has one address of it has them all.
lib::Prefix client_of(const lib::IpAddress& address);

/// Admissions in a window that one client may have: `percent` of the limit, rounded up.
constexpr std::uint16_t share_of(std::uint16_t limit, std::uint16_t percent) {
    return static_cast<std::uint16_t>((std::uint32_t{limit} * percent + 99) / 100);
}

/// The address in a socket address; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4
/// address that it stands for, so that no prefix is passed by spelling. Nothing for other families.
std::optional<lib::IpAddress> client_address(const sockaddr_storage& from);

}  // namespace flowtap::control::ssh
