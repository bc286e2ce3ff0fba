// The one configuration file (TOML), read by every process of the box.
//
// load() checks everything that can be checked without a device: unknown keys, types, ranges, names that must
// be there or must be unique, overlapping routes. Every error says file, line, column, what was found and
// what would be right, and all errors of a file are reported together. Ownership: plain values.
#pragma once

#include "lib/address.h"
#include "lib/criterion.h"
#include "lib/records.h"

#include <array>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib {

struct ConfigError {
    std::string file;
    std::uint32_t line = 0;    ///< from 1; 0: the file as a whole
    std::uint32_t column = 0;  ///< from 1
    std::string message;       ///< what was found, and what would be right
};

/// "file:line:column: message"
std::string to_string(const ConfigError& error);

/// Tunnels over IP that the dataplane looks into.
enum class InnerTunnel : std::uint8_t { gre, gtp_u, vxlan };

struct DataplaneConfig {
    std::vector<std::uint32_t> workers;  ///< cores, one worker on each; not empty, no duplicate
    std::optional<std::uint32_t>
        manager;  ///< core of the manager thread; unset: any core that is no worker's
    std::uint32_t max_taps = 1'048'576;
    std::uint32_t memory_mib = 512;        ///< for buffers
    bool huge_pages = true;                ///< false: ordinary pages (slower)
    std::uint32_t mtu = 1518;              ///< largest frame without FCS, 64..9216
    std::uint32_t buffers = 16'384;        ///< frames in the receive pool of a worker
    std::uint32_t copy_buffers = 16'384;   ///< copies in the copy pool of a worker
    std::uint32_t queue_size = 1024;       ///< descriptors of a queue; a power of two
    double wait_for_control = 2.0;         ///< seconds that the first frame waits for the taps to be restored
    std::vector<InnerTunnel> inner_match;  ///< taps are matched inside of these, too
};

struct PortConfig {
    std::string name;
    std::string device;      ///< a PCI address, or a DPDK vdev string such as "net_af_packet0,iface=eth1"
    std::uint32_t line = 0;  ///< where `device` stands in the file, from 1: that it is unusable shows later
    std::uint32_t column = 0;
};

struct WireConfig {
    std::string name;
    std::uint16_t a = 0;  ///< index in ports
    std::uint16_t b = 0;
    bool mirror_link_loss = false;  ///< one side's link is taken down while the other side has lost its own
};

struct DeliveryConfig {
    std::uint16_t port = 0;  ///< index in ports
    std::vector<InterfaceAddress> addresses;
    std::string interface{};            ///< the kernel's interface on the port; empty: the port only sends
    std::vector<IpAddress> gateways{};  ///< of `interface`, the preferred ones first
    MacAddress next_hop{};              ///< without `interface`: where the port sends
    std::uint32_t mtu = 1500;           ///< largest IP packet on the delivery port, 576..9198
};

/// A tunnel takes two places in the dataplane while one SA takes over from another.
inline constexpr std::size_t max_tunnels = max_sas / 2;
inline constexpr std::size_t max_tunnel_sas = 64;
/// What opens needs a place each, so that every tunnel can have so many.
inline constexpr std::size_t max_tunnel_sas_in = max_sas / max_tunnels;

struct TunnelConfig {
    std::string name;
    IpAddress local;
    IpAddress remote;
    std::vector<std::filesystem::path> sas;  ///< files of static keys, in the order of their use
    /// The same for what the gateway seals, all at a time; empty: nothing is opened.
    std::vector<std::filesystem::path> sas_in{};
};

/// No two routes overlap: there is never a question which of two a copy takes.
struct RouteConfig {
    Prefix prefix;
    std::optional<std::uint16_t>
        tunnel;  ///< index in tunnels; unset: in clear, where the operator wrote clear = true
};

/// A content destination that an ADD may name without giving its addresses.
struct DestinationConfig {
    std::string name;
    IpAddress address;
    std::uint16_t port = 0;
    IpAddress source_address;
    std::uint16_t source_port = 0;
    std::uint8_t ttl = 255;
    std::optional<std::uint64_t> soft_limit;  ///< bit/s over 10 s: beyond it, congestion notifications
    std::optional<std::uint64_t> hard_limit;  ///< bit/s over 10 s: beyond it, taps are purged
    // Of every copy to this address and port, whatever name its tap gave.
    Shim shim = Shim::raw;                    ///< never jmirror: that is the tap's to ask for
    std::uint8_t dscp = 0;                    ///< 0..63
    std::optional<std::uint64_t> rate_limit;  ///< bit/s, as dataplane/rate_limits.h counts
    std::uint32_t burst_size = 1'048'576;     ///< bytes that rate_limit lets pass at once
};

/// What ENABLE and DISABLE name: packets that a tap with this policy does not copy.
struct DropPolicyConfig {
    std::string name;
    Criterion criterion;  ///< of the family that its addresses have; without addresses of either
    bool both_families = false;
};

/// Another name of a place where frames come in; a port's name is one by itself.
struct InterfaceConfig {
    std::string name;
    std::uint16_t port = 0;  ///< index in ports, of a wire
    std::optional<std::uint16_t> vlan =
        std::nullopt;  ///< as of InterfaceTerm; unset: the unit is the VLAN id
};

struct VrfConfig {
    std::string name;
    std::vector<std::string> interfaces;  ///< each is one by find_interface()
};

enum class SshSequence : std::uint8_t { none, session };
enum class PrivilegedAction : std::uint8_t { redirect, block };
/// A UDP address of somebody else's.
struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;  ///< host byte order, not 0

    bool operator==(const Endpoint&) const = default;
};

/// "192.0.2.1:1814", "[2001:db8::1]:1814"
std::string to_string(const Endpoint& endpoint);

struct SourceConfig {
    std::string name;                  ///< the Csource-ID
    std::filesystem::path key_file;    ///< the HMAC key: the file's bytes without a final line end
    std::vector<std::string> users;    ///< system accounts that may speak as it; default: the one of its name
    std::vector<Prefix> destinations;  ///< where it may deliver
    bool udp = false;                  ///< it may send requests in UDP datagrams
    std::vector<Endpoint> notify;      ///< where notifications go
    bool notify_sessions = false;      ///< its open SSH sessions get them too
    std::uint8_t notify_version = 7;   ///< minor version of DTCP/0.x that notifications are written in
    std::uint32_t max_criteria = 10'000;
    std::uint32_t max_destinations = 1'000;  ///< different Cdest-IDs at a time
    std::uint32_t requests_per_second = 0;   ///< 0: no limit
    std::vector<PrivilegedAction> actions;   ///< besides Copy
    SshSequence ssh_sequence = SshSequence::none;
};

struct ControlConfig {
    std::filesystem::path run_dir = "/run/flowtap";        ///< sockets
    std::filesystem::path state_dir = "/var/lib/flowtap";  ///< counter leases
    std::string user = "flowtap-control";                  ///< account that the control process runs as
    std::uint32_t max_criteria = 16'777'216;               ///< of all sources together
};

struct SshConfig {
    std::vector<IpAddress> listen;  ///< default: every address
    std::uint16_t port = 32001;
    std::vector<Prefix> access;           ///< clients that may connect; empty: all
    std::uint16_t connection_limit = 75;  ///< 1..250 established sessions
    std::uint16_t rate_limit = 150;       ///< 1..250 connection attempts a minute
    std::uint16_t rate_limit_share = 80;  ///< 1..100 percent of it that one client may use, rounded up
    std::uint32_t idle_timeout = 3600;    ///< seconds without a byte either way; 0: never
    std::vector<std::filesystem::path> host_keys;  ///< default: /etc/ssh/ssh_host_ed25519_key
};

/// DTCP over UDP. Off where `listen` is empty.
struct UdpConfig {
    std::vector<IpAddress> listen;
    std::vector<std::uint16_t> ports{1814};
};

struct Config {
    std::filesystem::path file;
    std::array<std::uint8_t, 32> digest{};  ///< SHA-256 of the file: both processes must have read the same
    DataplaneConfig dataplane;
    std::vector<PortConfig> ports;
    std::vector<WireConfig> wires;
    DeliveryConfig delivery;
    std::vector<TunnelConfig> tunnels;
    std::vector<RouteConfig> routes;
    std::vector<DestinationConfig> destinations;
    std::vector<InterfaceConfig> interfaces;
    std::vector<VrfConfig> vrfs;
    std::vector<SourceConfig> sources;
    std::vector<DropPolicyConfig>
        drop_policies;  ///< at most max_drop_policies; the index is TapService's bit
    ControlConfig control;
    SshConfig ssh;
    UdpConfig udp;
};

std::expected<Config, std::vector<ConfigError>> load_config(const std::filesystem::path& file);

/// The same from text; `name` stands for the file in messages.
std::expected<Config, std::vector<ConfigError>> parse_config(std::string_view text, std::string_view name);

}  // namespace flowtap::lib
