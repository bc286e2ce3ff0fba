// The schema's tables. What a key is called, allows, means and falls back to stands here and nowhere else.
#include "lib/config_schema.h"
#include "lib/dtcp/filter.h"

#include <array>
#include <limits>
#include <utility>

namespace flowtap::lib {
namespace {

constexpr std::uint32_t largest_core = 1023;
constexpr std::uint32_t most_taps = 16'777'216;
constexpr std::size_t many = 4096;
constexpr std::size_t most_gateways = 8;
constexpr std::uint64_t most_bandwidth = 1'000'000'000'000'000;  // bit/s
constexpr std::uint64_t most_rate = 1'000'000'000'000;  // bit/s: counts in 64 bits of bytes for 4 years
constexpr std::uint32_t least_burst = 131'072;          // dataplane/rate_limits.h: two IP packets
constexpr std::uint32_t most_burst = 1'000'000'000;

/// A section that is a table of the Config, or a list of tables.
template <typename Section>
ConfigSection table_section(std::string_view name, bool required, Section Config::* member,
                            std::string_view description, const std::vector<ConfigKey<Section>>& keys) {
    ConfigSection section{.name = name, .required = required, .description = description};
    for (const auto& key : keys) {
        section.keys.push_back(key.info);
    }
    section.read = [=](ConfigReader& reader, const toml::table& table, Config& config) {
        read_section(reader, table, fmt::format("[{}]", name), keys, config.*member);
    };
    return section;
}

template <typename Section>
using Finish = void (*)(ConfigReader&, const toml::table&, Section&);

template <typename Section>
ConfigSection list_section(std::string_view name, bool required, std::size_t most,
                           std::vector<Section> Config::* member, std::string_view description,
                           const std::vector<ConfigKey<Section>>& keys, Finish<Section> finish = nullptr) {
    ConfigSection section{
        .name = name, .list = true, .required = required, .most = most, .description = description};
    for (const auto& key : keys) {
        section.keys.push_back(key.info);
    }
    section.read = [=](ConfigReader& reader, const toml::table& table, Config& config) {
        Section& element = (config.*member).emplace_back();
        read_section(reader, table, fmt::format("[[{}]]", name), keys, element);
        if (finish != nullptr) {
            finish(reader, table, element);
        }
    };
    return section;
}

ConfigSection dataplane_section() {
    using S = DataplaneConfig;
    return table_section<S>(
        "dataplane", true, &Config::dataplane, "The packet workers and their memory.",
        {required_key("workers", &S::workers,
                      list_of(integer<std::uint32_t>(0, largest_core), 1, max_workers),
                      "cores, one worker on each; a worker takes its core whole"),
         optional_key("manager", &S::manager, integer<std::uint32_t>(0, largest_core),
                      "core of the manager thread, not one of a worker", "any core that is no worker's"),
         optional_key("max-taps", &S::max_taps, integer<std::uint32_t>(1, most_taps),
                      "taps that can be installed at a time"),
         optional_key("memory-mib", &S::memory_mib, integer<std::uint32_t>(64, 1'048'576),
                      "memory for packet buffers, MiB"),
         optional_key("huge-pages", &S::huge_pages, boolean(), "false: use ordinary pages, which is slower"),
         optional_key("mtu", &S::mtu, integer<std::uint32_t>(64, 9216),
                      "largest frame that is forwarded, bytes without FCS"),
         optional_key("buffers", &S::buffers, integer<std::uint32_t>(512, 4'194'304),
                      "frames in the receive pool of a worker"),
         optional_key("copy-buffers", &S::copy_buffers, integer<std::uint32_t>(512, 4'194'304),
                      "copies in the copy pool of a worker"),
         optional_key("queue-size", &S::queue_size, power_of_two(64, 32'768),
                      "descriptors of a port's queue"),
         optional_key("wait-for-control", &S::wait_for_control, seconds(0, 3600),
                      "how long the first frame waits for the taps to be restored"),
         optional_key("inner-match", &S::inner_match,
                      list_of(choice<InnerTunnel>({{"gre", InnerTunnel::gre},
                                                   {"gtp-u", InnerTunnel::gtp_u},
                                                   {"vxlan", InnerTunnel::vxlan}}),
                              0, 3),
                      "tunnels whose packets taps match by their inner addresses and ports, too")});
}

ConfigSection port_section() {
    using S = PortConfig;
    return list_section<S>(
        "port", true, max_ports, &Config::ports, "A network port that the dataplane takes for itself.",
        {required_key("name", &S::name, name_text(), "what taps and the rest of this file call it"),
         required_key("device", &S::device,
                      text("a PCI address such as \"0000:03:00.0\", or a DPDK virtual device such as "
                           "\"net_af_packet0,iface=eth1\""),
                      "the device")},
        [](ConfigReader& reader, const toml::table& table, S& port) {
            reader.ports.push_back(port.name);
            if (const toml::node* device = table.get("device")) {
                port.line = device->source().begin.line;
                port.column = device->source().begin.column;
            }
        });
}

ConfigSection wire_section() {
    using S = WireConfig;
    return list_section<S>(
        "wire", true, max_ports / 2, &Config::wires,
        "Two ports: what one receives leaves on the other, unchanged.",
        {required_key("name", &S::name, name_text(), "what the tools call it"),
         required_key("a", &S::a, reference(&ConfigReader::ports, "port"),
                      "one side; the targets', where a copy says its direction and addresses do not tell"),
         required_key("b", &S::b, reference(&ConfigReader::ports, "port"), "the other side"),
         optional_key(
             "mirror-link-loss", &S::mirror_link_loss, boolean(),
             "true: when one side loses its link, the other side's is taken down until it is back, so "
             "that the routers at both ends notice; the devices must be able to do it")});
}

ConfigSection delivery_section() {
    using S = DeliveryConfig;
    return table_section<S>(
        "delivery", true, &Config::delivery, "Where copies leave the box.",
        {required_key("port", &S::port, reference(&ConfigReader::ports, "port"),
                      "the port, which is in no wire"),
         optional_key("addresses", &S::addresses, list_of(interface_address(), 0, many),
                      "addresses of this box on that port"),
         optional_key("interface", &S::interface, interface_text(),
                      "the network interface that the kernel gets on the port: it has the addresses, answers "
                      "ARP, ND and ICMP, and reaches the content destinations by the routes below",
                      "none: the port only sends"),
         optional_key("gateways", &S::gateways, list_of(ip_address(), 1, most_gateways),
                      "with `interface`: the routers on the port's link; of each IP version, the first one "
                      "that answers is sent to",
                      "none"),
         optional_key("next-hop-mac", &S::next_hop, mac_address(),
                      "without `interface`: the router that the port sends to", "none: with `interface`"),
         optional_key("mtu", &S::mtu, integer<std::uint32_t>(576, 9198),
                      "largest IP packet that the port sends, bytes")});
}

ConfigSection tunnel_section() {
    using S = TunnelConfig;
    return list_section<S>(
        "tunnel", false, max_tunnels, &Config::tunnels, "An ESP tunnel to a mediation gateway.",
        {required_key("name", &S::name, name_text(), "what routes call it"),
         required_key("local", &S::local, ip_address(), "outer source address, one of this box"),
         required_key("remote", &S::remote, ip_address(), "outer destination address, of the same family"),
         required_key("sa", &S::sas, one_or_more(existing_file(), max_tunnel_sas),
                      "files of static keys, mode 0600, in the order of their use: when one has reached its "
                      "soft lifetime, the next takes over"),
         optional_key("sa-in", &S::sas_in, one_or_more(existing_file(), max_tunnel_sas_in),
                      "the same for what comes out of the tunnel, all of them at a time; with `interface` of "
                      "[delivery]",
                      "nothing is taken from the tunnel")},
        [](ConfigReader& reader, const toml::table&, S& tunnel) { reader.tunnels.push_back(tunnel.name); });
}

/// `clear` has no member of its own: a route without a tunnel is in clear, but only where it is said so.
ConfigKey<RouteConfig> clear_key() {
    return {{"clear", "true", "not in clear", "true: copies for this prefix leave without encryption"},
            [](ConfigReader& reader, const toml::node& node, RouteConfig&) {
                const auto* flag = node.as_boolean();
                if (flag == nullptr || !flag->get()) {
                    report_type(reader, node, "true (for encryption, name a tunnel instead)");
                }
            }};
}

ConfigSection route_section() {
    using S = RouteConfig;
    return list_section<S>(
        "route", false, many, &Config::routes,
        "How copies reach a destination: through a tunnel, or in clear. Routes do not overlap. A destination "
        "without "
        "a route gets nothing.",
        {required_key("prefix", &S::prefix, ip_prefix(), "content destinations that the route is for"),
         optional_key("tunnel", &S::tunnel, reference(&ConfigReader::tunnels, "tunnel"),
                      "the tunnel that they are behind", "none: then `clear` is needed"),
         clear_key()},
        [](ConfigReader& reader, const toml::table& table, S&) {
            if (table.contains("tunnel") == table.contains("clear")) {
                reader.error(table.source(), "a [[route]] needs either `tunnel`, or `clear = true`");
            }
        });
}

ConfigSection destination_section() {
    using S = DestinationConfig;
    constexpr std::uint16_t last_port = std::numeric_limits<std::uint16_t>::max();
    return list_section<S>(
        "destination", false, max_accounts - 1, &Config::destinations,
        "A content destination that an ADD may name (Cdest-ID) without giving its addresses; and how copies "
        "to "
        "its address and port leave, whatever an ADD calls them.",
        {required_key("name", &S::name, name_text(), "the Cdest-ID"),
         required_key("address", &S::address, ip_address(), "where copies go; a route must cover it"),
         required_key("port", &S::port, integer<std::uint16_t>(1, last_port), "UDP port there"),
         required_key("source-address", &S::source_address, ip_address(),
                      "source of the copies' IP header, of the same family"),
         required_key("source-port", &S::source_port, integer<std::uint16_t>(0, last_port),
                      "source of the copies' UDP header"),
         optional_key("ttl", &S::ttl, integer<std::uint8_t>(1, 255),
                      "TTL or hop limit of the copies' IP header"),
         optional_key("soft-limit", &S::soft_limit, integer<std::uint64_t>(1, most_bandwidth),
                      "bit/s of all taps that copy to this address and port, averaged over 10 s: beyond it, "
                      "every source of such a tap is notified",
                      "none"),
         optional_key("hard-limit", &S::hard_limit, integer<std::uint64_t>(1, most_bandwidth),
                      "bit/s, measured likewise: beyond it, taps are deleted, of the lowest priority and the "
                      "newest first",
                      "none"),
         optional_key("shim", &S::shim,
                      choice<Shim>({{"raw", Shim::raw},
                                    {"cisco", Shim::cisco},
                                    {"nokia-l3", Shim::nokia_l3},
                                    {"flowtap", Shim::flowtap}}),
                      "what stands before the original in every copy to this address and port; with raw, a "
                      "tap with X-MD-Intercept-Id gets Juniper's mirror header"),
         optional_key("dscp", &S::dscp, integer<std::uint8_t>(0, 63),
                      "DSCP of every copy to this address and port; a tunnel's outer header has it too"),
         optional_key("rate-limit", &S::rate_limit, integer<std::uint64_t>(1, most_rate),
                      "bit/s of all copies to this address and port, each the IP packet that arrives there, "
                      "before ESP: a copy beyond it is dropped, and counted",
                      "none"),
         optional_key("burst-size", &S::burst_size, integer<std::uint32_t>(least_burst, most_burst),
                      "bytes that rate-limit lets pass at once")});
}

ConfigSection interface_section() {
    using S = InterfaceConfig;
    return list_section<S>(
        "interface", false, many, &Config::interfaces,
        "A name by which taps may call a place where frames come in. The names of ports are such names by "
        "themselves. "
        "`NAME.UNIT` in a request is VLAN id UNIT of NAME; unit 0, or none, is untagged.",
        {required_key("name", &S::name, name_text(), "the name; one that ends in a unit (`.5`) needs `vlan`"),
         required_key("port", &S::port, reference(&ConfigReader::ports, "port"), "a port of a wire"),
         optional_key("vlan", &S::vlan, vlan_id(),
                      "VLAN id of its frames' outermost tag; 0: untagged; any: with whatever tags",
                      "the unit is the VLAN id")});
}

ConfigSection vrf_section() {
    using S = VrfConfig;
    return list_section<S>(
        "vrf", false, many, &Config::vrfs,
        "A routing instance that taps may name (X-JTap-VRF-Name): the traffic of its "
        "interfaces, both directions.",
        {required_key("name", &S::name, name_text(), "the name"),
         required_key("interfaces", &S::interfaces, list_of(name_text(), 1, max_interface_terms / 2),
                      "interfaces, each with its unit where it has one")});
}

struct PolicyElement {
    std::string_view key;
    dtcp::Name name;
};
constexpr std::array policy_elements{
    PolicyElement{"source-address", dtcp::Name::source_address},
    PolicyElement{"dest-address", dtcp::Name::dest_address},
    PolicyElement{"protocol", dtcp::Name::protocol},
    PolicyElement{"source-port", dtcp::Name::source_port},
    PolicyElement{"dest-port", dtcp::Name::dest_port},
    PolicyElement{"icmp-type", dtcp::Name::icmp_type},
    PolicyElement{"icmp-code", dtcp::Name::icmp_code},
};

/// All elements together make the criterion: finish_policy() reads them.
ConfigKey<DropPolicyConfig> policy_key(std::string_view name, std::string_view description) {
    const auto type = text("a DTCP filter element in quotes: a list of values and ranges, `!` negates");
    return {{name, type.phrase, "any", description},
            [type](ConfigReader& reader, const toml::node& node, DropPolicyConfig&) {
                static_cast<void>(type.read(reader, node));
            }};
}

void finish_policy(ConfigReader& reader, const toml::table& table, DropPolicyConfig& policy) {
    std::vector<dtcp::Parameter> elements;
    for (const auto& [key, name] : policy_elements) {
        const toml::node* node = table.get(key);
        if (node == nullptr) {
            continue;
        }
        const auto* value = node->as_string();
        if (value == nullptr) {
            return;  // said already
        }
        elements.push_back({name, key, value->get(), key});
    }
    if (elements.empty()) {
        reader.error(table.source(), "a [[drop-policy]] needs one filter element or more");
        return;
    }
    auto criterion = dtcp::parse_filter(elements);
    if (!criterion) {
        const toml::node* node = table.get(criterion.error().line);
        reader.error(node == nullptr ? table.source() : node->source(),
                     std::string(criterion.error().reason));
        return;
    }
    policy.criterion = std::move(*criterion);
    policy.both_families = policy.criterion.source_address.empty() && policy.criterion.dest_address.empty();
}

ConfigSection drop_policy_section() {
    using S = DropPolicyConfig;
    return list_section<S>(
        "drop-policy", false, max_drop_policies, &Config::drop_policies,
        "What a tap leaves out while the policy is enabled for it (ENABLE, DISABLE with X-Drop-Policy). "
        "Without addresses, both IP versions.",
        {required_key("name", &S::name, name_text(), "what X-Drop-Policy calls it"),
         policy_key("source-address", "source addresses"),
         policy_key("dest-address", "destination addresses"), policy_key("protocol", "IP protocols"),
         policy_key("source-port", "source ports"), policy_key("dest-port", "destination ports"),
         policy_key("icmp-type", "ICMP types"), policy_key("icmp-code", "ICMP codes")},
        finish_policy);
}

ConfigSection source_section() {
    using S = SourceConfig;
    return list_section<S>(
        "source", false, many, &Config::sources, "A DTCP control source: a mediation device that may tap.",
        {required_key("name", &S::name, name_text(), "the Csource-ID"),
         required_key("key-file", &S::key_file, existing_file(),
                      "the HMAC key: the file's bytes without a final line end; mode 0600"),
         optional_key("users", &S::users, list_of(name_text(), 1, many),
                      "system accounts that may speak as it", "the account of its name"),
         required_key("destinations", &S::destinations, list_of(ip_prefix(), 1, many),
                      "where it may deliver; routes must cover all of it"),
         optional_key("udp", &S::udp, boolean(),
                      "true: its requests are taken from UDP too; its key must not be the well-known one"),
         optional_key("notify", &S::notify, list_of(endpoint(), 1, 16),
                      "UDP peers that get its notifications", "none"),
         optional_key("notify-sessions", &S::notify_sessions, boolean(),
                      "true: its open SSH sessions get them between responses"),
         optional_key("notify-version", &S::notify_version, dtcp_version(),
                      "DTCP version that notifications are written in; what it does not know is not sent"),
         optional_key("max-criteria", &S::max_criteria, integer<std::uint32_t>(1, most_taps),
                      "taps that it may have at a time"),
         optional_key("max-destinations", &S::max_destinations, integer<std::uint32_t>(1, most_taps),
                      "different content destinations (Cdest-ID) of its taps at a time"),
         optional_key("requests-per-second", &S::requests_per_second, integer<std::uint32_t>(0, 1'000'000),
                      "what it asks faster than this waits; 0: no limit"),
         optional_key("actions", &S::actions,
                      list_of(choice<PrivilegedAction>({{"redirect", PrivilegedAction::redirect},
                                                        {"block", PrivilegedAction::block}}),
                              0, 2),
                      "actions besides Copy that it may ask for"),
         optional_key("ssh-sequence", &S::ssh_sequence,
                      choice<SshSequence>({{"none", SshSequence::none}, {"session", SshSequence::session}}),
                      "session: sequence numbers must grow within an SSH session, by 256 at most")},
        [](ConfigReader&, const toml::table& table, S& source) {
            if (!table.contains("users")) {
                source.users = {source.name};
            }
        });
}

ConfigSection control_section() {
    using S = ControlConfig;
    return table_section<S>(
        "control", false, &Config::control, "The control process.",
        {optional_key("run-dir", &S::run_dir, folder(), "sockets of the processes"),
         optional_key("state-dir", &S::state_dir, folder(),
                      "what must outlive a restart (counter leases of the keys)"),
         optional_key("user", &S::user, name_text(), "account that the process runs as"),
         optional_key("max-criteria", &S::max_criteria, integer<std::uint32_t>(1, most_taps),
                      "taps of all sources together", "no limit but max-taps of [dataplane]")});
}

ConfigSection ssh_section() {
    using S = SshConfig;
    return table_section<S>(
        "ssh", false, &Config::ssh, "The SSH service for DTCP.",
        {optional_key("listen", &S::listen, list_of(ip_address(), 1, 64), "addresses to listen on", "all"),
         optional_key("port", &S::port, integer<std::uint16_t>(1, std::numeric_limits<std::uint16_t>::max()),
                      "TCP port"),
         optional_key("access", &S::access, list_of(ip_prefix(), 1, many), "clients that may connect", "all"),
         optional_key("connection-limit", &S::connection_limit, integer<std::uint16_t>(1, 250),
                      "established sessions"),
         optional_key("rate-limit", &S::rate_limit, integer<std::uint16_t>(1, 250),
                      "connection attempts a minute"),
         optional_key(
             "rate-limit-share", &S::rate_limit_share, integer<std::uint16_t>(1, 100),
             "percent of the rate-limit that one client (an IPv4 address, an IPv6 /64) may use, rounded up"),
         optional_key("idle-timeout", &S::idle_timeout, integer<std::uint32_t>(0, 604'800),
                      "seconds after which a session is closed in which no byte came or went; 0: never"),
         optional_key("host-keys", &S::host_keys, list_of(existing_file(), 1, 16), "private host keys",
                      "[\"/etc/ssh/ssh_host_ed25519_key\"]")});
}

ConfigSection udp_section() {
    using S = UdpConfig;
    return table_section<S>(
        "udp", false, &Config::udp,
        "The UDP service for DTCP, for sources that may use it. Off unless it listens.",
        {optional_key("listen", &S::listen, list_of(ip_address(), 1, 64), "addresses to listen on",
                      "none: no UDP service"),
         optional_key("ports", &S::ports,
                      list_of(integer<std::uint16_t>(1, std::numeric_limits<std::uint16_t>::max()), 1, 16),
                      "ports to listen on, at each address")});
}

}  // namespace

const std::vector<ConfigSection>& config_sections() {
    static const std::vector<ConfigSection> sections{
        dataplane_section(), port_section(),        wire_section(),        delivery_section(),
        tunnel_section(),    route_section(),       destination_section(), interface_section(),
        vrf_section(),       drop_policy_section(), source_section(),      control_section(),
        ssh_section(),       udp_section()};
    return sections;
}

}  // namespace flowtap::lib
