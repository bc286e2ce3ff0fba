#include "dataplane/kernel_interface.h"

#include <algorithm>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace flowtap::dataplane {
namespace {

/// One ioctl on a socket of its own; false, with errno, on failure.
bool interface_ioctl(unsigned long request, const std::string& name, ifreq& argument) {
    if (name.size() >= IFNAMSIZ) {
        return false;
    }
    std::ranges::copy(name, argument.ifr_name);
    const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return false;
    }
    const bool done = ioctl(descriptor, request, &argument) == 0;
    close(descriptor);
    return done;
}

}  // namespace

unsigned interface_index(const std::string& name) {
    return if_nametoindex(name.c_str());
}

std::optional<std::uint32_t> interface_mtu(const std::string& name) {
    ifreq request{};
    return interface_ioctl(SIOCGIFMTU, name, request)
               ? std::optional{static_cast<std::uint32_t>(request.ifr_mtu)}
               : std::nullopt;
}

bool raise_interface_mtu(const std::string& name, std::uint32_t mtu) {
    if (interface_mtu(name).value_or(0) >= mtu) {
        return true;
    }
    ifreq request{};
    request.ifr_mtu = static_cast<int>(mtu);
    return interface_ioctl(SIOCSIFMTU, name, request);
}

bool interface_has_link(const std::string& name) {
    ifreq request{};
    ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 0};
    request.ifr_data = reinterpret_cast<char*>(&link);
    if (interface_ioctl(SIOCETHTOOL, name, request)) {
        return link.data != 0;
    }
    // Some drivers do not tell; these flags are late by up to a second.
    ifreq flags{};
    return interface_ioctl(SIOCGIFFLAGS, name, flags) && (flags.ifr_flags & IFF_UP) != 0 &&
           (flags.ifr_flags & IFF_RUNNING) != 0;
}

bool set_interface_up(const std::string& name, bool up) {
    ifreq request{};
    if (!interface_ioctl(SIOCGIFFLAGS, name, request)) {
        return false;
    }
    const int flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
    request.ifr_flags = static_cast<short>(flags);
    return interface_ioctl(SIOCSIFFLAGS, name, request);
}

}  // namespace flowtap::dataplane
