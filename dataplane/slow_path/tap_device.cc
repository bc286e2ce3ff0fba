#include "dataplane/slow_path/tap_device.h"

#include "dataplane/kernel_interface.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace flowtap::dataplane::slow_path {

Result<TapDevice> TapDevice::create(const std::string& name) {
    const auto failed = [&name](std::string_view why) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("[delivery] interface \"{}\": {}", name, why)});
    };
    if (interface_index(name) != 0) {
        return failed("there is one of this name already; `ip link` shows it");
    }
    lib::FileDescriptor descriptor{open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)};
    if (!descriptor) {
        return failed(
            fmt::format("/dev/net/tun: {}; `modprobe tun` loads what is behind it", std::strerror(errno)));
    }
    ifreq request{};
    std::copy_n(name.data(), std::min(name.size(), std::size_t{IFNAMSIZ} - 1), request.ifr_name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(descriptor.get(), TUNSETIFF, &request) != 0) {
        return failed(std::strerror(errno));
    }
    const unsigned index = interface_index(name);
    if (index == 0) {
        return failed("it has disappeared at once");
    }
    return TapDevice{std::move(descriptor), index};
}

std::size_t TapDevice::read(std::span<std::uint8_t> room) const {
    const ssize_t size = ::read(fd(), room.data(), room.size());
    return size > 0 ? static_cast<std::size_t>(size) : 0;
}

bool TapDevice::write(std::span<const std::uint8_t> frame) const {
    return ::write(fd(), frame.data(), frame.size()) == static_cast<ssize_t>(frame.size());
}

}  // namespace flowtap::dataplane::slow_path
