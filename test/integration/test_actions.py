"""Redirect and Block: what such a tap matches does not reach the other side, everything else does, unchanged and in order,
and every frame is accounted for."""

import ipaddress
import os
import random
import time

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination, read_frames
from scapy.all import IP, TCP, UDP, Dot1Q, IPv6, Raw
from test_copies import PLAIN, SEALED, body_of, check_ledger, ether, open_copies
from test_fragments import udp4, udp6
from test_limits import LENGTH, LimitsLab, add, host, listed
from wires import Wires

A, B = 0, 1  # ports of the wire, as the configuration numbers them
PORTS = (5001, 5002, 5003, 5004)


def traffic(count=400):
    """Frames of the hosts 1 to 9 on both families, of many lengths and tags, with some that are no packets."""
    noise = random.Random(21)
    frames = []
    for i in range(count):
        number = noise.randint(1, 9)
        body = Raw(noise.randbytes(noise.choice([0, 1, 18, 200, 1400])))
        v6 = IPv6(src=f"2001:db8::{number}", dst="2001:db8:1::1") / UDP(sport=1, dport=i) / body
        v4 = IP(src=f"10.0.0.{number}", dst="192.0.2.1", id=i) / (TCP(dport=443) if i % 2 else UDP(dport=53)) / body
        frames.append(ether(v6 if i % 5 == 0 else v4, [Dot1Q(vlan=3)][:i % 2]))
        if i % 40 == 0:
            frames.append(bytes.fromhex("020000000002" "020000000001" "88cc") + noise.randbytes(60))
    return frames


def packet(frame):
    """The frame's IP packet as bytes; None: it holds none."""
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    kind = frame[at - 2:at]
    return frame[at:] if kind in (b"\x08\x00", b"\x86\xdd") else None


def source(frame):
    raw = packet(frame)
    if raw is None:
        return None
    return str(ipaddress.ip_address(raw[12:16] if raw[0] >> 4 == 4 else raw[8:24]))


def settled(driver, sent, worker=0):
    """The counters when all frames that were sent in at a are counted, and the poll that took the last one is over."""
    until(lambda: driver.counters()["ports"][A].get("rx-packets", 0) == sent, "all frames received")
    beat = driver.counters()["workers"][worker]["heartbeat"]
    until(lambda: driver.counters()["workers"][worker]["heartbeat"] > beat + 1, "the last burst done")
    return driver.counters(range(8))


def check_wire(counters, passed):
    """Every frame that came in at a was sent on, or is counted by what became of it."""
    a, b = counters["ports"][A], counters["ports"][B]
    stopped = a.get("redirected-frames", 0) + a.get("blocked-frames", 0)
    assert a["rx-packets"] == b.get("tx-packets", 0) + b.get("tx-dropped", 0) + stopped
    assert b.get("tx-packets", 0) == len(passed)
    assert b.get("tx-bytes", 0) == sum(map(len, passed))
    assert "redirected-frames" not in b and "blocked-frames" not in b, "counted where they came in"


def run(folder, frames, steps, *, passed, copies, **options):
    """Sends the frames through a box whose control took the steps first. `passed` is all that reaches the other side,
    `copies` {port of the destination: packets that it gets}; returns the counters."""
    with Box(folder, frames, wait=60, **options) as box:
        with Driver(box) as driver:
            driver.do("resync")
            steps(driver)
            driver.commit()
            counters = settled(driver, len(frames))
        box.stop()
    assert box.out("b") == passed, "nothing else is missing, changed or late"
    check_wire(counters, passed)
    check_ledger(counters)
    got = {port: [] for port in copies}
    for inner, _ in open_copies(box.out("d")):
        got[inner[UDP].dport].append(body_of(inner, destination(inner.dst, inner[UDP].dport)))
    for port, wanted in copies.items():
        assert got[port] == [bytes(each) for each in wanted], port
    return counters


@pytest.mark.dtcp("9.redirect", "9.block")
def test_each_action_does_what_it_says_and_several_taps_of_one_frame_do_not_disturb_each_other(tmp_path):
    frames = traffic()

    def of(*hosts):
        return [packet(frame) for frame in frames if source(frame) in hosts]

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [destination(SEALED, 5001)], source=["10.0.0.1", "10.0.0.4"], action="redirect")
        driver.tap(1, 2, [destination(SEALED, 5009)], source=["10.0.0.2", "10.0.0.4", "10.0.0.5"], action="block")
        driver.tap(2, 3, [destination(PLAIN, 5002)], source=["10.0.0.0/29"])
        driver.tap(3, 4, [destination(PLAIN, 5003), destination(SEALED, 5004)], family=6, source=["2001:db8::6"],
                   action="redirect")
        driver.tap(4, 5, [destination(PLAIN, 5005)], source=["203.0.113.1"], action="block")

    stopped = {"10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "2001:db8::6"}
    passed = [frame for frame in frames if source(frame) not in stopped]
    low = [f"10.0.0.{number}" for number in range(1, 8)]
    six = of("2001:db8::6")
    counters = run(tmp_path, frames, steps, passed=passed, copies={
        5001: of("10.0.0.1", "10.0.0.4"), 5002: of(*low), 5003: six, 5004: six, 5005: [], 5009: []})
    redirected, blocked = of("10.0.0.1", "10.0.0.4", "2001:db8::6"), of("10.0.0.2", "10.0.0.5")
    assert redirected and blocked and six and of("10.0.0.4"), "the traffic holds something for each tap"
    assert counters["ports"][A]["redirected-frames"] == len(redirected), "what two taps stop is counted once"
    assert counters["ports"][A]["blocked-frames"] == len(blocked)
    taps = counters["tap"]
    for slot, hosts in ((0, ["10.0.0.1", "10.0.0.4"]), (1, ["10.0.0.2", "10.0.0.4", "10.0.0.5"]), (3, ["2001:db8::6"])):
        assert taps[str(slot)]["stopped-packets"] == taps[str(slot)]["matched-packets"] == len(of(*hosts))
    assert taps["1"]["matched-bytes"] == sum(map(len, of("10.0.0.2", "10.0.0.4", "10.0.0.5")))
    assert "copies-sent" not in taps["1"], "what is blocked is nowhere"
    assert "stopped-packets" not in taps["2"]
    assert taps["4"] == {}
    assert counters["total"]["matched-packets"] == len(of(*low)) + len(six)


def test_while_no_tap_stops_frames_or_none_matches_all_of_them_pass(tmp_path):
    frames = traffic(200)

    def steps(driver):
        driver.tap(0, 1, [destination(PLAIN, 5001)], source=["10.0.0.3"])
        driver.tap(1, 2, [destination(PLAIN, 5002)], source=["10.0.0.3"], dest_port=[9], action="block")
        driver.tap(2, 3, [destination(PLAIN, 5003)], source=["10.0.0.3"], interfaces=[[B, None]], action="redirect")
    owed = [packet(frame) for frame in frames if source(frame) == "10.0.0.3"]
    counters = run(tmp_path, frames, steps, passed=frames, copies={5001: owed, 5002: [], 5003: []})
    assert "blocked-frames" not in counters["ports"][A] and "redirected-frames" not in counters["ports"][A]


def test_the_limit_counts_what_is_stopped_and_the_frame_after_it_passes(tmp_path):
    frames = {number: [ether(IP(src=f"10.0.0.{number}", dst="192.0.2.1", id=i) / UDP(sport=1, dport=2) / Raw(bytes(72)))
                       for i in range(90)] for number in (7, 8)}
    sent = [frame for pair in zip(frames[7], frames[8]) for frame in pair]

    def steps(driver):
        driver.tap(0, 1, [destination(PLAIN, 5001)], source=["10.0.0.7"], action="redirect", packet_limit=50)
        driver.tap(1, 2, [destination(PLAIN, 5002)], source=["10.0.0.8"], action="block", packet_limit=50)
        driver.tap(2, 3, [destination(PLAIN, 5003)], source=["10.0.0.7"])
        # What a drop policy leaves out of a tap is, to that tap, as if it did not match.
        driver.tap(3, 4, [destination(PLAIN, 5004)], source=["10.0.0.7"], action="redirect", suppressed=1)
        driver.tap(4, 5, [destination(PLAIN, 5004)], source=["10.0.0.8"], action="block", suppressed=1)
    counters = run(tmp_path, sent, steps, passed=sent[100:], tail='[[drop-policy]]\nname = "two"\ndest-port = "2"\n', copies={
        5001: map(packet, frames[7][:50]), 5002: [], 5003: map(packet, frames[7]), 5004: []})
    for slot in ("0", "1"):
        assert counters["tap"][slot]["matched-packets"] == counters["tap"][slot]["stopped-packets"] == 50
    assert counters["tap"]["3"] == counters["tap"]["4"] == {"suppressed": 90}


def test_a_limit_in_bytes_is_exact_over_several_bursts_and_an_update_lets_it_go_on(tmp_path):
    """Packets of 100 bytes come all the time."""
    box = Box(tmp_path, [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP() / Raw(bytes(72)))] * 64, wait=60,
              device_a=f"net_pcap0,rx_pcap={tmp_path}/a-in.pcap,infinite_rx=1", device_b="net_null1,no-rx=1",
              device_d="net_null2,no-rx=1")
    with box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN)], source=["10.0.0.7"], action="block", byte_limit=1_234_567)
        driver.commit()
        assert driver.events("tap_over") == 0
        stopped = driver.counters([0])
        assert stopped["tap"]["0"]["stopped-packets"] == 12_345 == stopped["ports"][A]["blocked-frames"]
        driver.update(0, 1, byte_limit=2_000_000)
        driver.commit()
        assert driver.events("tap_over") == 0
        assert driver.counters([0])["tap"]["0"]["stopped-packets"] == 20_000


def test_a_redirected_packet_whose_copy_is_lost_is_not_sent_on(tmp_path):
    frames = traffic(100)
    first, second = ([frame for frame in frames if source(frame) == f"10.0.0.{number}"] for number in (7, 8))

    def steps(driver):
        driver.tap(0, 1, [destination("9.9.9.9")], source=["10.0.0.7"], action="redirect")
        driver.tap(1, 2, [destination(SEALED)], source=["10.0.0.8"], action="redirect")
    counters = run(tmp_path, frames, steps, passed=[frame for frame in frames if frame not in first + second], copies={})
    assert counters["total"]["copy-no-route"] == counters["tap"]["0"]["copies-dropped"] == len(first)
    assert counters["total"]["copy-no-sa"] == counters["tap"]["1"]["copies-dropped"] == len(second)
    assert counters["ports"][A]["redirected-frames"] == len(first) + len(second)


def test_fragments_follow_their_first_one_and_those_that_came_before_it_have_passed(tmp_path):
    """Of host 7 UDP to port 5060 is redirected, of host 8 blocked, and all of it copied to a third tap."""
    fillers = [IP(src="172.16.0.1", dst="172.16.0.2", id=i) / UDP() for i in range(64)]  # two bursts
    sent, in_order, late = [], {}, {}
    for number in (7, 8):
        origin = f"10.0.0.{number}"
        mine, other, late[number] = udp4(1, host=origin), udp4(2, port=53, host=origin), udp4(3, host=origin)
        in_order[number] = mine
        sent += [mine[0], *other[:2], *mine[1:], *other[2:], *late[number][1:], *fillers, late[number][0]]
    six = udp6(4)
    frames = [ether(part) for part in sent + six]
    early = [part for number in late for part in late[number][1:]]

    def steps(driver):
        driver.tap(0, 1, [destination(PLAIN, 5001)], source=["10.0.0.7"], dest_port=[5060], action="redirect")
        driver.tap(1, 2, [destination(PLAIN, 5002)], source=["10.0.0.8"], dest_port=[5060], action="block")
        driver.tap(2, 3, [destination(PLAIN, 5003)], source=["10.0.0.0/24"], dest_port=[5060])
        driver.tap(3, 4, [destination(PLAIN, 5004)], family=6, dest_port=[5060], action="redirect")
    with Box(tmp_path, frames, wait=60) as box:
        with Driver(box) as driver:
            driver.do("resync")
            steps(driver)
            driver.commit()
            until(lambda: driver.counters()["total"].get("fragments-resolved") == len(early), "the early ones resolved")
            counters = settled(driver, len(frames))
        box.stop()
    stopped = [bytes(part) for number in (7, 8) for part in [*in_order[number], late[number][0]]] + [*map(bytes, six)]
    passed = [frame for frame in frames if packet(frame) not in stopped]
    assert box.out("b") == passed
    check_wire(counters, passed)
    check_ledger(counters)
    got = {port: [] for port in PORTS}
    for inner, _ in open_copies(box.out("d")):
        got[inner[UDP].dport].append(body_of(inner, destination(PLAIN, inner[UDP].dport)))
    sip = {number: sorted(map(bytes, [*in_order[number], *late[number]])) for number in (7, 8)}
    assert sorted(got[5001]) == sip[7] and got[5002] == []
    assert sorted(got[5003]) == sorted(sip[7] + sip[8]), "another tap's copies are whole, early ones too"
    assert got[5004] == [bytes(part) for part in six]
    for slot, number in (("0", 7), ("1", 8)):
        tap = counters["tap"][slot]
        assert tap["matched-packets"] == len(sip[number]), "the early ones are the tap's"
        assert tap["stopped-packets"] == len(in_order[number]) + 1, "and were not stopped"
    assert counters["ports"][A]["blocked-frames"] == len(in_order[8]) + 1
    assert counters["ports"][A]["redirected-frames"] == len(in_order[7]) + 1 + len(six)


def test_the_boxs_own_output_is_never_stopped(tmp_path):
    target = destination(SEALED, 5000, "1.1.1.1", 6000)
    own = [ether(IP(src="1.1.1.1", dst=SEALED) / UDP(sport=6000, dport=5000) / Raw(b"a copy"))] * 3
    other = [ether(IP(src="1.1.1.1", dst=SEALED) / UDP(sport=6000, dport=5009) / Raw(b"another port"))] * 2

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [target], source=["203.0.113.9"])  # whose encapsulation it is
        driver.tap(1, 2, [destination(PLAIN, 5001)], action="block")
        driver.tap(2, 3, [destination(PLAIN, 5002)], action="redirect")
    counters = run(tmp_path, own + other, steps, passed=own, copies={5001: [], 5002: map(packet, other)})
    assert counters["total"]["own-output"] == len(own)


def test_it_begins_with_the_answer_to_its_commit_ends_with_that_of_its_removal_and_outlives_control(tmp_path):
    """Frames of the tapped host come all the time, as fast as they can be taken."""
    box = Box(tmp_path, [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP() / Raw(bytes(18)))] * 64, wait=60,
              device_a=f"net_pcap0,rx_pcap={tmp_path}/a-in.pcap,infinite_rx=1", device_b="net_null1,no-rx=1",
              device_d="net_null2,no-rx=1")

    def ports(driver):
        """(received, sent on, blocked) of the frames so far; read in the order that makes the last one newest."""
        counters = driver.counters()["ports"]
        return (counters[A].get("rx-packets", 0), counters[B].get("tx-packets", 0), counters[A].get("blocked-frames", 0))

    def grown(driver, before):
        return until(lambda: (now := ports(driver))[0] > before[0] + 10_000 and now, "frames")

    with box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.commit()
            assert grown(driver, (0, 0, 0))[2] == 0
            for slot, tap in enumerate((101, 102, 103)):
                driver.tap(slot, tap, [destination(PLAIN)], source=["10.0.0.7"], action="block")
                driver.commit()
                begun = ports(driver)
                after = grown(driver, begun)
                assert after[1] == begun[1], "no frame has passed since the answer"
                assert after[2] > begun[2]
                driver.do("remove", slot=slot, id=tap)
                driver.commit()
                ended = ports(driver)
                after = grown(driver, ended)
                assert after[2] == ended[2], "no frame has been stopped since the answer"
                assert after[1] > ended[1]
            driver.tap(0, 200, [destination(PLAIN)], source=["10.0.0.7"], action="block")
            driver.commit()
            driver.kill()
        with Driver(box) as driver:
            begun = ports(driver)
            after = grown(driver, begun)
            assert after[1] == begun[1] and after[2] > begun[2], "for some time nothing changes without control"
            driver.do("resync")
            driver.tap(0, 201, [destination(PLAIN)], source=["10.0.0.7"])
            driver.commit()
            ended = ports(driver)
            assert grown(driver, ended)[2] == ended[2], "another tap in the slot copies"


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_without_control_frames_are_stopped_for_a_while_and_again_once_it_is_back(tmp_path):
    """Copies go on all the time. That the while is 30 s is a unit test's; here it is long enough for a restart."""
    redirected = ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(60)))
    with Wires("ab") as wires, Box(tmp_path, wait=TAPS_FIRST, prefix=wires.prefix, device_a="net_af_packet0,iface=wire-a",
                                   device_b="net_af_packet1,iface=wire-b") as box:
        sent = 0

        def send():
            nonlocal sent
            wires.end("a").send(redirected)
            sent += 1

        def passed():
            try:
                return wires.end("b").recv(2048) == redirected
            except BlockingIOError:
                return False

        def take_charge(driver):
            driver.do("resync")
            driver.tap(0, 1, [destination(PLAIN)], source=["10.0.0.7"], action="redirect")
            driver.commit()
        with Driver(box) as first:
            take_charge(first)
            box.wait_ready()
            send()
            until(lambda: first.counters([0])["tap"]["0"].get("copies-sent") == 1, "the first copy")
            first.kill()
            lost = time.monotonic()
            until(lambda: passed() or send(), "a frame that is sent on")
            assert time.monotonic() - lost > 20, "a control process that is started again finds them stopped still"
        with Driver(box) as second:
            take_charge(second)
            before = second.counters()["ports"][A]["redirected-frames"]
            until(lambda: second.counters()["ports"][A]["redirected-frames"] > before or send(), "frames stopped again")
            until(lambda: second.counters([0])["tap"]["0"]["copies-sent"] == sent, "a copy of each")
            counters = second.counters()
            assert counters["ports"][A]["redirected-frames"] == sent - counters["ports"][B]["tx-packets"]


class ActionsLab(LimitsLab):
    """The first source may do both; the second may not."""

    def configuration(self):
        return super().configuration().replace('name = "ft-ttp"', 'name = "ft-ttp"\nactions = ["redirect", "block"]', 1)

    def wire(self):
        """Counters of (the port that the frames come in at, the other)."""
        a, b, _ = self.show("ports")["ports"]
        return a["counters"], b["counters"]


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.dtcp("9.redirect", "9.block", "9.501-action", "6.timeout-packets")
def test_actions_are_asked_for_over_dtcp_by_the_source_that_may_and_end_with_their_tap():
    with ActionsLab() as lab:
        lab.start_all()
        lab.forwarding()
        with lab.client() as one, lab.client("ft-two") as two:
            for action in ("Redirect", "Block"):
                answer = two.request("ADD", "Cdest-ID: limited", f"Source-Address: {host(1)}", "Flags: Static",
                                     f"Action: {action}")
                assert answer.code == 501 and f"\r\nAction: {action}\r\n".encode() in answer.raw
            blocks = add(one, 1, "md1", "Action: Block")
            redirects = add(one, 2, "md1", "Action: Redirect")
            watched = add(two, 1, "md9")
            assert {identity: entry.get("ACTION") for identity, entry in listed(one).items()} == {
                blocks: "Block", redirects: "Redirect"}
            # 10 frames of each of three hosts; what else the kernel sends on a new link is not theirs.
            for number in (1, 2, 3):
                lab.feed.send(number, 10)

            def seen(blocked, redirected, of_three):
                a, _ = lab.wire()
                return (a["blocked-frames"], a["redirected-frames"]) == (blocked, redirected) and of_three(lab.wire()[1])
            until(lambda: seen(10, 10, lambda b: b["tx-packets"] >= 10), "blocked, redirected and sent on")
            until(lambda: listed(one)[blocks]["MATCHING-PACKETS"] == "10", "what was blocked in the LIST")
            until(lambda: listed(two)[watched]["MATCHING-PACKETS"] == "10", "copies of what was blocked")
            assert one.request("DELETE", f"Criteria-ID: {blocks},{redirects}", "Flags: Static")["CRITERIA-COUNT"] == "2"
            before = lab.wire()
            for number in (1, 2):
                lab.feed.send(number, 10)
            until(lambda: lab.wire()[1]["tx-bytes"] >= before[1]["tx-bytes"] + 20 * (LENGTH + 14), "all sent on")
            assert seen(10, 10, lambda _: True)
            # By its limit, told with 390, the tap is gone: of 12 frames 5 were blocked.
            answer = one.request("ADD", "Cdest-ID: limited", f"Source-Address: {host(4)}", "Flags: SendAsync",
                                 "Timeout-Packets: 5", "Action: Block")
            assert answer.code == 200
            before = lab.wire()
            lab.feed.send(4, 12)
            assert lab.peer.expect(390)["CRITERIA-ID"] == answer["CRITERIA-ID"]
            until(lambda: lab.wire()[1]["tx-bytes"] >= before[1]["tx-bytes"] + 7 * (LENGTH + 14), "the others sent on")
            assert seen(15, 10, lambda _: True)
            assert listed(one) == {}
