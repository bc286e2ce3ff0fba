"""Links into the ports of a dataplane, in a network namespace of their own, with sockets at their far ends.

    with Wires("ab") as wires, Box(..., device_a="net_af_packet0,iface=wire-a", prefix=wires.prefix): ...

For each letter there is a pair `wire-X` (the dataplane's) and `feed-X` (the test's)."""

import array
import ctypes
import fcntl
import secrets
import socket
import struct
import subprocess
import threading

SOL_PACKET, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE = 263, 23, 33
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = 0x8913, 0x8914, 0x8946
ETHTOOL_GLINK = 0x0A
IFF_UP = 1


class Wires:
    def __init__(self, letters, mtu=1500):
        self.letters = letters
        self.name = f"ft-wires-{secrets.token_hex(3)}"
        self.prefix = ["nsenter", f"--net=/run/netns/{self.name}", "--"]
        self.ends = []  # by letter: a raw socket on feed-X that does not block
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        for letter in letters:
            pair = (f"wire-{letter}", f"feed-{letter}")
            self.ip("link", "add", pair[0], "mtu", str(mtu), "type", "veth", "peer", "name", pair[1], "mtu", str(mtu))
            for interface in pair:
                # Nothing of the kernel's own is on the links.
                subprocess.run([*self.prefix, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1"], check=True)
                self.ip("link", "set", interface, "up")
        # A namespace is the thread's that has entered it, and a socket stays in the one that it was made in.
        maker = threading.Thread(target=self._open)
        maker.start()
        maker.join()

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def end(self, letter):
        return self.ends[self.letters.index(letter)]

    def _open(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.name}", "rb") as namespace:
            if libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for letter in self.letters:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            made.bind((f"feed-{letter}", 0))
            made.setblocking(False)
            self.ends.append(made)

    def _flags(self, interface):
        request = struct.pack("16sH14x", interface.encode(), 0)
        return struct.unpack_from("H", fcntl.ioctl(self._control, SIOCGIFFLAGS, request), 16)[0]

    def set_up(self, interface, up):
        flags = self._flags(interface) & ~IFF_UP | (IFF_UP if up else 0)
        fcntl.ioctl(self._control, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags))
        for each in self.ends:
            each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # that it went down is no error of the next frame

    def is_up(self, interface):
        return bool(self._flags(interface) & IFF_UP)

    def has_link(self, interface):
        """Whether it is up and has a carrier, as whoever is at that end of the link sees it."""
        value = array.array("I", [ETHTOOL_GLINK, 0])
        address, _ = value.buffer_info()
        fcntl.ioctl(self._control, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address))
        return bool(value[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in [*self.ends, self._control]:
            each.close()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)
