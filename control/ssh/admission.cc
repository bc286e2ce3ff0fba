#include "control/ssh/admission.h"

#include <algorithm>
#include <cstring>
#include <netinet/in.h>
#include <span>

namespace flowtap::control::ssh {

std::string_view to_string(Verdict verdict) {
    switch (verdict) {
        case Verdict::admitted:
            return "admitted";
        case Verdict::access_list:
            return "access list";
        case Verdict::connection_limit:
            return "connection-limit";
        case Verdict::rate_limit_share:
            return "rate-limit-share";
        case Verdict::rate_limit:
            return "rate-limit";
    }
    return "unknown";
}

Admission::Admission(const lib::SshConfig& config)
    : access_(config.access),
      connection_limit_(config.connection_limit),
      rate_(config.rate_limit),
      share_(share_of(config.rate_limit, config.rate_limit_share)) {}

Verdict Admission::decide(const lib::IpAddress& client, std::size_t sessions, RateLimit::TimePoint now) {
    const auto covers = [&client](const lib::Prefix& prefix) { return lib::contains(prefix, client); };
    if (!access_.empty() && !std::ranges::any_of(access_, covers)) {
        return Verdict::access_list;
    }
    if (sessions >= connection_limit_) {
        return Verdict::connection_limit;
    }
    // Few have been admitted in a minute, so that looking through them all is nothing beside starting an
    // sshd.
    std::erase_if(clients_, [now](const auto& client_rate) { return client_rate.second.idle(now); });
    if (rate_.full(now)) {
        return Verdict::rate_limit;
    }
    if (!clients_.try_emplace(client_of(client), share_).first->second.admit(now)) {
        return Verdict::rate_limit_share;
    }
    rate_.admit(now);
    return Verdict::admitted;
}

lib::Prefix client_of(const lib::IpAddress& address) {
    if (address.family == lib::Family::ipv4) {
        return {address, 32};
    }
    lib::Prefix prefix{address, 64};
    std::ranges::fill(std::span{prefix.address.bytes}.subspan(8), std::uint8_t{0});
    return prefix;
}

std::optional<lib::IpAddress> client_address(const sockaddr_storage& from) {
    lib::IpAddress address;
    if (from.ss_family == AF_INET) {
        sockaddr_in ipv4{};
        std::memcpy(&ipv4, &from, sizeof ipv4);
        std::memcpy(address.bytes.data(), &ipv4.sin_addr, 4);
        return address;
    }
    if (from.ss_family != AF_INET6) {
        return std::nullopt;
    }
    sockaddr_in6 ipv6{};
    std::memcpy(&ipv6, &from, sizeof ipv6);
    if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
        std::memcpy(address.bytes.data(), &ipv6.sin6_addr.s6_addr[12], 4);
        return address;
    }
    address.family = lib::Family::ipv6;
    std::memcpy(address.bytes.data(), &ipv6.sin6_addr, 16);
    return address;
}

}  // namespace flowtap::control::ssh
