#include "dataplane/slow_path/neighbour_message.h"

#include <algorithm>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <span>
#include <sys/socket.h>

namespace flowtap::dataplane::slow_path {
namespace {

constexpr unsigned usable = NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;

struct Attributes {
    std::span<const std::uint8_t> address;
    std::span<const std::uint8_t> mac;
};

int take_attribute(const nlattr* attribute, void* data) {
    auto& found = *static_cast<Attributes*>(data);
    const std::span value(static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
                          mnl_attr_get_payload_len(attribute));
    switch (mnl_attr_get_type(attribute)) {
        case NDA_DST:
            found.address = value;
            break;
        case NDA_LLADDR:
            found.mac = value;
            break;
        default:
            break;
    }
    return MNL_CB_OK;
}

}  // namespace

std::optional<Neighbour> parse_neighbour(const nlmsghdr& message) {
    const bool known = message.nlmsg_type == RTM_NEWNEIGH;
    if ((!known && message.nlmsg_type != RTM_DELNEIGH) ||
        mnl_nlmsg_get_payload_len(&message) < sizeof(ndmsg)) {
        return std::nullopt;
    }
    const auto& body = *static_cast<const ndmsg*>(mnl_nlmsg_get_payload(&message));
    Neighbour neighbour{.interface = static_cast<unsigned>(body.ndm_ifindex)};
    if (body.ndm_family != AF_INET && body.ndm_family != AF_INET6) {
        return std::nullopt;
    }
    neighbour.address.family = body.ndm_family == AF_INET ? lib::Family::ipv4 : lib::Family::ipv6;
    Attributes attributes;
    mnl_attr_parse(&message, sizeof(ndmsg), take_attribute, &attributes);
    if (attributes.address.size() != lib::address_size(neighbour.address.family)) {
        return std::nullopt;
    }
    std::ranges::copy(attributes.address, neighbour.address.bytes.begin());
    if (known && (body.ndm_state & usable) != 0 && attributes.mac.size() == lib::MacAddress{}.size()) {
        std::ranges::copy(attributes.mac, neighbour.mac.emplace().begin());
    }
    return neighbour;
}

}  // namespace flowtap::dataplane::slow_path
