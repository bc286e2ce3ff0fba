#include "dataplane/slow_path/kernel_setup.h"

#include "crypto/esp.h"
#include "dataplane/slow_path/netlink.h"
#include "lib/next_hops.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <set>
#include <span>
#include <string_view>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace flowtap::dataplane::slow_path {
namespace {

/// A value below /proc/sys/net: what the interface needs that no netlink message says.
struct Parameter {
    std::string_view kind, key;
    int value;
};

/// ARP must not tell of the addresses that the box has elsewhere, the link's routers must not configure it,
/// and nothing is answered that came from where no delivery route leads to.
constexpr std::array of_ipv4{Parameter{"conf", "arp_ignore", 1},       Parameter{"conf", "arp_announce", 2},
                             Parameter{"conf", "accept_redirects", 0}, Parameter{"conf", "send_redirects", 0},
                             Parameter{"conf", "forwarding", 0},       Parameter{"conf", "rp_filter", 1}};
/// The link-local address serves at once, as the others do: without it the kernel solicits nobody (RFC 4861
/// section 4.3), and a driver that shares its interface with the kernel echoes that kernel's probe for the
/// same address, which would fail for good.
constexpr std::array of_ipv6{Parameter{"conf", "disable_ipv6", 0},     Parameter{"conf", "accept_dad", 0},
                             Parameter{"conf", "accept_ra", 0},        Parameter{"conf", "autoconf", 0},
                             Parameter{"conf", "accept_redirects", 0}, Parameter{"conf", "forwarding", 0}};
/// How soon a neighbour that went away is noticed (RFC 4861 section 10 has 30 s, 5 s and 1 s): used at most
/// so long without having answered, then asked every half second, three times, and three times more by
/// broadcast.
constexpr std::array of_neighbours{
    Parameter{"neigh", "base_reachable_time_ms", 2000}, Parameter{"neigh", "delay_first_probe_time", 1},
    Parameter{"neigh", "interval_probe_time_ms", 1000}, Parameter{"neigh", "retrans_time_ms", 500},
    Parameter{"neigh", "mcast_resolicit", 3}};

/// Of the interface that the delivery port's driver shares with the kernel: there the kernel is to answer
/// nothing, since what it took from there would come past the policy. Its addresses are elsewhere, so that
/// every packet fails the check of the reverse path.
constexpr std::array of_shared{Parameter{"conf", "arp_ignore", 8}, Parameter{"conf", "rp_filter", 1},
                               Parameter{"conf", "forwarding", 0}};
constexpr Parameter no_ipv6{"conf", "disable_ipv6", 1};

constexpr lib::IpAddress routed_ipv4{lib::Family::ipv4, {169, 254, 241, 10}};
constexpr lib::IpAddress routed_ipv6{lib::Family::ipv6,
                                     {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf1, 0x0a}};

std::span<const std::uint8_t> bytes_of(const lib::IpAddress& address) {
    return std::span(address.bytes).first(lib::address_size(address.family));
}

unsigned char kernel_family(lib::Family family) {
    return family == lib::Family::ipv4 ? AF_INET : AF_INET6;
}

/// One interface, one socket: the steps, each of which says what it was when it fails.
class Setup {
  public:
    Setup(const lib::Config& config, NetlinkSocket socket, unsigned interface)
        : config_(config),
          socket_(std::move(socket)),
          interface_(interface),
          kernel_has_ipv6_(std::filesystem::exists("/proc/sys/net/ipv6")) {}

    Result<void> run(const lib::MacAddress& mac, const std::string& shared);

  private:
    Result<void> done(NetlinkMessage& message, const std::string& what);
    Result<void> set(const std::string& interface, std::string_view version,
                     std::span<const Parameter> parameters);
    Result<void> set_parameters();
    Result<void> keep_off(const std::string& shared);
    Result<void> set_link(const lib::MacAddress& mac);
    Result<void> add_addresses();
    Result<void> add_neighbour(const lib::IpAddress& address, const lib::MacAddress* mac);
    Result<void> add_neighbours();
    Result<void> add_route(const lib::Prefix& prefix, const lib::TunnelConfig* tunnel);
    Result<void> add_routes();
    bool has(lib::Family family) const;
    std::unexpected<Failure> failed(std::string_view what, int error) const;

    const lib::Config& config_;
    NetlinkSocket socket_;
    unsigned interface_;
    bool kernel_has_ipv6_;
};

std::unexpected<Failure> Setup::failed(std::string_view what, int error) const {
    return std::unexpected(
        Failure{ExitCode::failure, fmt::format("[delivery] interface \"{}\": {}: {}",
                                               config_.delivery.interface, what, std::strerror(error))});
}

Result<void> Setup::done(NetlinkMessage& message, const std::string& what) {
    if (const int error = socket_.request(message); error != 0) {
        return failed(what, error);
    }
    return {};
}

bool Setup::has(lib::Family family) const {
    return std::ranges::any_of(config_.delivery.addresses, [family](const lib::InterfaceAddress& own) {
        return own.address.family == family;
    });
}

Result<void> Setup::set(const std::string& interface, std::string_view version,
                        std::span<const Parameter> parameters) {
    for (const Parameter& each : parameters) {
        const std::string path =
            fmt::format("/proc/sys/net/{}/{}/{}/{}", version, each.kind, interface, each.key);
        errno = 0;
        std::ofstream file(path);
        file << each.value << std::flush;
        if (!file) {
            return failed(path, errno);
        }
    }
    return {};
}

Result<void> Setup::set_parameters() {
    const std::string& name = config_.delivery.interface;
    auto result = set(name, "ipv4", of_ipv4);
    if (result && has(lib::Family::ipv4)) {
        result = set(name, "ipv4", of_neighbours);
    }
    if (result && has(lib::Family::ipv6)) {
        result = set(name, "ipv6", of_ipv6);
        return result ? set(name, "ipv6", of_neighbours) : result;
    }
    return result && kernel_has_ipv6_ ? set(name, "ipv6", {&no_ipv6, 1}) : result;
}

Result<void> Setup::keep_off(const std::string& shared) {
    if (shared.empty()) {
        return {};
    }
    auto result = set(shared, "ipv4", of_shared);
    return result && kernel_has_ipv6_ ? set(shared, "ipv6", {&no_ipv6, 1}) : result;
}

Result<void> Setup::set_link(const lib::MacAddress& mac) {
    ifinfomsg* body = nullptr;
    auto address = NetlinkMessage::make(RTM_NEWLINK, 0, body);
    body->ifi_index = static_cast<int>(interface_);
    address.put(IFLA_ADDRESS, mac).put(IFLA_MTU, config_.delivery.mtu);
    if (auto result = done(address, "MAC address and MTU"); !result) {
        return result;
    }
    auto up = NetlinkMessage::make(RTM_NEWLINK, 0, body);
    body->ifi_index = static_cast<int>(interface_);
    body->ifi_flags = body->ifi_change = IFF_UP;
    return done(up, "setting it up");
}

Result<void> Setup::add_addresses() {
    for (const lib::InterfaceAddress& own : config_.delivery.addresses) {
        ifaddrmsg* body = nullptr;
        auto message = NetlinkMessage::make(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body);
        body->ifa_family = kernel_family(own.address.family);
        body->ifa_prefixlen = own.length;
        body->ifa_index = interface_;
        if (own.address.family == lib::Family::ipv6) {
            body->ifa_flags = IFA_F_NODAD;  // the operator has assigned it: it serves at once
        }
        message.put(IFA_LOCAL, bytes_of(own.address)).put(IFA_ADDRESS, bytes_of(own.address));
        if (auto result = done(message, "address " + lib::to_string(own)); !result) {
            return result;
        }
    }
    return {};
}

/// With a MAC address: for good. Without: the kernel finds it, and asks again whenever it is in doubt.
Result<void> Setup::add_neighbour(const lib::IpAddress& address, const lib::MacAddress* mac) {
    ndmsg* body = nullptr;
    auto message = NetlinkMessage::make(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body);
    body->ndm_family = kernel_family(address.family);
    body->ndm_ifindex = static_cast<int>(interface_);
    body->ndm_state = mac != nullptr ? NUD_PERMANENT : NUD_NONE;
    message.put(NDA_DST, bytes_of(address));
    if (mac != nullptr) {
        message.put(NDA_LLADDR, *mac);
    } else {
        message.put(NDA_FLAGS_EXT, std::uint32_t{NTF_EXT_MANAGED});
    }
    return done(message, "neighbour " + lib::to_string(address));
}

Result<void> Setup::add_route(const lib::Prefix& prefix, const lib::TunnelConfig* tunnel) {
    const lib::Family family = prefix.address.family;
    rtmsg* body = nullptr;
    auto message = NetlinkMessage::make(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body);
    body->rtm_family = kernel_family(family);
    body->rtm_dst_len = prefix.length;
    body->rtm_table = RT_TABLE_MAIN;
    body->rtm_protocol = RTPROT_STATIC;
    body->rtm_scope = RT_SCOPE_UNIVERSE;
    body->rtm_type = RTN_UNICAST;
    body->rtm_flags = RTNH_F_ONLINK;
    message.put(RTA_DST, bytes_of(prefix.address))
        .put(RTA_OIF, std::uint32_t{interface_})
        .put(RTA_GATEWAY, bytes_of(family == lib::Family::ipv4 ? routed_ipv4 : routed_ipv6));
    if (tunnel != nullptr) {
        if (tunnel->local.family == family) {
            message.put(RTA_PREFSRC, bytes_of(tunnel->local));
        }
        message.nest(RTA_METRICS, [this](NetlinkMessage& metrics) {
            metrics.put(RTAX_MTU, tunnel_mtu(config_.delivery.mtu));
        });
    }
    return done(message, "route to " + lib::to_string(prefix));
}

Result<void> Setup::add_routes() {
    std::set<lib::Prefix> added;
    for (const lib::RouteConfig& route : config_.routes) {
        if (!has(route.prefix.address.family)) {
            continue;  // the kernel has no address to send from
        }
        added.insert(route.prefix);
        const auto* const tunnel = route.tunnel ? &config_.tunnels[*route.tunnel] : nullptr;
        if (auto result = add_route(route.prefix, tunnel); !result) {
            return result;
        }
    }
    // An IKE daemon speaks with the remote end itself.
    for (const lib::TunnelConfig& tunnel : config_.tunnels) {
        const lib::Prefix remote{tunnel.remote,
                                 static_cast<std::uint8_t>(8 * lib::address_size(tunnel.remote.family))};
        if (lib::on_delivery_link(config_.delivery, tunnel.remote) || !added.insert(remote).second) {
            continue;
        }
        if (auto result = add_route(remote, nullptr); !result) {
            return result;
        }
    }
    return {};
}

Result<void> Setup::add_neighbours() {
    for (const auto& [family, routed] :
         {std::pair{lib::Family::ipv4, routed_ipv4}, {lib::Family::ipv6, routed_ipv6}}) {
        if (!has(family)) {
            continue;
        }
        if (auto result = add_neighbour(routed, &routed_mac); !result) {
            return result;
        }
    }
    for (const lib::IpAddress& address : lib::next_hop_addresses(config_)) {
        if (auto result = add_neighbour(address, nullptr); !result) {
            return result;
        }
    }
    return {};
}

Result<void> Setup::run(const lib::MacAddress& mac, const std::string& shared) {
    Result<void> result = keep_off(shared);
    if (result) {
        result = set_parameters();
    }
    if (result) {
        result = set_link(mac);
    }
    if (result) {
        result = add_addresses();
    }
    if (result) {
        result = add_neighbours();
    }
    return result ? add_routes() : result;
}

}  // namespace

Result<void> set_up_kernel(const lib::Config& config, unsigned interface, const lib::MacAddress& mac,
                           const std::string& shared) {
    auto socket = NetlinkSocket::open(0);
    if (!socket) {
        return std::unexpected(Failure{ExitCode::failure, fmt::format("netlink: {}", std::strerror(errno))});
    }
    return Setup{config, std::move(*socket), interface}.run(mac, shared);
}

std::uint32_t tunnel_mtu(std::uint32_t delivery_mtu) {
    constexpr auto sealing = static_cast<std::uint32_t>(crypto::largest_headroom + crypto::largest_tailroom);
    return (delivery_mtu - sealing) / 4 * 4;
}

}  // namespace flowtap::dataplane::slow_path
