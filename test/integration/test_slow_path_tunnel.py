"""What the kernel sends to behind a tunnel leaves sealed; what comes out of a tunnel is opened, checked against the policy
and handed to the kernel; and a storm on the delivery port touches neither the wire nor the copies. scapy is the gateway."""

import os
import struct
import threading

import pytest
from daemons import until
from dataplane import KEY, SPI, destination
from delivery_lab import BOX4, LOCAL, REMOTE, ROUTER_MAC, DeliveryLab, in_namespace, ledgers_close, raw_socket
from scapy.all import ARP, ESP, ICMP, IP, UDP, Ether, Raw, SecurityAssociation
from test_slow_path import crossed, tapped_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")

INSIDE = "2.2.2.1"
SPI_IN = 0x2001
KEY_IN = bytes(range(100, 136))
STORM_FRAMES = 60_000


class Gateway:
    """The other end of the tunnel, on the router's raw socket."""

    def __init__(self, lab):
        self.lab = lab
        self._opened, self._numbers, self._looked_at = [], set(), 0
        self.mac = bytes.fromhex(lab.box_mac().replace(":", ""))
        self.inbound = SecurityAssociation(ESP, spi=SPI_IN, crypt_algo="AES-GCM", crypt_key=KEY_IN,
                                           tunnel_header=IP(src=REMOTE, dst=LOCAL))
        self.outbound = SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=KEY,
                                            tunnel_header=IP(src=LOCAL, dst=REMOTE))
        lab.driver.sa()
        lab.driver.sa(slot=0, key_id=2, spi=SPI_IN, key=KEY_IN.hex(), opens=True)
        lab.driver.commit()
        until(lambda: lab.counters()["next_hops"][0] == ROUTER_MAC, "the next hop")

    def send(self, packet):
        self.lab.socket.send(self.mac + bytes.fromhex(ROUTER_MAC.replace(":", "")) + b"\x08\x00" + bytes(packet))

    def sealed(self, inner, sequence):
        return self.inbound.encrypt(IP(bytes(inner)), seq_num=sequence, iv=struct.pack("!Q", sequence))

    def ping(self, number, source=INSIDE, dest=LOCAL):
        return IP(src=source, dst=dest) / ICMP(id=77, seq=number) / Raw(b"inside the tunnel")

    def opened(self):
        """[inner packet] of the ESP that has come, sent to the right place, each under a sequence number of its own."""
        frames = self.lab.received()
        for frame in frames[self._looked_at:]:
            if frame[12:14] != b"\x08\x00" or frame[23] != 50:
                continue
            packet = Ether(frame)
            assert packet.dst == ROUTER_MAC and (packet[IP].src, packet[IP].dst) == (LOCAL, REMOTE)
            assert packet[ESP].spi == SPI and packet[ESP].seq not in self._numbers
            self._numbers.add(packet[ESP].seq)
            self._opened.append(self.outbound.decrypt(packet[IP]))
        self._looked_at = len(frames)
        return self._opened

    def answers(self):
        return [inner[ICMP].seq for inner in self.opened() if ICMP in inner and inner[ICMP].type == 0]


@pytest.fixture(name="lab", scope="module")
def running_lab(tmp_path_factory):
    with DeliveryLab(tmp_path_factory.mktemp("tunnel")) as lab:
        lab.gateway = Gateway(lab)
        yield lab


def counted(lab, name, more, act):
    """Does it, and waits until the counter has grown by so much."""
    before = lab.slow(name)
    act()
    until(lambda: lab.slow(name) == before + more, f"{more} more of {name}; {lab.counters()['slow']}")


def test_the_kernel_is_spoken_to_through_the_tunnel_and_answers_through_it(lab):
    gateway = lab.gateway
    for number in range(1, 6):
        gateway.send(gateway.sealed(gateway.ping(number), number))
    until(lambda: sorted(gateway.answers()) == [1, 2, 3, 4, 5], "the answers, sealed")
    for inner in gateway.opened():
        assert (inner.src, inner.dst) == (LOCAL, INSIDE) and bytes(inner[Raw]) == b"inside the tunnel"
    # Not a byte of it in clear.
    assert not [frame for frame in lab.received() if b"inside the tunnel" in frame]
    until(lambda: lab.counters()["sa"]["0"].get("sealed-packets") == 5, "the sealed packets, counted")
    ledgers_close(lab)


def test_what_the_policy_forbids_is_refused_by_name_and_gets_no_answer(lab):
    gateway = lab.gateway
    answered = len(gateway.answers())
    first = gateway.sealed(gateway.ping(100), 100)
    counted(lab, "esp-opened", 1, lambda: gateway.send(first))
    counted(lab, "esp-refused-replayed", 1, lambda: gateway.send(first))
    counted(lab, "esp-refused-policy", 1, lambda: gateway.send(gateway.sealed(gateway.ping(1, source="9.9.9.9"), 101)))
    counted(lab, "esp-refused-policy", 1, lambda: gateway.send(gateway.sealed(gateway.ping(2, dest="192.0.2.254"), 102)))
    counted(lab, "esp-refused-policy", 1, lambda: gateway.send(gateway.sealed(gateway.ping(3, source=REMOTE), 103)))
    damaged = bytearray(bytes(gateway.sealed(gateway.ping(4), 104)))
    damaged[-1] ^= 1
    counted(lab, "esp-refused-bad-icv", 1, lambda: gateway.send(damaged))
    stranger = bytearray(bytes(gateway.sealed(gateway.ping(5), 105)))
    stranger[20:24] = struct.pack("!I", SPI_IN + 1)
    counted(lab, "esp-refused-unknown-spi", 1, lambda: gateway.send(stranger))
    counted(lab, "esp-refused-malformed", 1, lambda: gateway.send(IP(src=REMOTE, dst=LOCAL, proto=50) / Raw(
        struct.pack("!II", SPI_IN, 106) + bytes(4))))
    counted(lab, "rx-unprotected", 1, lambda: gateway.send(gateway.ping(7)))
    counted(lab, "rx-not-ours", 1, lambda: gateway.send(IP(src="192.0.2.254", dst="192.0.2.77") / UDP()))
    # The number of what failed its check was not spent; and the last one says that nothing else was answered.
    gateway.send(gateway.sealed(gateway.ping(104), 104))
    until(lambda: gateway.answers()[-1:] == [104], "the answer to a good one")
    assert gateway.answers()[answered:] == [100, 104]
    ledgers_close(lab)


def test_what_the_kernel_forwards_or_has_no_route_for_does_not_leave(lab):
    inside = ["nsenter", f"--net=/run/netns/{lab.wires.name}", "--"]
    lab.wires.ip("address", "add", "10.9.9.9/32", "dev", "lo")
    lab.wires.ip("link", "set", "lo", "up")
    code = "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('10.9.9.9',0)); " \
           "s.sendto(b'x',(sys.argv[1],9))"
    lab.run(*inside, "/usr/bin/python3", "-c", code, INSIDE)
    until(lambda: lab.slow("tx-not-ours") == 1, "the refusal")
    ledgers_close(lab)


def test_without_an_association_the_kernel_sends_nothing_in_clear(lab):
    gateway = lab.gateway
    lab.driver.do("remove_sa", slot=0, id=1)
    lab.driver.commit()
    counted(lab, "tx-no-sa", 1, lambda: gateway.send(gateway.sealed(gateway.ping(200), 200)))
    lab.driver.do("remove_sa", slot=0, id=2)
    lab.driver.commit()
    counted(lab, "esp-refused-unknown-spi", 1, lambda: gateway.send(gateway.sealed(gateway.ping(201), 201)))
    assert not [frame for frame in lab.received() if b"inside the tunnel" in frame]


class Storm:
    """Everything that makes the slow path work, as fast as a thread can send it, until it is stopped."""

    def __init__(self, lab):
        mac = bytes.fromhex(lab.box_mac().replace(":", ""))
        source = bytes.fromhex(ROUTER_MAC.replace(":", ""))
        ask = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=ROUTER_MAC) / ARP(op=1, hwsrc=ROUTER_MAC, psrc="192.0.2.254", pdst=BOX4))
        closed = mac + source + b"\x08\x00" + bytes(IP(src="192.0.2.254", dst=BOX4) / UDP(dport=9))
        ping = mac + source + b"\x08\x00" + bytes(IP(src="192.0.2.254", dst=BOX4) / ICMP())
        junk = mac + source + b"\x08\x00" + bytes(IP(src=REMOTE, dst=LOCAL, proto=50) / Raw(
            struct.pack("!II", SPI_IN, 5000) + os.urandom(600)))
        self.frames = [ask, closed, ping, junk]
        self.stop = threading.Event()
        self.socket = in_namespace(lab.router, lambda: raw_socket("eth0"))
        self.thread = threading.Thread(target=self._blow)

    def _blow(self):
        while not self.stop.is_set():
            for frame in self.frames:
                try:
                    self.socket.send(frame)
                except BlockingIOError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.socket.close()


def test_a_storm_on_the_delivery_port_costs_the_wire_and_the_copies_nothing(tmp_path):
    with DeliveryLab(tmp_path) as lab:
        gateway = Gateway(lab)
        lab.driver.tap(0, 100, [destination(INSIDE, 5000)], source=["10.0.0.7"])
        lab.driver.commit()
        serial = 0
        with Storm(lab):
            # As few at a time as every ring of the software devices holds, however slow the machine.
            while lab.counters()["slow_port"].get("rx-packets", 0) < STORM_FRAMES or serial < 320:
                crossed(lab, range(serial, serial + 16))
                serial += 16
        until(lambda: lab.counters([0])["tap"]["0"].get("copies-sent") == serial, "the copies, counted")
        wanted = [tapped_frame(number)[14:] for number in range(serial)]

        def copies():
            return [bytes(inner[UDP].payload) for inner in gateway.opened() if UDP in inner and inner[UDP].dport == 5000]
        until(lambda: len(copies()) >= serial, "the copies")
        assert copies() == wanted
        counters = lab.counters([0])
        assert counters["total"].get("matches") == serial == counters["total"].get("copies-sent")
        assert counters["slow"]["to-kernel"] > 0 and counters["slow"]["esp-refused-bad-icv"] > 0
        # And when it is over the kernel is there as before.
        gateway.send(gateway.sealed(gateway.ping(1), 1))
        until(lambda: 1 in gateway.answers(), "an answer after the storm")
        ledgers_close(lab)
