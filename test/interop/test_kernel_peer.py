"""Our ESP against a real Linux kernel: what crypto/ seals, the kernel opens; what the kernel seals, flowtap-receive opens.
Bare, in UDP (RFC 3948) and with TFC padding. Every suite in the long run (tools/test --long), one of each kind otherwise."""

import contextlib
import ctypes
import json
import os
import pathlib
import random
import secrets
import socket
import subprocess
import threading

import esp
import kernel_peer
import pcaps
import pytest
from daemons import BUILD, PROGRAMS, Daemon, until
from kernel_peer import KernelPeer
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not kernel_peer.available(),
                                reason="needs root, user-mode-linux and /dev/net/tun")

PEER_MAC, OUR_MAC = "02:00:00:00:00:77", "02:00:00:00:00:78"
OUTER = {"ipv4": ("100.100.100.100", "123.123.123.123"), "ipv6": ("2001:db8:100::100", "2001:db8:123::123")}
LONG = bool(os.environ.get("FLOWTAP_LONG"))
# Suite, outer and inner family, extended sequence numbers, which 3DES must not have.
SEALED = [(suite, *how) for suite in esp.SUITES for how in [
    ("ipv4", "ipv4", False), ("ipv6", "ipv6", False), ("ipv4", "ipv6", True), ("ipv6", "ipv4", True)]
    if not (suite.startswith("3des") and how[2])] if LONG else [
        ("aes-256-gcm-16", "ipv4", "ipv4", False), ("aes-128-cbc-hmac-sha-256-128", "ipv6", "ipv4", True)]
OPENED = [(suite, *how) for suite in esp.SUITES for how in [("ipv4", False), ("ipv6", True)]
    if not (suite.startswith("3des") and how[1])] if LONG else [
    ("aes-256-gcm-16", "ipv4", False)]
# Suite, outer family, in UDP, inner packets filled to this length.
WRAPPED = [(suite, outer, True, 600) for suite in esp.SUITES for outer in OUTER] + [
    ("aes-256-gcm-16", outer, *how) for outer in OUTER for how in [(True, 0), (False, 600)]] if LONG else [
        ("aes-256-gcm-16", "ipv4", True, 600), ("aes-128-cbc-hmac-sha-256-128", "ipv6", True, 600)]
STEP = 37 if LONG else 370  # from one length of longer packets to the next
MTU = 9200
PORT = 30000


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)


class Link:
    """A namespace with a TAP interface, and the peer kernel on it."""

    def __init__(self):
        self.name = f"ft-{os.getpid()}-{secrets.token_hex(2)}-peer"
        self.prefix = ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            run("ip", "netns", "add", self.name)
            stack.callback(run, "ip", "netns", "delete", self.name)
            run("ip", "-n", self.name, "tuntap", "add", "mode", "tap", "name", "tap0")
            run(*self.prefix, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            # What is sent at once must wait here for the peer, not be dropped.
            run("ip", "-n", self.name, "link", "set", "tap0", "mtu", MTU, "txqueuelen", "100000", "up")
            self.peer = stack.enter_context(KernelPeer(self.prefix, "tap0", PEER_MAC, MTU))
            for local, remote in OUTER.values():
                family, length = ("-6", 128) if ":" in local else ("-4", 32)
                self.peer.run(f"ip address add {remote}/{length} dev lo\n"
                              f"ip {family} neigh add {local} lladdr {OUR_MAC} dev vec0\n"
                              f"ip {family} route add {local} dev vec0")
            self.peer.take_esp_in_udp(*(remote for _, remote in OUTER.values()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def send(self, packets):
        """Each packet in an Ethernet frame, out of the TAP interface."""
        failures = []

        def work():
            try:
                # A thread has a network namespace of its own.
                with open(f"/run/netns/{self.name}", "rb") as namespace:
                    assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                    out.bind(("tap0", 0))
                    for packet in packets:
                        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
                        out.send(bytes.fromhex((PEER_MAC + OUR_MAC).replace(":", "")) + kind + packet)
            except BaseException as failure:  # pylint: disable=broad-exception-caught
                failures.append(failure)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]


@pytest.fixture(name="link", scope="module")
def running_link():
    with Link() as link:
        yield link


def addresses(number, inner):
    """Of the copies of one SA: the encapsulation's source and destination."""
    return ("192.0.2.77", f"203.0.113.{number}") if inner == "ipv4" else ("2001:db8:77::1", f"2001:db8:5::{number}")


def copies(source, destination, sizes, seed):
    """Packets to be sealed and what is in them: UDP datagrams of all sizes."""
    rng = random.Random(seed)
    bodies = [rng.randbytes(size) for size in sizes]
    family = IPv6 if ":" in source else IP
    return [bytes(family(src=source, dst=destination) / UDP(sport=40000, dport=PORT) / Raw(body)) for body in bodies], bodies


NUMBERS = iter(range(1, 250))  # of SAs: each has its own addresses


def keys(suite):
    return {"suite": suite.name, "cipher": suite.key, "authentication": suite.auth_key}


def same_length(packets, around):
    """Packets that were filled look alike: what is outside tells nothing of what is inside."""
    lengths = {len(packet) for packet, shorter in zip(packets, around, strict=True) if shorter}
    return len(lengths) == 1 and sum(around) > 50


def kernel_opens(link, folder, name, outer, inner="ipv4", extended=False, udp=False, padded=0):
    suite = esp.SUITES[name]
    number = next(NUMBERS)
    spi = 0x2000 + number
    local, remote = OUTER[outer]
    source, destination = addresses(number, inner)
    length = 32 if inner == "ipv4" else 128
    link.peer.run(f"ip address add {destination}/{length} dev lo")
    link.peer.tunnel(local=local, remote=remote, spi=spi, inner=f"{destination}/{length}", extended=extended, udp=udp,
                     **keys(suite))
    receiver = link.peer.receive(destination, PORT, f"opened{number}.pcap")
    packets, bodies = copies(source, destination, [*range(1, 70), *range(70, 8900, STEP)], number)
    sa = esp.write_sa_file(folder / "sa.toml", spi=spi, suite=suite, extended=extended, udp=udp, padded=padded)
    inside = esp.write_packets(folder / "inner.pcap", packets)
    run(BUILD / "test" / "integration" / "esp-seal", "--sa", sa, "--local", local, "--remote", remote, "--read", inside,
        "--write", folder / "outer.pcap")
    sealed = esp.read_packets(folder / "outer.pcap")
    assert len(sealed) == len(packets)
    assert not padded or same_length(sealed, [len(packet) <= padded for packet in packets])
    # The last one twice: the kernel refuses a replay, and counts it.
    before = link.peer.statistics()
    link.send([*sealed, sealed[-1]])
    until(lambda: pcaps.count(receiver.file) >= len(bodies), f"{len(bodies)} packets; {link.peer.statistics()}")
    until(lambda: link.peer.statistics().get("XfrmInStateSeqError", 0) > before.get("XfrmInStateSeqError", 0), "the replay")
    receiver.stop()
    assert [packet for _, packet in pcaps.packets(receiver.file)] == bodies
    after = link.peer.statistics()
    assert after == {**before, "XfrmInStateSeqError": before.get("XfrmInStateSeqError", 0) + 1}
    assert link.peer.taken(spi) == (len(packets), len(packets))


@pytest.mark.parametrize("name,outer,inner,extended", SEALED)
def test_the_kernel_opens_what_we_seal(link, tmp_path, name, outer, inner, extended):
    kernel_opens(link, tmp_path, name, outer, inner, extended)


@pytest.mark.parametrize("name,outer,udp,padded", WRAPPED)
def test_the_kernel_opens_what_we_seal_in_udp_and_padded(link, tmp_path, name, outer, udp, padded):
    kernel_opens(link, tmp_path, name, outer, udp=udp, padded=padded)


def we_open(link, folder, name, outer, extended=False, udp=False, padded=0):
    suite = esp.SUITES[name]
    number = next(NUMBERS)
    spi = 0x3000 + number
    ours, theirs = OUTER[outer]
    source, destination = addresses(number, "ipv4")
    link.peer.run(f"ip address replace {source}/32 dev lo")
    link.peer.tunnel(local=theirs, remote=ours, spi=spi, inner=f"{destination}/32", outbound=True, extended=extended, udp=udp,
                     padded=padded, **keys(suite))
    link.peer.run(f"ip route add {destination}/32 dev vec0 src {source}")
    before = link.peer.statistics()
    capture = folder / "sealed.pcap"
    tcpdump = Daemon("tcpdump", "-i", "tap0", "-p", "-n", "-U", "-B", "16384", "-s", "0", "-Z", "root", "-w", capture,
                     "udp port 4500" if udp else "esp", log=folder / "tcpdump.log", prefix=link.prefix)
    with tcpdump:
        tcpdump.wait_for("listening on")
        bodies = [bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=253) / Raw(bytes([size & 255]) * size))
                  for size in [*range(0, 70), *range(70, 8700, 3 * STEP)]]
        (link.peer.folder / f"bodies{number}").write_text("\n".join(body.hex() for body in bodies))
        link.peer.run(f"""/usr/bin/python3 - <<'END'
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.bind(("{source}", 40000))
for line in open("bodies{number}"):
    out.sendto(bytes.fromhex(line), ("{destination}", {PORT}))
END""")
        until(lambda: pcaps.count(capture) >= len(bodies), f"{len(bodies)} ESP packets; {link.peer.statistics()}")
    sealed = [frame for _, frame in pcaps.packets(capture)]
    assert not padded or same_length(sealed, [28 + len(body) <= padded for body in bodies])
    sa = esp.write_sa_file(folder / "sa.toml", spi=spi, suite=suite, extended=extended, udp=udp)
    done = subprocess.run([PROGRAMS["flowtap-receive"], "--sa", sa, "--read", capture, "--write", folder / "opened.pcap",
                           "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert summary["copies"] == len(bodies) and summary["sequence"]["missing"] == 0
    assert [packet for _, packet in pcaps.packets(pathlib.Path(folder / "opened.pcap"))] == bodies
    assert link.peer.statistics() == before


@pytest.mark.parametrize("name,outer,extended", OPENED)
def test_we_open_what_the_kernel_seals(link, tmp_path, name, outer, extended):
    we_open(link, tmp_path, name, outer, extended)


@pytest.mark.parametrize("name,outer,udp,padded", WRAPPED)
def test_we_open_what_the_kernel_seals_in_udp_and_padded(link, tmp_path, name, outer, udp, padded):
    we_open(link, tmp_path, name, outer, udp=udp, padded=padded)
