"""What the same router cannot do with Flow-Tap: the mediation device speaks DTCP over SSH *through the tunnel* that brings its
copies. A real Linux kernel ends the tunnel: its ssh client, its IPsec, its UDP socket; on our side the whole appliance.

    box [ gate, sshd ] kernel -- delivery0 -- flowtap == ESP ==> eth0 | bridge gateway | tap0 --- vec0 the peer kernel
"""

import collections
import os
import secrets
import shutil

import kernel_peer
import pcaps
import pytest
from daemons import until
from dtcp_client import Message, sign
from kernel_lab import KernelLab
from lab import (BOX_MANAGEMENT, CONTENT_DESTINATION, CONTENT_PORT, MEDIATION_MANAGEMENT, SOURCE, SOURCE_KEY, SSH_PORT,
                 SUBSCRIBER, TUNNEL_LOCAL, TUNNEL_REMOTE)

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not kernel_peer.available(),
                                reason="needs root, user-mode-linux and /dev/net/tun")

LINK_BOX, LINK_PEER = "198.18.0.1", "198.18.0.2"
SPI_IN = 0x2001


class TunnelLab(KernelLab):
    """The kernel lab, with an interface for the box's kernel and an SA for each direction."""

    def _build_gateway(self):
        super()._build_gateway()
        # SSH speaks from the address that the tunnel's policy is about.
        self.peer.run(f"ip address add {LINK_PEER}/24 dev vec0\n"
                      f"ip route replace {TUNNEL_LOCAL}/32 via {LINK_BOX} dev vec0 src {CONTENT_DESTINATION}")

    def _write_files(self):
        self.inbound_key = secrets.token_bytes(36)
        super()._write_files()
        file = self.folder / "keys" / "ttp-in.sa"
        file.write_text(f'spi = {SPI_IN:#x}\nsuite = "aes-256-gcm-16"\nkey = "{self.inbound_key.hex()}"\n')
        file.chmod(0o600)
        self.peer.tunnel(local=TUNNEL_REMOTE, remote=TUNNEL_LOCAL, spi=SPI_IN, suite="aes-256-gcm-16",
                         cipher=self.inbound_key, inner=f"{TUNNEL_LOCAL}/32", outbound=True)
        identity = self.peer.folder / "identity"
        shutil.copy(self.identity(), identity)
        identity.chmod(0o600)

    def configuration(self):
        text = super().configuration()
        for old, new in [
                (f'addresses = ["{TUNNEL_LOCAL}/32"]', f'addresses = ["{TUNNEL_LOCAL}/32", "{LINK_BOX}/24"]'),
                (f'next-hop-mac = "{self.gateway_mac()}"', f'interface = "delivery0"\ngateways = ["{LINK_PEER}"]'),
                ('sa = "keys/ttp.sa"', 'sa = "keys/ttp.sa"\nsa-in = "keys/ttp-in.sa"'),
                (f'listen = ["{BOX_MANAGEMENT}"]', f'listen = ["{TUNNEL_LOCAL}"]'),
                (f'access = ["{MEDIATION_MANAGEMENT}/32"]', f'access = ["{CONTENT_DESTINATION}/32"]')]:
            assert old in text
            text = text.replace(old, new)
        return text

    def session(self, request):
        """DTCP over SSH, from inside the peer kernel; returns the answer."""
        (self.peer.folder / "request").write_bytes(request)
        self.peer.run(f"ssh -T -o StrictHostKeyChecking=no -o UserKnownHostsFile=/tmp/known -o LogLevel=ERROR -o BatchMode=yes "
                      f"-i identity -p {SSH_PORT} {SOURCE}@{TUNNEL_LOCAL} -s flow-tap-dtcp <request >answer")
        return Message.parse((self.peer.folder / "answer").read_bytes())


def add_tap(seq):
    lines = ["ADD DTCP/0.7", f"Source-Address: {SUBSCRIBER[4]}", "Cdest-ID: md1", "Priority: 2", "Flags: STATIC",
             f"X-JTap-Cdest-Dest-Address: {CONTENT_DESTINATION}", f"X-JTap-Cdest-Dest-Port: {CONTENT_PORT}",
             f"X-JTap-Cdest-Source-Address: {TUNNEL_LOCAL}", "X-JTap-Cdest-Source-Port: 40000",
             "X-JTap-Cdest-TTL: 255", f"Csource-ID: {SOURCE}", f"Seq: {seq}"]
    return sign("".join(line + "\r\n" for line in lines).encode(), SOURCE_KEY)


@pytest.mark.dtcp("1.ssh-client")
def test_dtcp_over_ssh_and_its_copies_share_one_tunnel():
    with TunnelLab() as lab:
        lab.start_all()
        link = lab.folder / "link.pcap"
        on_link = lab.capture("mediation", "tap0", link, "ip")  # the bridge shows only what is for itself
        until(lambda: lab.ctl("delivery")["next-hops"][0]["state"] == "answers", "the gateway, found by the kernel")

        answer = lab.session(add_tap(1))
        assert answer.first_line == "DTCP/0.7 200 OK" and answer.verified(SOURCE_KEY)

        copied, at_subscriber = lab.folder / "copied.pcap", lab.folder / "subscriber.pcap"
        receiver = lab.receive(copied)
        subscriber = lab.capture("subscriber", "eth0", at_subscriber, "ip", "and", "src", SUBSCRIBER[4])
        assert lab.ping(4)
        lab.wire_ledger()
        lab.end_capture(subscriber)
        captured = [bytes(pcaps.layer3(kind, frame)) for kind, frame in pcaps.packets(at_subscriber)]
        assert captured
        until(lambda: pcaps.count(copied) >= len(captured), "the copies")
        code, summary = lab.end_receive(receiver)
        assert (code, summary["errors"], summary["sequence"]["missing"]) == (0, {}, 0)
        assert collections.Counter(packet for _, packet in pcaps.packets(copied)) == collections.Counter(captured)

        # Nothing but ESP was on the link, both ways: not a byte of SSH, and no copy.
        lab.end_capture(on_link)
        outside = [pcaps.layer3(kind, frame) for kind, frame in pcaps.packets(link)]
        assert {packet[9] for packet in outside} == {50}
        view = lab.ctl("delivery")
        assert view["slow-path"]["esp-opened"] > 10 and view["slow-path"]["sent-sealed"] > 10
        assert not [name for name in view["slow-path"] if "refused" in name and view["slow-path"][name]]
        assert lab.ctl("health")["alarms"] == []

        # And who looks at the box hears of a gateway that falls silent, by its address.
        lab.peer.run("ip link set vec0 arp off")
        until(lambda: lab.ctl("health")["alarms"] == [f"next hop {LINK_PEER} does not answer"], "the alarm")
