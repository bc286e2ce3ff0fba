"""The kernel on the delivery port: it answers, it connects, it finds the next hops of the copies; and what happens to it
happens to nothing else. Real kernels at both ends of the link; scapy seals and opens: it shares no code with us."""

import hashlib
import os
import socket
import struct
import subprocess
import threading

import pytest
from daemons import until
from dataplane import NEXT_HOP, Box, destination
from delivery_lab import (BEHIND, BOX4, BOX6, LINK, LOCAL, OTHER_MAC, ROUTER4, ROUTER_MAC, SECOND4, DeliveryLab,
                          in_namespace, ledgers_close)
from scapy.all import IP, UDP, Ether, Raw
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")

ROUTE4, ROUTE6 = 0, 1  # places in [delivery] gateways
HEAD = bytes.fromhex("020000000002 020000000001")


def tapped_frame(serial):
    packet = IP(src="10.0.0.7", dst="192.0.2.77") / UDP(sport=5060, dport=1) / Raw(struct.pack("!Q", serial))
    return HEAD + b"\x08\x00" + bytes(packet)


def wait_hops(lab, *wanted):
    until(lambda: lab.counters()["next_hops"] == list(wanted), f"next hops {wanted}; {lab.counters()['next_hops']}")


def crossed(lab, serials):
    """Sends a frame for each serial number through the wire; returns when all have come out at the other side."""
    for serial in serials:
        lab.wires.end("a").send(tapped_frame(serial))
    wanted = [tapped_frame(serial) for serial in serials]
    seen = []

    def all_there():
        try:
            while True:
                frame = lab.wires.end("b").recv(2048)
                # The kernels at the wire's ends say a word of their own sometimes.
                if frame.startswith(HEAD):
                    seen.append(frame)
        except BlockingIOError:
            return len(seen) >= len(wanted)
    until(all_there, "the frames at the other side")
    assert seen == wanted


def copies(lab):
    """[(destination MAC, serial)] of the copies in clear that have come out of the delivery port."""
    result = []
    for frame in lab.received():
        packet = Ether(frame)
        if IP in packet and packet[IP].dst == BEHIND and UDP in packet and packet[UDP].dport == 5000:
            result.append((packet.dst, struct.unpack("!Q", frame[-8:])[0]))
    return result


def test_the_kernel_answers_and_connects_through_the_delivery_port(tmp_path):
    with DeliveryLab(tmp_path) as lab:
        for target in (BOX4, LOCAL):
            lab.run("ping", "-n", "-c", "3", "-i", "0.1", "-w", "600", target)
        lab.run("ping", "-6", "-n", "-c", "3", "-i", "0.1", "-w", "600", BOX6)
        # Its own MAC address is the port's: there is no second station on the link.
        assert lab.box_mac() in lab.run("ip", "neigh", "show", BOX4).stdout
        port = subprocess.run(["ip", "-n", lab.wires.name, "link", "show", "wire-d"], check=True, capture_output=True, text=True)
        assert lab.box_mac() in port.stdout

        body = os.urandom(2_000_000)
        listening = in_namespace(lab.wires.name, lambda: socket.create_server((LOCAL, 4000)))
        connected = in_namespace(lab.router, lambda: socket.create_connection((LOCAL, 4000), 600, (BEHIND, 0)))
        accepted, peer = listening.accept()
        assert peer[0] == BEHIND
        sender = threading.Thread(target=lambda: (connected.sendall(body), connected.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b"".join(iter(lambda: accepted.recv(1 << 16), b""))
        sender.join()
        accepted.sendall(hashlib.sha256(got).digest())
        accepted.close()
        assert b"".join(iter(lambda: connected.recv(64), b"")) == hashlib.sha256(body).digest()
        for each in (listening, connected):
            each.close()
        ledgers_close(lab)
        slow = lab.counters()["slow"]
        assert slow["to-kernel"] > 1000 and slow["sent-clear"] > 10 and "rx-over-rate" not in slow


def test_no_address_waits_for_a_duplicate_that_the_port_itself_would_echo(tmp_path):
    with DeliveryLab(tmp_path) as lab:
        addresses = lab.box_link("address")["addr_info"]
        assert {each["scope"] for each in addresses if each["family"] == "inet6"} == {"global", "link"}
        assert not [each for each in addresses if each.get("tentative") or each.get("dadfailed")]


def test_next_hops_are_learned_and_copies_follow_a_router_that_changes_its_address(tmp_path):
    with DeliveryLab(tmp_path) as lab:
        assert NEXT_HOP not in lab.box.config.read_text()
        wait_hops(lab, ROUTER_MAC, ROUTER_MAC)
        lab.driver.tap(0, 100, [destination(BEHIND, 5000)], source=["10.0.0.7"])
        lab.driver.commit()
        crossed(lab, range(20))
        until(lambda: len(copies(lab)) == 20, "the copies")
        assert copies(lab) == [(ROUTER_MAC, serial) for serial in range(20)]

        lab.set_mac(OTHER_MAC)
        # A router says so by itself: with the ARP request and the ND solicitation of its first packet at the latest.
        lab.run("ping", "-n", "-c", "1", "-w", "600", BOX4)
        lab.run("ping", "-6", "-n", "-c", "1", "-w", "600", BOX6)
        wait_hops(lab, OTHER_MAC, OTHER_MAC)
        crossed(lab, range(20, 40))
        until(lambda: len(copies(lab)) == 40, "the copies")
        assert copies(lab)[20:] == [(OTHER_MAC, serial) for serial in range(20, 40)]
        assert f"next hop {ROUTER4} is at {OTHER_MAC}" in lab.box.daemon.output()
        assert "copy-no-next-hop" not in lab.counters()["total"]


def test_the_first_gateway_that_answers_is_sent_to_and_before_one_does_copies_are_counted_as_lost(tmp_path):
    link = LINK.replace(f'"{ROUTER4}"', f'"{SECOND4}", "{ROUTER4}"')
    with DeliveryLab(tmp_path, link=link, router_up=False) as lab:
        lab.driver.tap(0, 100, [destination(BEHIND, 5000)], source=["10.0.0.7"])
        lab.driver.commit()
        crossed(lab, range(5))
        until(lambda: lab.counters()["total"].get("copy-no-next-hop") == 5, "the lost copies")
        assert lab.counters([0])["tap"]["0"]["copies-dropped"] == 5

        lab.set_up()
        until(lambda: lab.counters()["next_hops"][1] == ROUTER_MAC, "the second gateway")
        assert lab.counters()["next_hops"][0] == ""
        crossed(lab, range(5, 10))
        until(lambda: len(copies(lab)) == 5, "the copies")
        # The preferred one comes, on an interface and with an address of its own.
        lab.ip("link", "add", "second", "link", "eth0", "address", OTHER_MAC, "type", "macvlan", "mode", "bridge")
        lab.ip("address", "add", f"{SECOND4}/24", "dev", "second")
        lab.ip("link", "set", "second", "up")
        until(lambda: lab.counters()["next_hops"][0] == OTHER_MAC, "the first gateway")
        crossed(lab, range(10, 15))
        until(lambda: len(copies(lab)) == 10, "the copies")
        assert copies(lab) == [(ROUTER_MAC, serial) for serial in range(5, 10)] + [
            (OTHER_MAC, serial) for serial in range(10, 15)]
        assert lab.counters()["total"]["copy-no-next-hop"] == 5


def test_a_router_that_falls_silent_is_named_and_copies_go_where_it_was(tmp_path):
    with DeliveryLab(tmp_path) as lab:
        wait_hops(lab, ROUTER_MAC, ROUTER_MAC)
        lab.driver.tap(0, 100, [destination(BEHIND, 5000)], source=["10.0.0.7"])
        lab.driver.commit()
        lab.ip("link", "set", "eth0", "arp", "off")
        until(lambda: lab.counters()["next_hops"][ROUTE4] == "", "the silence")
        lab.box.daemon.wait_for(f"next hop {ROUTER4} does not answer any more")
        crossed(lab, range(5))
        until(lambda: len(copies(lab)) == 5, "the copies")
        assert copies(lab) == [(ROUTER_MAC, serial) for serial in range(5)]


def test_a_name_that_is_taken_is_refused_and_the_interface_goes_with_the_process(tmp_path):
    with Wires("abd") as wires:
        devices = {f"device_{letter}": f"net_af_packet{i},iface=wire-{letter}" for i, letter in enumerate("abd")}
        wires.ip("tuntap", "add", "mode", "tap", "name", "delivery0")
        with Box(tmp_path, link=LINK, prefix=wires.prefix, delivery_mtu=1500, **devices) as box:
            assert box.daemon.wait() == 1
            assert '[delivery] interface "delivery0": there is one of this name already' in box.daemon.output()
            box.daemon.stop()
            box.stop = lambda: None
        wires.ip("link", "delete", "delivery0")
        with Box(tmp_path, link=LINK, prefix=wires.prefix, delivery_mtu=1500, **devices) as box:
            box.wait_ready()
            wires.ip("link", "show", "delivery0")
        shown = subprocess.run(["ip", "-n", wires.name, "link", "show", "delivery0"], check=False, capture_output=True)
        assert shown.returncode != 0
