"""Where taps watch, and for how long: interfaces, whole frames, limits, updates, and what becomes of the counts."""

import random

import pytest
from daemons import BUILD, until
from dataplane import TAPS_FIRST, Box, Driver, destination, read_frames
from scapy.all import ARP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, IPv6, Raw, defragment
from test_copies import PLAIN, SEALED, body_of, check_ledger, ether, open_copies

A, B = 0, 1  # ports of the wire, as the configuration numbers them


def udp(host=7, size=100, dport=9):
    return IP(src=f"10.0.0.{host}", dst="192.0.2.1") / UDP(sport=5, dport=dport) / Raw(bytes(size))


def strange():
    """Frames that are no packets: (frame, VLAN id of its outermost tag)."""
    header = bytes.fromhex("020000000002020000000001")
    return [(bytes(Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.1")), 0),
            (ether(ARP(pdst="192.0.2.2"), [Dot1Q(vlan=100)]), 100),
            (ether(IP(version=5, src="10.0.0.7", dst="192.0.2.1") / Raw(bytes(40))), 0),
            (ether(udp())[:40], 0),                                        # ends inside the packet
            (header + b"\x88\xcc" + bytes(100), 0),                        # LLDP
            (ether(udp(), [Dot1Q(vlan=100)] * 6), 100),                    # too many tags
            (ether(Raw(b"\x08\x00"), [Dot1AD(vlan=9, prio=3), Dot1Q(vlan=100)]) + bytes(40), 9)]


def packets():
    """(frame, its IP packet, VLAN id) on several VLANs, of two hosts."""
    result = []
    for i in range(30):
        packet = udp(7 + i % 2, 20 + i * 40, i + 1) if i % 3 else IPv6(src="2001:db8::7", dst="2001:db8::8") / TCP(dport=i)
        vlan, tags = [(0, []), (100, [Dot1Q(vlan=100)]), (0, [Dot1Q(vlan=0, prio=5)]), (9, [Dot1AD(vlan=9), Dot1Q(vlan=100)]),
                      (101, [Dot1Q(vlan=101)])][i % 5]
        result.append((ether(packet, tags), bytes(packet), vlan))
    return result


def run(tmp_path, frames_a, frames_b, steps, copies, taps, **box_options):
    """Installs taps before the first frame; returns the frames on the delivery port and the counters."""
    with Box(tmp_path, frames_a, frames_b, wait=TAPS_FIRST, **box_options) as box:
        with Driver(box) as driver:
            driver.do("resync")
            steps(driver)
            driver.commit()
            until(lambda: len(read_frames(tmp_path / "b-out.pcap")) == len(frames_a), "all frames one way")
            until(lambda: len(read_frames(tmp_path / "a-out.pcap")) == len(frames_b), "all frames the other way")
            until(lambda: len(box.out("d")) >= copies, "all copies")
            counters = driver.counters(range(taps))
        box.stop()
        assert box.out("b") == frames_a and box.out("a") == frames_b, "through traffic is what it was"
        check_ledger(counters)
        for tap in counters["tap"].values():
            assert tap.get("suppressed", 0) == 0
        return box.out("d"), counters


def by_port(frames, targets):
    """{destination port: [original]}"""
    got = {target["dest_port"]: [] for target in targets}
    wanted = {target["dest_port"]: target for target in targets}
    for inner, _ in open_copies(frames):
        got[inner[UDP].dport].append(body_of(inner, wanted[inner[UDP].dport]))
    return got


@pytest.mark.dtcp("7.input-interface", "7.ccc")
def test_interfaces_and_whole_frames_get_exactly_what_comes_in_there(tmp_path):
    traffic = packets()
    odd = strange()
    frames_a = [frame for frame, *_ in traffic] + [frame for frame, _ in odd]
    vlans = [vlan for *_, vlan in traffic] + [vlan for _, vlan in odd]
    frames_b = [ether(udp(7, 10, 77)), ether(udp(7, 11, 78), [Dot1Q(vlan=100)]), odd[0][0], odd[1][0]]
    targets = [destination(SEALED if i % 2 else PLAIN, 5000 + i, f"1.1.1.{i + 1}", 6000 + i) for i in range(7)]

    def steps(driver):
        driver.sa()
        driver.tap(0, 10, [targets[0]], interfaces=[[A, 100]], source=["10.0.0.7"])
        driver.tap(1, 11, [targets[1]], interfaces=[[A, 100]])
        driver.tap(2, 12, [targets[2]], interfaces=[[A, None]], family=6)
        driver.tap(3, 13, [targets[3]], interfaces=[[A, 0], [A, 9]], layer2=True)
        driver.tap(4, 14, [targets[4]], interfaces=[[A, None]], layer2=True)
        driver.tap(5, 15, [targets[5]], interfaces=[[B, None]])
        driver.tap(6, 16, [targets[6]], interfaces=[[B, 100]], layer2=True)

    def is_v4(raw):
        return raw[0] >> 4 == 4
    owed = {5000: [raw for _, raw, vlan in traffic if is_v4(raw) and vlan == 100 and raw[15] == 7],
            5001: [raw for _, raw, vlan in traffic if is_v4(raw) and vlan == 100],
            5002: [raw for _, raw, _ in traffic if not is_v4(raw)],
            5003: [frame for frame, vlan in zip(frames_a, vlans) if vlan in (0, 9)],
            5004: frames_a,
            5005: [bytes(udp(7, 10, 77)), bytes(udp(7, 11, 78))],
            5006: [frames_b[1], frames_b[3]]}
    assert all(owed.values()), "the traffic holds something for each tap"
    total = sum(map(len, owed.values()))
    frames, counters = run(tmp_path, frames_a, frames_b, steps, total, 7)
    assert by_port(frames, targets) == owed
    for slot in range(7):
        tap = counters["tap"][str(slot)]
        assert tap["matched-packets"] == len(owed[5000 + slot])
        assert tap["matched-bytes"] == sum(map(len, owed[5000 + slot])), "of whole frames all bytes"
    assert counters["total"]["matched-packets"] == len(frames_a) + len(frames_b) - 1, "all but the ARP frame from b"


def test_whole_frames_too_long_for_the_tunnel_leave_in_fragments(tmp_path):
    noise = random.Random(5)
    frames = [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP() / Raw(noise.randbytes(size)), [Dot1Q(vlan=3)])
              for size in (1, 1380, 1400, 1450, 1472, 5000, 9000)]
    frames.append(bytes.fromhex("020000000002020000000001" "88cc") + noise.randbytes(3000))
    target = destination(SEALED)

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [target], interfaces=[[A, None]], layer2=True)
    sent, counters = run(tmp_path, frames, [], steps, len(frames), 1, delivery_mtu=1500, dataplane="mtu = 9216")
    assert all(len(frame) - 14 <= 1500 for frame in sent)
    whole = [bytes(packet)[28:] for packet in defragment([packet for packet, _ in open_copies(sent)])]
    assert sorted(whole) == sorted(frames)
    assert counters["total"]["copies-sent"] == len(frames)


def test_whole_frames_of_the_boxs_own_output_are_never_copied(tmp_path):
    target = destination(SEALED)
    own = [ether(IP(src="1.1.1.1", dst=SEALED) / UDP(sport=6000, dport=5000) / Raw(b"a copy"), tags)
           for tags in ([], [Dot1Q(vlan=4)])]
    other = [ether(udp()), strange()[0][0]]

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [target], interfaces=[[A, None]], layer2=True)
    sent, counters = run(tmp_path, own + other, [], steps, len(other), 1)
    assert [body_of(inner, target) for inner, _ in open_copies(sent)] == other
    assert counters["total"]["own-output"] == len(own)


def events(driver, count):
    """Waits for so many events; returns [(kind, slot, id)]."""
    seen = []

    def look():
        seen.extend((event["kind"], event["slot"], event["id"]) for event in driver.do("events")["events"])
        return len(seen) >= count
    until(look, f"{count} events")
    return seen


@pytest.mark.dtcp("6.timeout-packets", "6.timeout-bytes")
def test_not_one_copy_goes_beyond_a_limit_and_control_is_told(tmp_path):
    sizes = [100, 400, 30, 900, 60] * 20
    frames = [ether(udp(7, size)) for size in sizes]
    lengths = [size + 28 for size in sizes]
    targets = [destination(PLAIN, 5000 + i, f"1.1.1.{i + 1}", 6000 + i) for i in range(5)]
    budget = 5000
    fitting = next(i for i in range(len(lengths)) if sum(lengths[:i + 1]) > budget)
    assert sum(lengths[:fitting]) + min(lengths) <= budget, "a smaller packet would fit"

    def steps(driver):
        driver.tap(0, 20, [targets[0]], packet_limit=7)
        driver.tap(1, 21, [targets[1]], byte_limit=budget)
        driver.tap(2, 22, [targets[2]], packet_limit=9, byte_limit=1 << 40)
        driver.tap(3, 23, [targets[3]], packet_limit=0)
        driver.tap(4, 24, [targets[4]], packet_limit=len(frames) + 1)
    owed = {5000: 7, 5001: fitting, 5002: 9, 5003: 0, 5004: len(frames)}
    with Box(tmp_path, frames, wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        steps(driver)
        driver.commit()
        told = events(driver, 4)
        assert sorted(told) == [("tap_over", 0, 20), ("tap_over", 1, 21), ("tap_over", 2, 22), ("tap_over", 3, 23)]
        until(lambda: len(box.out("d")) >= sum(owed.values()), "all copies")
        until(lambda: len(read_frames(tmp_path / "b-out.pcap")) == len(frames), "all frames")
        counters = driver.counters(range(5))
        check_ledger(counters)
        for slot, tap in counters["tap"].items():
            count = owed[5000 + int(slot)]
            assert tap.get("matched-packets", 0) == tap.get("copies-sent", 0) == count
            assert tap.get("matched-bytes", 0) == sum(lengths[:count])
        assert counters["tap"]["1"]["matched-bytes"] <= budget
        # A batch that does not name them tells nothing; one that leaves one over tells of it; so does a resync.
        driver.update(0, 20, packet_limit=7)
        driver.tap(5, 25, [targets[0]], source=["10.9.9.9"])
        driver.commit()
        driver.update(1, 21, packet_limit=500, byte_limit=budget)
        driver.commit()
        assert events(driver, 1) == [("tap_over", 1, 21)]
    got = by_port(box.out("d"), targets)
    assert {port: len(copies) for port, copies in got.items()} == owed


def test_each_tap_that_is_over_is_told_of_and_an_update_goes_on(tmp_path):
    """Frames without end: the limit is met at once, again and again."""
    frames = [ether(udp(7, 100))] * 16
    box = Box(tmp_path, frames, wait=TAPS_FIRST, device_b="net_null1,no-rx=1", device_d="net_null2,no-rx=1",
              device_a=f"net_pcap0,rx_pcap={tmp_path}/a-in.pcap,infinite_rx=1")
    with box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN)], packet_limit=1000)
        driver.tap(1, 2, [destination(PLAIN)], source=["10.0.0.7"])
        driver.commit()
        for limit in range(2000, 22000, 1000):
            assert events(driver, 1) == [("tap_over", 0, 1)]
            assert driver.counters([0])["tap"]["0"]["matched-packets"] == limit - 1000
            driver.update(0, 1, packet_limit=limit)
            driver.commit()
        # A tap that has matched for long gets its first limit, below what it has matched: over at once.
        before = driver.counters([1])["tap"]["1"]["matched-packets"]
        assert before > 1000
        events(driver, 1)
        driver.update(1, 2, packet_limit=before)
        driver.commit()
        assert events(driver, 1) == [("tap_over", 1, 2)]
        stopped = driver.counters([1])["tap"]["1"]
        assert driver.counters([1])["tap"]["1"] == stopped, "not one more"
        # And one further on: exactly that. Without any it goes on.
        limit = stopped["matched-packets"] + 100_000
        driver.update(1, 2, packet_limit=limit)
        driver.commit()
        assert events(driver, 1) == [("tap_over", 1, 2)]
        assert driver.counters([1])["tap"]["1"]["matched-packets"] == limit
        driver.update(1, 2)
        driver.commit()
        until(lambda: driver.counters([1])["tap"]["1"]["matched-packets"] > limit + 1000, "matches without a limit")


def test_a_new_control_hears_of_taps_that_are_over(tmp_path):
    frames = [ether(udp(7, 100))] * 50
    with Box(tmp_path, frames, wait=TAPS_FIRST) as box:
        with Driver(box) as first:
            first.do("resync")
            first.tap(0, 1, [destination(PLAIN)], packet_limit=10)
            first.tap(1, 2, [destination(PLAIN)], packet_limit=20)
            first.commit()
            until(lambda: first.counters([1])["tap"]["1"].get("copies-sent") == 20, "both are over")
            first.kill()
        with Driver(box) as second:
            second.do("resync")
            second.tap(0, 1, [destination(PLAIN)], packet_limit=10)
            second.tap(1, 2, [destination(PLAIN)], packet_limit=30)
            second.commit()
            told = events(second, 1)
            assert told[0] == ("tap_over", 0, 1)
            # It may be told twice: by the new resync, and by a worker's next frame. The other one goes on, to its new limit.
            assert set(told[1:]) <= {("tap_over", 0, 1), ("tap_over", 1, 2)}
            assert second.counters([0])["tap"]["0"]["matched-packets"] == 10, "it stays, with its counts"


def test_an_update_of_what_is_not_there_is_refused_with_its_batch(tmp_path):
    with Box(tmp_path, [ether(udp())], wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(PLAIN)], source=["10.9.9.9"])
        driver.commit()
        for slot, tap_id in ((0, 2), (1, 1)):
            driver.tap(3, 9, [destination(PLAIN)])
            driver.update(slot, tap_id, packet_limit=1)
            assert driver.do("commit")["kind"] == "refused"
        driver.tap(3, 10, [destination(PLAIN)], source=["10.9.9.9"])
        driver.commit()  # the slot is free: nothing of the refused batches is there
        driver.update(0, 1, suppressed=1)
        assert driver.do("commit")["kind"] == "refused", "the configuration has no drop policy"


@pytest.mark.parametrize("dest", ["9.9.9.9", SEALED])
def test_lost_copies_are_counted_with_their_bytes(tmp_path, dest):
    """No route, and a route without an association."""
    frames = [ether(udp(7, size)) for size in range(50)]
    with Box(tmp_path, frames, wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        driver.tap(0, 1, [destination(dest), destination(dest, 5001)])
        driver.tap(1, 2, [destination(dest)], interfaces=[[A, None]], layer2=True)
        driver.commit()
        until(lambda: driver.counters()["total"].get("matches") == 150, "all copies owed")
        counters = driver.counters([0, 1])
        check_ledger(counters)
        lengths = [size + 28 for size in range(50)]
        assert counters["tap"]["0"]["copies-dropped"] == 100
        assert counters["tap"]["0"]["dropped-bytes"] == 2 * sum(lengths)
        assert counters["tap"]["1"]["dropped-bytes"] == sum(lengths) + 14 * 50


@pytest.mark.dtcp("5.policy-suppresses")
def test_what_a_drop_policy_leaves_out_is_counted_as_such_and_nowhere_else(tmp_path):
    """Policy 0: UDP to ports 1 to 10. Policy 1: what comes in at port a on VLAN 100."""
    frames, vlans = [], []
    for i in range(40):
        body = (UDP(dport=i % 20) if i % 4 else TCP(dport=i % 20)) / Raw(bytes(i))
        network = IPv6(src="2001:db8::7", dst="2001:db8::8") if i % 3 == 0 else IP(src="10.0.0.7", dst="192.0.2.1")
        vlans.append(100 if i % 5 == 0 else 0)
        frames.append((network / body, ether(network / body, [Dot1Q(vlan=100)] if vlans[-1] else [])))
    arp = strange()[1][0]  # no packet: no policy of packets holds it back
    targets = [destination(PLAIN, 5000 + i, f"1.1.1.{i + 1}", 6000 + i) for i in range(5)]

    def falls_under(policy, packet, vlan):
        return vlan == 100 if policy == 1 else UDP in packet and 1 <= packet[UDP].dport <= 10

    def of(family, policies):
        rows = [(packet, vlan) for (packet, _), vlan in zip(frames, vlans) if family in (None, packet.version)]
        left_out = [any(falls_under(policy, *row) for policy in policies) for row in rows]
        return [bytes(row[0]) for row, out in zip(rows, left_out) if not out], sum(left_out)

    sent = [frame for _, frame in frames] + [arp]
    with Box(tmp_path, sent, wait=TAPS_FIRST, program=BUILD / "test" / "integration" / "dataplane-with-policies") as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.tap(0, 1, [targets[0]], suppressed=1)
            driver.tap(1, 2, [targets[1]], suppressed=3, family=6)
            driver.tap(2, 3, [targets[2]])
            driver.tap(3, 4, [targets[3]], suppressed=3, interfaces=[[A, None]], layer2=True)
            driver.tap(4, 5, [targets[4]], suppressed=1, packet_limit=4)
            driver.commit()
            wanted = {0: of(4, [0]), 1: of(6, [0, 1]), 2: of(4, []), 3: of(None, [0, 1]), 4: of(4, [0])}
            until(lambda: len(read_frames(tmp_path / "b-out.pcap")) == len(sent), "all frames")
            copies = len(wanted[0][0]) + len(wanted[1][0]) + len(wanted[2][0]) + len(wanted[3][0]) + 1 + 4
            until(lambda: len(box.out("d")) >= copies, "all copies")
            counters = driver.counters(range(5))
            driver.update(2, 3, suppressed=4)
            assert driver.do("commit")["kind"] == "refused", "there are two policies"
        box.stop()
        check_ledger(counters)
    assert box.out("b") == sent
    got = by_port(box.out("d"), targets)
    for slot in (0, 1, 2):
        assert got[5000 + slot] == wanted[slot][0]
    assert got[5003] == [frame for (packet, frame), vlan in zip(frames, vlans)
                         if not falls_under(0, packet, vlan) and not falls_under(1, packet, vlan)] + [arp]
    assert got[5004] == wanted[4][0][:4], "what is left out is not counted against the limit"
    for slot in range(4):
        tap = counters["tap"][str(slot)]
        assert tap["matched-packets"] == tap["copies-sent"] == len(got[5000 + slot])
        assert tap.get("suppressed", 0) == wanted[slot][1]
    assert wanted[0][1] and wanted[1][1] and wanted[3][1], "each policy leaves something out"
    over = counters["tap"]["4"]
    assert over["matched-packets"] == 4 and over["suppressed"] <= wanted[4][1]
    assert counters["total"]["suppressed"] == sum(tap.get("suppressed", 0) for tap in counters["tap"].values())
    copied = set(got[5003]) | {frame for packet, frame in frames if bytes(packet) in got[5000] + got[5001] + got[5002]}
    assert counters["total"]["matched-packets"] == len(copied), "a frame that all its taps leave out is none"
