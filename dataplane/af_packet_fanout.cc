// Keeps the kernel from reassembling what crosses a wire on net_af_packet.
//
// The driver puts its sockets, even a single one, into a fan-out group with PACKET_FANOUT_FLAG_DEFRAG
// (packet(7)): the kernel then swallows the fragments of an IPv4 datagram and hands over the datagram, which
// is too long to leave again. The driver has no argument against it, and a socket leaves its group only when
// it is closed. So the program has a setsockopt of its own, which the driver finds before the C library's
// (meson.build exports it), and which does without that flag. Without it the kernel picks a fragment's socket
// by its addresses alone, so that all fragments of a datagram still come to one worker.
#include <cstdint>
#include <cstring>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's are reserved
extern "C" int setsockopt(int socket, int level, int name, const void* value, socklen_t length) noexcept {
    constexpr std::uint32_t defrag = std::uint32_t{PACKET_FANOUT_FLAG_DEFRAG} << 16U;
    std::uint32_t fanout = 0;  // group id, and above it mode and flags
    if (level == SOL_PACKET && name == PACKET_FANOUT && length == sizeof fanout) {
        std::memcpy(&fanout, value, sizeof fanout);
        fanout &= ~defrag;
        value = &fanout;
    }
    return static_cast<int>(syscall(SYS_setsockopt, socket, level, name, value, length));
}
