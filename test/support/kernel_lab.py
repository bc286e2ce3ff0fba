"""The lab with a real Linux kernel at the far end of the tunnel, in place of flowtap-receive.

    box delivery --- eth0 | bridge gateway | tap0 --- vec0 the peer kernel: ESP, then a UDP socket
                          (namespace mediation)
"""

import shutil

import pcaps
from kernel_peer import KernelPeer
from lab import (CONTENT_DESTINATION, CONTENT_PORT, DELIVERY_MTU, SPI, TUNNEL_LOCAL, TUNNEL_REMOTE, Lab)

GATEWAY_MAC = "02:00:00:00:00:77"


class KernelReceiver:
    """One phase's copies, as Lab.receive's process is: stop() ends it."""

    def __init__(self, peer, path):
        self._peer = peer
        self._path = path
        self._before = peer.taken(SPI)
        self._receiver = peer.receive(CONTENT_DESTINATION, CONTENT_PORT, path.name)
        # Seen from the lab's folder as it grows.
        path.symlink_to(self._receiver.file)
        self._ended = False

    def stop(self):
        if self._ended:
            return
        self._ended = True
        self._receiver.stop()
        self._path.unlink()
        shutil.copy(self._receiver.file, self._path)

    def summary(self):
        packets, highest = (now - then for now, then in zip(self._peer.taken(SPI), self._before))
        return {"copies": pcaps.count(self._path), "esp": packets, "sequence": {"missing": highest - packets},
                "errors": self._peer.statistics()}


class KernelLab(Lab):
    opener = "a Linux kernel"

    def _build_gateway(self):
        for command in ("ip link add gateway type bridge mcast_snooping 0", "ip tuntap add mode tap name tap0",
                        f"ip link set tap0 mtu {DELIVERY_MTU} txqueuelen 100000 master gateway up", "ip link set eth0 master gateway",
                        f"ip link set gateway mtu {DELIVERY_MTU} up"):
            self.run("mediation", *command.split())
        self.peer = KernelPeer(self.inside("mediation"), "tap0", GATEWAY_MAC, DELIVERY_MTU)
        self.peer.start()
        self.peer.run(f"ip address add {TUNNEL_REMOTE}/32 dev lo\n"
                      f"ip address add {CONTENT_DESTINATION}/32 dev lo\n"
                      "ip address add 192.0.2.254/24 dev vec0\n"
                      f"ip route add {TUNNEL_LOCAL}/32 dev vec0")

    def gateway_mac(self):
        return GATEWAY_MAC

    def _write_files(self):
        super()._write_files()
        self.peer.tunnel(local=TUNNEL_LOCAL, remote=TUNNEL_REMOTE, spi=SPI, suite="aes-256-gcm-16", cipher=self.sa_key,
                         inner=f"{CONTENT_DESTINATION}/32")

    def content_command(self):
        return f"$M tcpdump -ni gateway udp or esp  # what the kernel opened: {self.peer.folder}/*.pcap"

    def receive(self, path):
        return KernelReceiver(self.peer, path)

    @staticmethod
    def end_receive(process):
        process.stop()
        summary = process.summary()
        return (1 if summary["errors"] else 0), summary

    def close(self):
        if not self._closed and hasattr(self, "peer"):
            self.peer.close()
        super().close()
