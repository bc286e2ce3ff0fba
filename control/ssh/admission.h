// Whether a connection may become an SSH session, decided from its source address and from counts alone.
//
// The order is part of the meaning: a client outside the access list never uses up what the others may have,
// and a connection over the connection limit costs none of the minute's attempts.
#pragma once

#include "control/ssh/rate_limit.h"
#include "lib/address.h"
#include "lib/config.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <sys/socket.h>
#include <vector>

namespace flowtap::control::ssh {

enum class Verdict : std::uint8_t { admitted, access_list, connection_limit, rate_limit };

inline constexpr std::array refusals{Verdict::access_list, Verdict::connection_limit, Verdict::rate_limit};

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
};

/// The address in a socket address; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4
/// address that it stands for, so that no prefix is passed by spelling. Nothing for other families.
std::optional<lib::IpAddress> client_address(const sockaddr_storage& from);

}  // namespace flowtap::control::ssh
