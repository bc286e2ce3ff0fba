#include "control/preface.h"

#include <algorithm>
#include <array>
#include <span>

namespace flowtap::control {

std::string write_preface(const char* ssh_connection) {
    std::string_view client = ssh_connection == nullptr ? std::string_view{} : ssh_connection;
    client = client.substr(0, client.find(' '));
    // A link-local address has its interface after it, which means nothing elsewhere.
    client = client.substr(0, client.find('%'));
    const bool possible = !client.empty() && client.size() <= longest_preface - preface_head.size() - 1 &&
                          client.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
    std::string preface{preface_head};
    preface += possible ? client : "-";
    preface += '\n';
    return preface;
}

PrefaceResult read_preface(std::string_view bytes) {
    if (bytes.empty()) {
        return {};
    }
    if (bytes.front() != preface_head.front()) {
        return {.state = Preface::none};
    }
    const auto head = bytes.substr(0, preface_head.size());
    if (head != preface_head.substr(0, head.size())) {
        return {.state = Preface::malformed};
    }
    const auto end = bytes.substr(0, longest_preface).find('\n');
    if (end == std::string_view::npos) {
        return {.state = bytes.size() < longest_preface ? Preface::incomplete : Preface::malformed};
    }
    PrefaceResult result{.state = Preface::whole, .size = end + 1};
    const auto text = bytes.substr(preface_head.size(), end - preface_head.size());
    if (text == "-") {
        return result;
    }
    auto address = lib::parse_address(text);
    if (!address) {
        return {.state = Preface::malformed};
    }
    // ::ffff:a.b.c.d is an IPv4 client of a socket of both families (RFC 4291 section 2.5.5.2).
    constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (address->family == lib::Family::ipv6 &&
        std::ranges::equal(mapped, std::span{address->bytes}.first(12))) {
        lib::IpAddress ipv4;
        std::ranges::copy(std::span{address->bytes}.subspan(12), ipv4.bytes.begin());
        address = ipv4;
    }
    result.address = *address;
    return result;
}

}  // namespace flowtap::control
