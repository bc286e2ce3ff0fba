"""A box whose kernel has an interface on the delivery port, and what is at the other end of that link: a router in a
network namespace of its own, with a kernel that pings and connects, and a socket that sees every frame.

    feed-a --- wire-a [ flowtap ] wire-b --- feed-b        (test/support/wires.py)
                        wire-d | delivery0: the kernel's
                               |
                        eth0 router: 192.0.2.254, 2001:db8:d::fe
"""

import contextlib
import ctypes
import json
import secrets
import socket
import subprocess
import threading

from daemons import until
from dataplane import LOCAL, REMOTE, Box, Driver
from wires import PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE, SOL_PACKET, Wires

BOX4, BOX6 = "192.0.2.1", "2001:db8:d::1"
ROUTER4, ROUTER6 = "192.0.2.254", "2001:db8:d::fe"
SECOND4 = "192.0.2.253"
BEHIND = "3.3.3.3"  # the router's too: what is delivered in clear goes there
MTU = 1500
ROUTER_MAC, OTHER_MAC = "02:00:00:00:0d:fe", "02:00:00:00:0d:ff"

LINK = f'''addresses = ["{BOX4}/24", "{BOX6}/64", "{LOCAL}/32"]
interface = "delivery0"
gateways = ["{ROUTER4}", "{ROUTER6}"]'''


def in_namespace(name, work):
    """Returns what work() does there: a thread has a namespace of its own, and a socket stays where it was made."""
    result = []

    def enter():
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        result.append(work())
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return result[0]


def raw_socket(interface):
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    made.bind((interface, 0))
    made.setblocking(False)
    return made


class DeliveryLab:
    def __init__(self, folder, link=LINK, router_up=True, **options):
        self.folder = folder
        self.link = link
        self.router_up = router_up
        self.options = options
        self.router = f"ft-router-{secrets.token_hex(3)}"
        self.inside = ["nsenter", f"--net=/run/netns/{self.router}", "--"]
        self.seen = []  # every frame that came out of the delivery port

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.wires = stack.enter_context(Wires("ab"))
            self._build(stack)
            self.box = stack.enter_context(Box(
                self.folder, prefix=self.wires.prefix, delivery_mtu=MTU, link=self.link,
                device_a="net_af_packet0,iface=wire-a", device_b="net_af_packet1,iface=wire-b",
                device_d="net_af_packet2,iface=wire-d", **self.options))
            self.box.wait_ready()
            self.driver = stack.enter_context(Driver(self.box))
            self.driver.do("resync")
            self.driver.commit()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    def _build(self, stack):
        subprocess.run(["ip", "netns", "add", self.router], check=True)
        stack.callback(subprocess.run, ["ip", "netns", "delete", self.router], check=True)
        self.wires.ip("link", "add", "wire-d", "mtu", str(MTU), "type", "veth", "peer", "name", "eth0", "netns", self.router)
        self.wires.ip("link", "set", "wire-d", "up")
        self.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv6.conf.all.accept_dad=0",
                 "net.ipv6.conf.default.accept_dad=0")
        # Frames leave as the link would carry them: whole, and with their checksums.
        self.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        self.set_mac(ROUTER_MAC)
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{BEHIND}/32", "dev", "lo")
        if self.router_up:
            self.set_up()
        self.socket = in_namespace(self.router, lambda: raw_socket("eth0"))
        stack.callback(self.socket.close)

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.router, *words], check=True)

    def run(self, *command, **options):
        return subprocess.run([*self.inside, *command], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              **options)

    def set_mac(self, mac):
        self.ip("link", "set", "eth0", "address", mac, "up")

    def set_up(self):
        """From now on it is a router: it has addresses on the link."""
        self.ip("address", "add", f"{ROUTER4}/24", "dev", "eth0")
        self.ip("address", "replace", f"{ROUTER6}/64", "dev", "eth0", "nodad")
        self.ip("route", "add", LOCAL, "via", BOX4, "src", BEHIND)

    def box_link(self, what="link"):
        """What iproute2 says of the kernel's interface; `what`: link or address."""
        shown = subprocess.run(["ip", "-n", self.wires.name, "-j", what, "show", "delivery0"], check=True,
                               capture_output=True, text=True).stdout
        return json.loads(shown)[0]

    def box_mac(self):
        return self.box_link()["address"]

    def received(self):
        """All frames so far, those before included."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.seen.append(self.socket.recv(65536))
        return self.seen

    def counters(self, taps=()):
        return self.driver.counters(taps)

    def slow(self, name):
        return self.counters()["slow"].get(name, 0)


def ledgers_close(lab):
    """Both of the slow path's: every frame is accounted for, by name, once none is under way."""
    def closed():
        counters = lab.counters()
        slow, port = counters["slow"], counters["slow_port"]
        taken = ("to-kernel", "esp-opened", "esp-dummy")
        arrived = sum(count for name, count in slow.items() if name in taken or name.startswith(("esp-refused-", "rx-")))
        left = sum(count for name, count in slow.items() if name in ("sent-clear", "sent-sealed") or name.startswith("tx-"))
        return arrived == port.get("rx-packets", 0) and left == slow.get("from-kernel", 0)
    until(closed, f"ledgers that close: {lab.counters()}")


__all__ = ["BEHIND", "BOX4", "BOX6", "DeliveryLab", "LINK", "LOCAL", "OTHER_MAC", "REMOTE", "ROUTER4", "ROUTER6", "ROUTER_MAC",
           "SECOND4", "ledgers_close", "in_namespace", "raw_socket"]
