"""What the same router cannot do with Flow-Tap: the mediation device speaks DTCP over SSH *through the tunnel* that brings its
copies. A real Linux kernel ends the tunnel: its ssh client, its IPsec, its UDP socket; on our side the whole appliance.

    box [ gate, sshd ] kernel -- delivery0 -- flowtap == ESP ==> eth0 | bridge gateway | tap0 --- vec0 the peer kernel
"""

import collections
import ipaddress
import json
import os
import pathlib
import random
import secrets
import shutil
import struct

import kernel_peer
import pcaps
import pytest
from daemons import until
from delivery_lab import in_namespace, raw_socket
from dtcp_client import Message, sign
from kernel_lab import KernelLab
from lab import (BOX_MANAGEMENT, CONTENT_DESTINATION, CONTENT_PORT, MEDIATION_MANAGEMENT, SERVER, SOURCE, SOURCE_KEY, SSH_PORT,
                 SUBSCRIBER, TUNNEL_LOCAL, TUNNEL_REMOTE)
from scapy.layers.inet import IP

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not kernel_peer.available(),
                                reason="needs root, user-mode-linux and /dev/net/tun")

LINK_BOX, LINK_PEER = "198.18.0.1", "198.18.0.2"
SPI_IN = 0x2001
TAPS = 5000 if os.environ.get("FLOWTAP_LONG") else 200
# As few frames under way at a time as every ring of the software devices holds, however slow the machine.
AT_ONCE = 16


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
                ("max-taps = 4096", "max-taps = 8192"),
                (f'addresses = ["{TUNNEL_LOCAL}/32"]', f'addresses = ["{TUNNEL_LOCAL}/32", "{LINK_BOX}/24"]'),
                (f'next-hop-mac = "{self.gateway_mac()}"', f'interface = "delivery0"\ngateways = ["{LINK_PEER}"]'),
                ('sa = "keys/ttp.sa"', 'sa = "keys/ttp.sa"\nsa-in = "keys/ttp-in.sa"'),
                (f'listen = ["{BOX_MANAGEMENT}"]', f'listen = ["{TUNNEL_LOCAL}"]'),
                (f'access = ["{MEDIATION_MANAGEMENT}/32"]', f'access = ["{CONTENT_DESTINATION}/32"]')]:
            assert old in text
            text = text.replace(old, new)
        return text

    @staticmethod
    def ssh_arguments():
        return ["-T", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/tmp/known", "-o", "LogLevel=ERROR", "-o",
                "BatchMode=yes", "-i", "identity", "-p", str(SSH_PORT), f"{SOURCE}@{TUNNEL_LOCAL}", "-s", "flow-tap-dtcp"]

    def session(self, request):
        """DTCP over SSH, from inside the peer kernel; returns the answer."""
        (self.peer.folder / "request").write_bytes(request)
        self.peer.run(f"ssh {' '.join(self.ssh_arguments())} <request >answer")
        return Message.parse((self.peer.folder / "answer").read_bytes())


class OpenSession:
    """One DTCP session over SSH, from inside the peer kernel, that asks what it is told and then stays open. It is at most
    twice PACE requests ahead of what go() was told last."""

    PACE = 8

    def __init__(self, lab, requests):
        self._peer = lab.peer
        self._log = lab.peer.folder / "session.log"
        (lab.peer.folder / "requests").write_text("".join(json.dumps(request) + "\n" for request in requests))
        support = pathlib.Path(kernel_peer.__file__).resolve().parent
        lab.peer.run(f"export PYTHONPATH={support} PYTHONDONTWRITEBYTECODE=1\n"
                     f"/usr/bin/python3 {support}/kernel_peer_session.py requests {self.PACE} {SOURCE} {SOURCE_KEY.hex()} "
                     f"{' '.join(lab.ssh_arguments())} >session.log 2>&1 & echo $! >session.pid")

    def answers(self):
        """(code, criteria listed) of each so far."""
        whole = self._log.read_text().rpartition("\n")[0].splitlines()
        assert all(line.replace(" ", "").isdecimal() for line in whole), "\n".join(whole[-20:])
        return [tuple(map(int, line.split())) for line in whole]

    def go(self, answered):
        for more in (0, self.PACE):
            (self._peer.folder / f"go{answered // self.PACE * self.PACE + more}").touch()

    def end(self):
        self._peer.run("kill -TERM $(cat session.pid)")
        until(lambda: "ended" in self._log.read_text(), "the session's end")


class Subscribers:
    """Many of them, each of one address, whose frames are sent at one end of the wire and awaited at the other."""

    def __init__(self, lab):
        self.sent = 0
        self._ends = [in_namespace(lab.namespace(role), lambda: raw_socket("eth0")) for role in ("subscriber", "server")]
        self._ethernet = bytes.fromhex(f"{lab.mac('server', 'eth0')}{lab.mac('subscriber', 'eth0')}0800".replace(":", ""))
        self._headers = {}

    @staticmethod
    def address(number):
        return str(ipaddress.ip_address("10.0.0.1") + number)

    def cross(self, numbers):
        """A frame of each; returns the packets in them, no two alike, once all are at the other end, in order."""
        packets = [self._packet(number) for number in numbers]
        for first in range(0, len(packets), AT_ONCE):
            frames = [self._ethernet + packet for packet in packets[first:first + AT_ONCE]]
            for frame in frames:
                self._ends[0].send(frame)
            seen = []
            until(lambda frames=frames, seen=seen: seen.extend(self._arrived()) or len(seen) >= len(frames), "the frames")
            assert seen == frames
        return packets

    def _packet(self, number):
        self.sent += 1
        if number not in self._headers:
            self._headers[number] = bytes(IP(src=self.address(number), dst=SERVER[4], proto=253, len=20 + 80))
        return self._headers[number] + struct.pack("!Q72x", self.sent)

    def _arrived(self):
        frames = []
        try:
            while True:
                frame = self._ends[1].recv(4096)
                if frame.startswith(self._ethernet):
                    frames.append(frame)
        except BlockingIOError:
            return frames

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in self._ends:
            end.close()


def tap_lines(address):
    return [f"Source-Address: {address}", "Cdest-ID: md1", "Priority: 2", "Flags: STATIC",
            f"X-JTap-Cdest-Dest-Address: {CONTENT_DESTINATION}", f"X-JTap-Cdest-Dest-Port: {CONTENT_PORT}",
            f"X-JTap-Cdest-Source-Address: {TUNNEL_LOCAL}", "X-JTap-Cdest-Source-Port: 40000", "X-JTap-Cdest-TTL: 255"]


def arrived(path):
    """How many copies of subscribers' packets, which are all of 100 bytes, the peer has written."""
    return (path.stat().st_size - 24) // 116


def last_packet(path):
    with open(path, "rb") as file:
        file.seek(-100, os.SEEK_END)
        return file.read()


def add_tap(seq):
    lines = ["ADD DTCP/0.7", *tap_lines(SUBSCRIBER[4]), f"Csource-ID: {SOURCE}", f"Seq: {seq}"]
    return sign("".join(line + "\r\n" for line in lines).encode(), SOURCE_KEY)


def nothing_but_esp(lab, capture, path):
    """Was on the link, both ways: not a byte of SSH, and no copy; and whatever was opened was good."""
    lab.end_capture(capture)
    outside = [pcaps.layer3(kind, frame) for kind, frame in pcaps.packets(path)]
    assert {packet[9] for packet in outside} == {50}
    view = lab.ctl("delivery")
    assert view["slow-path"]["esp-opened"] > 10 and view["slow-path"]["sent-sealed"] > 10
    assert not [name for name in view["slow-path"] if "refused" in name and view["slow-path"][name]]
    assert lab.ctl("health")["alarms"] == []


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

        nothing_but_esp(lab, on_link, link)

        # And who looks at the box hears of a gateway that falls silent, by its address.
        lab.peer.run("ip link set vec0 arp off")
        until(lambda: lab.ctl("health")["alarms"] == [f"next hop {LINK_PEER} does not answer"], "the alarm")


def test_a_session_adds_taps_through_the_tunnel_while_their_copies_are_in_it():
    draw = random.Random(7)
    with TunnelLab() as lab:
        lab.start_all()
        link, copied = lab.folder / "link.pcap", lab.folder / "copied.pcap"
        on_link = lab.capture("mediation", "tap0", link, "ip")
        until(lambda: lab.ctl("delivery")["next-hops"][0]["state"] == "answers", "the gateway, found by the kernel")
        receiver = lab.receive(copied)
        with Subscribers(lab) as subscribers:
            session = OpenSession(lab, [*(["ADD", *tap_lines(subscribers.address(i))] for i in range(TAPS)), ["NOOP"]])
            owed, possible = [], []  # packets that were sent once their tap was acknowledged, and while it was being made
            added = 0
            while len(session.answers()) <= TAPS:  # the last one is the NOOP's
                now = min(len(session.answers()), TAPS)
                tapped = [*range(added, now), *draw.choices(range(now), k=AT_ONCE if now else 0)]
                coming = draw.choices(range(now, TAPS), k=4) if now < TAPS else []
                added = now
                session.go(now)
                owed += subscribers.cross(tapped)
                possible += subscribers.cross(coming)
                subscribers.cross([TAPS])  # nobody's tap
                # No more under way than a gateway of one slow processor has to keep.
                until(lambda: arrived(copied) >= len(owed), "the copies of all that are tapped")
            assert session.answers() == [(200, 1)] * TAPS + [(200, 0)]
            owed += subscribers.cross(range(TAPS))
            assert lab.wire_ledger()["lost"] == 0
        # They come in their order.
        until(lambda: last_packet(copied) == owed[-1], "the last copy")
        session.end()
        code, summary = lab.end_receive(receiver)
        assert (code, summary["errors"], summary["sequence"]["missing"]) == (0, {}, 0)
        got = collections.Counter(packet for _, packet in pcaps.packets(copied))
        assert set(got.values()) == {1} and set(owed) <= set(got) <= {*owed, *possible}
        nothing_but_esp(lab, on_link, link)
