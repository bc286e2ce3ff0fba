"""Several workers on one wire, each with a queue of its own, between which the kernel divides the flows as a network card
would: nothing is lost, changed, taken twice or miscounted because two have a hand in it. Through a real link, so the box
also has to leave alone what the kernel would reassemble."""

import collections
import os
import random

import pytest
from daemons import until
from dataplane import KEY, SPI, TAPS_FIRST, Box, Driver, destination
from scapy.all import ESP, IP, TCP, UDP, Ether, IPv6, Raw, SecurityAssociation
from test_copies import PLAIN, SEALED, check_ledger, ether
from test_fragments import udp4, udp6
from wires import Wires

CORES = sorted(os.sched_getaffinity(0))[:2]
FLOWS, EACH = 40, 12

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
              pytest.mark.skipif(len(CORES) < 2, reason="two workers need two cores")]


class TwoWorkers(Box):
    def __init__(self, folder, wires, **options):
        super().__init__(folder, device_a="net_af_packet0,iface=wire-a", device_b="net_af_packet1,iface=wire-b",
                         prefix=wires.prefix, workers=CORES, share_cores=True, memory=512, wait=TAPS_FIRST, **options)


def flows():
    """Packets of many flows in turn, of both families: {flow: packets in order}."""
    noise = random.Random(5)
    made = {}
    for flow in range(FLOWS):
        head = (IPv6(src=f"2001:db8::{flow + 1:x}", dst="2001:db8:1::1") if flow % 4 == 3 else
                IP(src=f"10.0.{flow}.7", dst="192.0.2.1")) / (TCP(sport=flow + 1, dport=443) if flow % 2 else
                                                             UDP(sport=flow + 1, dport=53))
        made[flow] = [head / Raw(noise.randbytes(12 + 8 * i)) for i in range(EACH)]
    return made


def exchange(wires, sent):
    """Sends frames {letter: frames} in at each side, a few at a time; returns {letter: what came out there}."""
    got = {letter: [] for letter in "ab"}

    def collect(letter, count):
        def look():
            try:
                while True:
                    got[letter].append(wires.end(letter).recv(65536))
            except BlockingIOError:
                return len(got[letter]) >= count
        until(look, f"{count} frames out of {letter}")
    for way, other in ("ab", "ba"):
        for at in range(0, len(sent.get(way, [])), 16):
            for frame in sent[way][at:at + 16]:
                wires.end(way).send(frame)
            collect(other, min(at + 16, len(sent[way])))
    return got


def rest(driver, count):
    """The counters once all frames that went in are counted as received."""
    until(lambda: sum(port.get("rx-packets", 0) for port in driver.counters()["ports"]) == count, "all frames counted")
    return driver.counters(range(8))


def test_two_workers_share_a_wire_and_every_tap_gets_its_packets_once(tmp_path):
    made = flows()
    frames = [ether(made[flow][i]) for i in range(EACH) for flow in made]
    back = [ether(IP(src="192.0.2.1", dst=f"10.0.{flow}.7") / UDP(sport=53, dport=flow + 1)) for flow in made]
    with Wires("ab") as wires, TwoWorkers(tmp_path, wires) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.sa()
            driver.tap(0, 1, [destination(SEALED, 5001)], protocol=[17])
            driver.tap(1, 2, [destination(PLAIN, 5002)], dest_port=[443])
            driver.tap(2, 3, [destination(PLAIN, 5003)], source=["10.0.4.7"])
            driver.tap(3, 4, [destination(PLAIN, 5004)], family=6, dest_port=[443])
            driver.commit()
            box.wait_ready()
            got = exchange(wires, {"a": frames, "b": back})
            counters = rest(driver, len(frames) + len(back))
    for way, sent in (("a", back), ("b", frames)):
        assert collections.Counter(got[way]) == collections.Counter(sent)
    bodies = {bytes(packet): (flow, i) for flow in made for i, packet in enumerate(made[flow])}
    order = collections.defaultdict(list)
    for frame in got["b"]:
        flow, i = bodies[frame[14:]]
        order[flow].append(i)
    assert all(seen == sorted(seen) for seen in order.values()), "a flow stays in order"
    assert all(worker["busy_cycles"] > 0 for worker in counters["workers"])
    check_ledger(counters)

    left = [box.folder / f"d-out{queue}.pcap" for queue in range(2)]
    assert all(path.stat().st_size > 24 for path in left), "both workers delivered"
    association = SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=KEY,
                                      tunnel_header=IP(src="100.100.100.100", dst="123.123.123.123"))
    copies, numbers = collections.defaultdict(collections.Counter), []
    for frame in box.out("d"):
        packet = Ether(frame)[IP]
        if ESP in packet:
            numbers.append(packet[ESP].seq)
            packet = association.decrypt(packet)
        copies[packet[UDP].dport][bytes(packet[UDP].payload)] += 1
    # Each worker takes counters in blocks: some of a block may be left over, none is used twice.
    assert len(set(numbers)) == len(numbers)

    def owed(wanted):
        return collections.Counter(bytes(packet) for flow in made for packet in made[flow] if wanted(flow))
    assert copies[5001] == owed(lambda flow: flow % 2 == 0) + collections.Counter(frame[14:] for frame in back)
    assert copies[5002] == owed(lambda flow: flow % 4 == 1)
    assert copies[5003] == owed(lambda flow: flow == 4)
    assert copies[5004] == owed(lambda flow: flow % 4 == 3)


@pytest.mark.parametrize("limit", [{"packet_limit": 100}, {"byte_limit": 50_000}], ids=["packets", "bytes"])
def test_a_limit_is_exact_over_both_workers(tmp_path, limit):
    frames = [ether(IP(src=f"10.0.{flow}.7", dst="192.0.2.1", id=i) / UDP(sport=flow + 1, dport=53) / Raw(bytes(472)))
              for i in range(EACH) for flow in range(FLOWS)]
    with Wires("ab") as wires, TwoWorkers(tmp_path, wires) as box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN, 5001)], protocol=[17], **limit)
        driver.tap(1, 2, [destination(PLAIN, 5002)], protocol=[17])
        driver.commit()
        box.wait_ready()
        got = exchange(wires, {"a": frames})
        counters = rest(driver, len(frames))
        assert len(got["b"]) == len(frames)
        assert driver.events("tap_over") == 0
        assert counters["tap"]["0"]["matched-packets"] == counters["tap"]["0"]["copies-sent"] == 100
        assert counters["tap"]["1"]["copies-sent"] == len(frames)
        check_ledger(counters)


def test_fragments_cross_as_they_are_and_those_of_a_datagram_come_to_one_worker(tmp_path):
    """Port taps: a worker that has not seen the first fragment could not know that the others belong to them."""
    packets = []
    for flow in range(FLOWS):
        packets += udp4(flow, host=f"10.0.{flow}.7") + udp4(flow, port=53, host=f"10.1.{flow}.7")
    packets += udp6(1)
    frames = [ether(packet) for packet in packets]
    with Wires("ab") as wires, TwoWorkers(tmp_path, wires) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.tap(0, 1, [destination(PLAIN, 5001)], dest_port=[5060])
            driver.tap(1, 2, [destination(PLAIN, 5001)], family=6, dest_port=[5060])
            driver.commit()
            box.wait_ready()
            got = exchange(wires, {"a": frames})
            counters = rest(driver, len(frames))
    assert collections.Counter(got["b"]) == collections.Counter(frames), "none was reassembled on the way"
    wanted = [packet for packet in packets if IPv6 in packet or packet.src.startswith("10.0.")]
    copies = collections.Counter(bytes(Ether(frame)[UDP].payload) for frame in box.out("d"))
    assert copies == collections.Counter(map(bytes, wanted))
    assert counters["total"]["matched-packets"] == len(wanted)
    check_ledger(counters)
