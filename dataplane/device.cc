#include "dataplane/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <sys/resource.h>

namespace flowtap::dataplane {
namespace {

constexpr std::string_view af_packet = "net_af_packet";

// TPACKET2_HDRLEN and the reserve that the kernel keeps before a frame in a ring slot (linux/if_packet.h).
constexpr std::uint32_t ring_slot_overhead = 128;
constexpr std::uint32_t smallest_slot = 2048;
constexpr std::uint32_t page = 4096;

bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_hex(std::string_view text, std::size_t digits) {
    return text.size() == digits && std::ranges::all_of(text, [](char c) { return is_hex(c); });
}

/// "bb:dd.f" or "dddd:bb:dd.f", returned with its domain; nothing for any other text.
std::optional<std::string> pci_address(std::string_view text) {
    std::string full{text};
    if (std::ranges::count(text, ':') == 1) {
        full.insert(0, "0000:");
    }
    const std::string_view view = full;
    if (view.size() != 12 || view[4] != ':' || view[7] != ':' || view[10] != '.') {
        return std::nullopt;
    }
    const bool right = is_hex(view.substr(0, 4), 4) && is_hex(view.substr(5, 2), 2) &&
                       is_hex(view.substr(8, 2), 2) && view[11] >= '0' && view[11] <= '7';
    return right ? std::optional{full} : std::nullopt;
}

bool is_driver_name(std::string_view text) {
    return !text.empty() && text.front() >= 'a' && text.front() <= 'z' &&
           std::ranges::all_of(
               text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

void append(Device& device, std::string_view key, std::uint32_t value) {
    if (!device.argument(key)) {
        device.arguments += fmt::format("{}{}={}", device.arguments.empty() ? "" : ",", key, value);
    }
}

}  // namespace

std::string Device::text() const {
    return arguments.empty() ? name : name + "," + arguments;
}

std::optional<std::string_view> Device::argument(std::string_view key) const {
    std::string_view rest = arguments;
    while (!rest.empty()) {
        const std::string_view item = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(rest.size(), item.size() + 1));
        if (item.size() > key.size() && item.starts_with(key) && item[key.size()] == '=') {
            return item.substr(key.size() + 1);
        }
    }
    return std::nullopt;
}

std::expected<Device, std::string> parse_device(std::string_view text, std::size_t index) {
    const std::string_view head = text.substr(0, text.find(','));
    Device device;
    if (head.size() < text.size()) {
        device.arguments = text.substr(head.size() + 1);
    }
    if (const auto address = pci_address(head)) {
        device.pci = true;
        device.name = *address;
        return device;
    }
    if (!is_driver_name(head)) {
        return std::unexpected(fmt::format(
            "\"{}\" is no device; expected a PCI address such as \"0000:03:00.0\" or a DPDK virtual "
            "device such as \"net_af_packet,iface=eth1\"",
            text));
    }
    const auto last = head.find_last_not_of("0123456789");
    device.driver = head.substr(0, last + 1);
    device.name = fmt::format("{}{}", device.driver, index);
    for (const std::string_view key : {"iface", "rx_iface", "tx_iface"}) {
        // net_tap makes its interface; net_vhost's is the path of a socket.
        if (const auto value = device.argument(key);
            value && device.driver != "net_tap" && device.driver != "net_vhost") {
            device.interface = *value;
        }
    }
    return device;
}

std::expected<Device, std::string> complete(Device device, std::uint32_t frame, std::size_t queues,
                                            std::uint32_t descriptors) {
    if (device.driver != af_packet) {
        return device;
    }
    if (device.interface.empty()) {
        return std::unexpected(
            "net_af_packet needs the interface it stands on; expected \"net_af_packet,iface=NAME\"");
    }
    const std::uint32_t needed = frame + 4 + ring_slot_overhead;
    if (const auto given = device.argument("framesz"); given && number(*given).value_or(0) < needed) {
        return std::unexpected(
            fmt::format("framesz={} cannot hold frames of {} bytes; expected at least {}, or none", *given,
                        frame, needed));
    }
    append(device, "framesz", std::bit_ceil(std::max(needed, smallest_slot)));
    append(device, "blocksz", std::max(page, std::bit_ceil(ring_slot(device))));
    append(device, "framecnt", descriptors);
    append(device, "qpairs", static_cast<std::uint32_t>(queues));
    return device;
}

bool receives_on_all_queues(const Device& device) {
    return device.driver == af_packet;
}

std::string shared_interface(const Device& device) {
    return device.driver == af_packet ? device.interface : std::string{};
}

std::uint32_t ring_slot(const Device& device) {
    const auto size = device.driver == af_packet ? device.argument("framesz") : std::nullopt;
    return size ? number(*size).value_or(0) : 0;
}

std::vector<cap_value_t> required_capabilities(const Device& device, std::uint64_t memory_bytes) {
    if (device.pci) {
        // VFIO maps the buffers for the device and counts them against the limit, which CAP_IPC_LOCK lifts.
        rlimit limit{};
        const bool enough = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= memory_bytes;
        return enough ? std::vector<cap_value_t>{} : std::vector<cap_value_t>{CAP_IPC_LOCK};
    }
    if (device.driver == af_packet) {
        return {CAP_NET_RAW, CAP_NET_ADMIN};
    }
    if (device.driver == "net_af_xdp") {
        return {CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF};
    }
    if (device.driver == "net_tap") {
        return {CAP_NET_ADMIN};
    }
    if (device.driver == "net_pcap" && !device.interface.empty()) {
        return {CAP_NET_RAW};
    }
    return {};
}

}  // namespace flowtap::dataplane
