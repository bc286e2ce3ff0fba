"""Every fragment of a tapped datagram is copied, in whatever order the fragments pass, and no other. scapy makes them."""

import itertools
import random

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination, read_frames
from scapy.all import ICMP, IP, UDP, Dot1Q, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, Raw, fragment
from scapy.layers.inet6 import fragment6
from test_copies import body_of, ether, open_copies, run

PLAIN = "3.3.3.3"
NOISE = random.Random(11)


def udp4(number, size=1200, port=5060, host="10.0.0.7"):
    """Fragments of one datagram, as packets in order."""
    whole = IP(src=host, dst="192.0.2.1", id=number) / UDP(sport=40000, dport=port) / Raw(NOISE.randbytes(size))
    return fragment(whole, 400)


def icmp4(number, size=1200):
    return fragment(IP(src="10.0.0.7", dst="192.0.2.1", id=number) / ICMP(type=8) / Raw(NOISE.randbytes(size)), 400)


def udp6(number, size=1200, port=5060, hidden=False):
    """hidden: a header that comes before UDP stands in the first fragment, so that no other knows the protocol."""
    whole = IPv6(src="2001:db8::7", dst="2001:db8:1::1") / IPv6ExtHdrFragment(id=number)
    whole = whole / IPv6ExtHdrDestOpt() if hidden else whole
    return fragment6(whole / UDP(sport=40000, dport=port) / Raw(NOISE.randbytes(size)), 448)


def orders(make, count):
    """A datagram for each order of its fragments, or for some of them, one after the other."""
    every = list(itertools.permutations(range(count)))
    chosen = every if len(every) <= 24 else [every[0], every[-1], *NOISE.sample(every, 22)]
    result = []
    for order in chosen:
        parts = make()
        assert len(parts) >= count
        result += [parts[i] for i in order] + parts[count:]
    return result


def copies_of(frames, targets):
    """{port of the destination: original packets}"""
    got = {target["dest_port"]: [] for target in targets}
    for inner, _ in open_copies(frames):
        port = inner[UDP].dport
        got[port].append(body_of(inner, next(t for t in targets if t["dest_port"] == port)))
    return got


def in_steps(packets, gap):
    """Fillers between the packets, so that each comes in a burst of its own."""
    filler = ether(IP(src="172.16.0.1", dst="172.16.0.2") / UDP(sport=1, dport=1) / Raw(bytes(20)))
    frames = []
    for packet in packets:
        frames += [ether(packet)] + [filler] * gap
    return frames


@pytest.mark.parametrize("gap", [0, 40], ids=["same-burst", "burst-each"])
def test_every_fragment_reaches_the_taps_of_its_datagram_in_any_order(tmp_path, gap):
    numbers = itertools.count(1)
    sip = [p for n in (2, 3, 4, 5) for p in orders(lambda: udp4(next(numbers), 400 * n - 40), n)]  # noqa: B023
    other = orders(lambda: udp4(next(numbers), port=53), 4)
    ping = orders(lambda: icmp4(next(numbers)), 4)
    six = orders(lambda: udp6(next(numbers)), 3) + orders(lambda: udp6(next(numbers), hidden=True), 3)
    six_other = orders(lambda: udp6(next(numbers), port=53, hidden=True), 3)
    packets = sip + other + ping + six + six_other
    targets = [destination(PLAIN, 5001 + i) for i in range(7)]
    four = [bytes(p) for p in sip + other + ping]
    owed = {5001: [bytes(p) for p in sip],               # by port
            5002: four,                                  # by address
            5003: [],                                    # another port
            5004: [bytes(p) for p in ping],              # by ICMP type
            5005: [bytes(p) for p in six],               # IPv6 by port
            5006: [bytes(p) for p in six + six_other],   # IPv6 by protocol
            5007: []}                                    # IPv6, another protocol

    def steps(driver):
        driver.tap(0, 1, targets[0:1], source=["10.0.0.7"], dest_port=[5060])
        driver.tap(1, 2, targets[1:2], source=["10.0.0.7"])
        driver.tap(2, 3, targets[2:3], source=["10.0.0.7"], dest_port=[5061])
        driver.tap(3, 4, targets[3:4], source=["10.0.0.7"], icmp_type=[8])
        driver.tap(4, 5, targets[4:5], family=6, source=["2001:db8::7"], dest_port=[5060])
        driver.tap(5, 6, targets[5:6], family=6, protocol=[17])
        driver.tap(6, 7, targets[6:7], family=6, protocol=[6])

    frames, counters = run(tmp_path, in_steps(packets, gap), steps, sum(map(len, owed.values())))
    got = copies_of(frames, targets)
    for port, wanted in owed.items():
        assert sorted(got[port]) == sorted(wanted), port
    total = counters["total"]
    assert total["fragments-completed"] > 0
    assert total.get("fragments-early", 0) == total.get("fragments-resolved", 0)
    assert gap == 0 or total["fragments-early"] > 100
    assert total["matched-packets"] == len(packets)
    for name in ("unresolved", "held-full", "table-full", "conflict"):
        assert f"fragments-{name}" not in total


def test_datagrams_that_differ_in_anything_are_kept_apart(tmp_path):
    """The same identification from other hosts, in other VLANs, and in the other direction of the wire."""
    mine = udp4(7)
    others = [udp4(7, host="10.0.0.8", port=53), udp4(7, port=53), udp4(8, port=53)]
    tagged = [ether(p, [Dot1Q(vlan=9)]) for p in others[1]]
    order = [3, 1, 0, 2]
    frames = [f for i in order for f in (ether(mine[i]), ether(others[0][i]), tagged[i], ether(others[2][i]))]
    target = destination(PLAIN, 5001)

    def steps(driver):
        driver.tap(0, 1, [target], source=["10.0.0.0/24"], dest_port=[5060])
    sent, _ = run(tmp_path, frames, steps, len(mine))
    assert sorted(copies_of(sent, [target])[5001]) == sorted(map(bytes, mine))


def test_a_fragment_that_passes_twice_is_copied_twice(tmp_path):
    parts = udp4(7)
    overlap = parts[2].copy()
    overlap.frag -= 10
    packets = [parts[1], parts[1], parts[0], parts[0], overlap, parts[2], parts[1], *parts[3:]]
    target = destination(PLAIN, 5001)
    sent, counters = run(tmp_path, in_steps(packets, 40), lambda d: d.tap(0, 1, [target], dest_port=[5060]), len(packets))
    assert sorted(copies_of(sent, [target])[5001]) == sorted(bytes(IP(bytes(p))) for p in packets)
    assert "fragments-conflict" not in counters["total"]


def test_limits_and_the_order_of_things_hold_for_late_copies(tmp_path):
    """Four fragments of five are admitted, whichever way they came."""
    packets = [p for n in range(20) for p in reversed(udp4(n))]
    target = destination(PLAIN, 5001)
    sent, counters = run(tmp_path, in_steps(packets, 40),
                         lambda d: d.tap(0, 1, [target], dest_port=[5060], packet_limit=33), 33)
    assert len(copies_of(sent, [target])[5001]) == 33
    assert counters["tap"]["0"]["matched-packets"] == 33


def test_what_never_gets_its_first_fragment_is_counted_and_given_up(tmp_path):
    """More than can wait, of a datagram each; the wire does not notice."""
    late = [p for n in range(2000) for p in udp4(n)[1:2]]
    unrelated = [p for n in range(500) for p in udp4(n, host="172.16.0.9")[1:]]
    frames = [ether(p) for p in late + unrelated]
    with Box(tmp_path, frames, wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN, 5001)], source=["10.0.0.7"], dest_port=[5060])
        driver.commit()
        until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(frames), "all frames")
        def given_up():
            total = driver.counters()["total"]
            return total.get("fragments-unresolved", 0) + total.get("fragments-held-full", 0) == len(late) and total
        total = until(given_up, "every one given up")
        assert total["fragments-early"] == len(late)
        # More, where the worker was off its core so long that the first of them were over before the last came.
        assert total["fragments-unresolved"] >= 1024
        box.stop()
        assert box.out("b") == frames
        assert box.out("d") == []


def test_fragments_that_wait_at_the_end_are_counted(tmp_path):
    with Box(tmp_path, [ether(p) for p in udp4(1)[1:]], wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN, 5001)], dest_port=[5060])
        driver.commit()
        until(lambda: driver.counters()["total"].get("fragments-early"), "they wait")
        box.stop()
        assert "fragments-unresolved" in box.daemon.output()


def test_own_output_is_told_from_its_neighbours_when_the_first_fragment_is_known(tmp_path):
    """Early fragments of another port pair look like the box's own. They are copied once the first one says otherwise."""
    target = destination(PLAIN, 5000, "1.1.1.1", 6000)

    def parts(number, port):
        return fragment(IP(src="1.1.1.1", dst=PLAIN, id=number) / UDP(sport=6000, dport=port) / Raw(NOISE.randbytes(1200)), 400)
    own = [p for n in range(1, 5) for p in reversed(parts(n, 5000))]
    foreign = [p for n in range(5, 9) for p in reversed(parts(n, 5009))]

    def steps(driver):
        driver.tap(0, 1, [target])
        driver.tap(1, 2, [target], dest_port=[[5000, 5009]])
    sent, counters = run(tmp_path, in_steps(own + foreign, 40), steps, 2 * len(foreign) + 40 * len(own + foreign))
    bodies = copies_of(sent, [target])[5000]
    assert sorted(b for b in bodies if IP(b).src == "1.1.1.1") == sorted(2 * [bytes(p) for p in foreign])
    looked_own = sum(1 for p in foreign if p.frag)
    assert counters["total"]["own-output"] == len(own) + looked_own
