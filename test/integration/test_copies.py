"""What is tapped is copied, sealed and accounted for; nothing else is. scapy opens the ESP: it shares no code with us."""

import collections
import ipaddress
import random

import esp
import pytest
from daemons import until
from dataplane import (KEY, LOCAL, NEXT_HOP, REMOTE, SPI, TAPS_FIRST, Box, Driver, destination, huge_pages_free,
                       read_frames)
from scapy.all import (ESP, Dot1AD, Dot1Q, Ether, ICMP, IP, IPOption_Router_Alert, IPv6, IPv6ExtHdrDestOpt, Raw, SCTP, TCP,
                       UDP, SecurityAssociation, defragment, fragment)
from scapy.contrib.mpls import MPLS
from scapy.layers.inet6 import defragment6
from scapy.layers.ppp import PPP, PPPoE

PLAIN, SEALED = "3.3.3.3", "2.2.2.1"


def ether(packet, tags=()):
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for tag in tags:
        frame = frame / tag
    return bytes(frame / packet)


def traffic():
    """(frame, its IP packet) of many kinds; half of them of the target 10.0.0.7 or 2001:db8::7."""
    noise = random.Random(7)
    result = []
    for i in range(60):
        host = 7 if i % 2 else 8
        v4 = IP(src=f"10.0.0.{host}", dst=f"192.0.2.{i + 1}", ttl=9)
        v6 = IPv6(src=f"2001:db8::{host}", dst=f"2001:db8:1::{i + 1:x}", hlim=9)
        body = Raw(noise.randbytes(i * 24))
        packets = [v4 / UDP(sport=5060, dport=i + 1) / body, v4 / TCP(sport=i + 1, dport=443) / body,
                   v6 / UDP(sport=5060, dport=i + 1) / body, v4 / ICMP() / body,
                   IP(src=v4.src, dst=v4.dst, options=[IPOption_Router_Alert()]) / UDP(sport=1, dport=i + 1) / body,
                   v6 / IPv6ExtHdrDestOpt() / TCP(sport=i + 1, dport=443) / body, v4 / SCTP(sport=1, dport=2) / body]
        for packet in packets:
            tags = [Dot1AD(vlan=3), Dot1Q(vlan=4)][:i % 3]
            frame = ether(packet, tags)
            # Short frames arrive padded to 60 bytes: no copy may hold the padding.
            result.append((frame + b"\xee" * max(0, 60 - len(frame)), bytes(packet)))
    noise.shuffle(result)
    return result


def security_association():
    return SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=KEY,
                               tunnel_header=IP(src=LOCAL, dst=REMOTE))


def open_copies(frames):
    """Opens what left the delivery port: [(inner IP packet, sealed or not)]. Every byte of the way is checked."""
    association = security_association()
    sequence = 0
    result = []
    for frame in frames:
        packet = Ether(frame)
        assert packet.dst == NEXT_HOP
        if ESP not in packet:
            result.append((packet.payload, False))
            continue
        assert (packet[IP].src, packet[IP].dst) == (LOCAL, REMOTE)
        assert packet[ESP].spi == SPI
        assert packet[ESP].seq > sequence, "sequence numbers grow"
        sequence = packet[ESP].seq
        result.append((association.decrypt(packet[IP]), True))
    return result


def body_of(inner, wanted):
    """The original packet in a copy, after a look at the headers in front of it."""
    assert (inner[UDP].sport, inner[UDP].dport) == (wanted["source_port"], wanted["dest_port"])
    assert (inner.src, inner.dst) == (wanted["source"], wanted["dest"])
    raw = bytes(inner)
    rebuilt = inner.copy()
    if inner.version == 4:
        assert inner.flags == 0 and inner.frag == 0 and inner.ttl == wanted.get("ttl", 255)
        assert inner[UDP].chksum == 0
        del rebuilt.chksum
        header = 20
    else:
        assert inner.hlim == wanted.get("ttl", 255)
        del rebuilt[UDP].chksum
        header = 40
    assert bytes(rebuilt) == raw, "checksums and lengths are what scapy computes"
    mirror = bytes.fromhex(wanted.get("mirror", ""))
    assert raw[header + 8:][:len(mirror)] == mirror
    return raw[header + 8 + len(mirror):]


def run(folder, frames, steps, copies, **options):
    """Sends the frames through a box whose control took the steps first; returns (copies, counters)."""
    with Box(folder, frames, wait=TAPS_FIRST, **options) as box:
        with Driver(box) as driver:
            driver.do("resync")
            steps(driver)
            driver.commit()
            until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(frames), "all frames at the other side")
            until(lambda: len(box.out("d")) >= copies, "all copies")
            counters = driver.counters(range(8))
        box.stop()
        assert box.out("b") == frames, "through traffic is what it was"
        check_ledger(counters)
        return box.out("d"), counters


def check_ledger(counters):
    """Copies owed = sent + lost by named cause, for the box and for its taps together."""
    total = counters["total"]
    lost = sum(count for name, count in total.items() if name.startswith("copy-"))
    assert total.get("matches", 0) == total.get("copies-sent", 0) + lost, total
    assert sum(tap.get("copies-sent", 0) for tap in counters["tap"].values()) == total.get("copies-sent", 0)
    assert sum(tap.get("copies-dropped", 0) for tap in counters["tap"].values()) == lost
    check_causes(counters)


def causes_of(counters):
    return {name: count for name, count in counters.items() if name.startswith("copy-")}


def check_causes(counters):
    """Each tap's losses have causes; the box's are the sum of the taps', and of the destinations', whose accounts close."""
    of_taps, of_destinations = collections.Counter(), collections.Counter()
    for tap in counters["tap"].values():
        assert sum(causes_of(tap).values()) == tap.get("copies-dropped", 0), tap
        of_taps.update(causes_of(tap))
    for account in counters["destinations"].values():
        assert account["copies-owed"] == account.get("copies-sent", 0) + sum(causes_of(account).values()), account
        of_destinations.update(causes_of(account))
    assert of_taps == of_destinations == causes_of(counters["total"])
    sent = sum(account.get("copies-sent", 0) for account in counters["destinations"].values())
    assert sent == counters["total"].get("copies-sent", 0)


@pytest.mark.parametrize("huge", [False, True], ids=["ordinary-pages", "huge-pages"])
@pytest.mark.dtcp("6.elements", "7.cdest-dest", "7.cdest-source", "8.matching")
def test_all_matching_taps_get_exactly_what_they_match(tmp_path, huge):
    if huge and huge_pages_free() < 192:
        pytest.skip("no huge pages on this machine")
    packets = traffic()
    by_host = destination(SEALED, 5001, "1.1.1.1", 6001, ttl=64)
    by_port = destination("2.2.2.2", 5002, "1.1.1.2", 6002)
    by_host6 = destination("2.2.2.3", 5003, "1.1.1.3", 6003)
    nobody = destination("2.2.2.4", 5004, "1.1.1.4", 6004)
    twice = [destination(SEALED, 5005, "1.1.1.5", 6005), destination(PLAIN, 5006, "1.1.1.6", 6006)]

    def steps(driver):
        driver.sa()
        driver.tap(0, 100, [by_host], source=["10.0.0.7"])
        driver.tap(1, 101, [by_port], protocol=[6], dest_port=[443])
        driver.tap(2, 102, [by_host6], family=6, source=["2001:db8::7"])
        driver.tap(3, 103, [nobody], dest=["203.0.113.0/24"])
        driver.tap(4, 104, twice, protocol=[17], dest_port=[[1, 20]], dest=["!192.0.2.4/32"])

    def is_port_443(packet):
        return TCP in packet and packet[TCP].dport == 443
    originals = [IP(raw) if raw[0] >> 4 == 4 else IPv6(raw) for _, raw in packets]
    owed = {5001: [raw for p, (_, raw) in zip(originals, packets) if p.src == "10.0.0.7"],
            5002: [raw for p, (_, raw) in zip(originals, packets) if p.version == 4 and is_port_443(p)],
            5003: [raw for p, (_, raw) in zip(originals, packets) if p.src == "2001:db8::7"],
            5004: []}
    owed[5005] = owed[5006] = [raw for p, (_, raw) in zip(originals, packets)
                               if p.version == 4 and UDP in p and p[UDP].dport <= 20 and p.dst != "192.0.2.4"]
    assert all(owed[port] for port in owed if port != 5004), "the traffic holds something for each tap"

    total = sum(map(len, owed.values()))
    frames, counters = run(tmp_path, [frame for frame, _ in packets], steps, total, huge=huge)
    got = {port: [] for port in owed}
    targets = {d["dest_port"]: d for d in [by_host, by_port, by_host6, nobody, *twice]}
    identifications = []
    for inner, sealed in open_copies(frames):
        port = inner[UDP].dport
        assert sealed == (targets[port]["dest"] != PLAIN), "in clear only where the operator wrote so"
        identifications.append(inner.id)
        got[port].append(body_of(inner, targets[port]))
    assert got == owed
    assert identifications == [(identifications[0] + i) % 65536 for i in range(total)]
    assert counters["total"]["matches"] == counters["total"]["copies-sent"] == total
    assert counters["tap"]["0"]["matched-packets"] == len(owed[5001])
    assert counters["tap"]["0"]["matched-bytes"] == sum(map(len, owed[5001]))
    assert counters["tap"]["3"] == {}
    sealed_count = total - len(owed[5006])
    assert counters["sa"]["0"]["sealed-packets"] == sealed_count


def test_nothing_is_copied_without_a_tap(tmp_path):
    frames, counters = run(tmp_path, [frame for frame, _ in traffic()], lambda driver: driver.sa(), 0)
    assert frames == []
    assert "matches" not in counters["total"]


def labels(count, bottom=1000):
    stack = [MPLS(label=16 + i, s=0, ttl=64) for i in range(count - 1)] + [MPLS(label=bottom, s=1, ttl=64)]
    return b"".join(bytes(entry)[:4] for entry in stack)


def carriers():
    """{name: what makes a frame of an IP packet}"""
    def link(kind, tags=0):
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=kind if tags == 0 else 0x88a8)
        for i in range(tags):
            frame = frame / Dot1Q(vlan=10 + i, type=kind if i + 1 == tags else 0x8100)
        return bytes(frame)

    def session(packet):
        return bytes(PPPoE(sessionid=9) / PPP(proto=0x21 if packet.version == 4 else 0x57) / packet)
    inner = Ether(src="00:1b:21:00:00:01", dst="00:1b:21:00:00:02")
    like_ip = Ether(src="00:1b:21:00:00:01", dst="64:1b:21:00:00:02")
    return {"four tags": lambda p: link(0x0800 if p.version == 4 else 0x86dd, 4) + bytes(p),
            "label": lambda p: link(0x8847) + labels(1) + bytes(p),
            "sixteen labels in a tag": lambda p: link(0x8848, 1) + labels(16) + bytes(p),
            "explicit null": lambda p: link(0x8847) + labels(2, 0 if p.version == 4 else 2) + bytes(p),
            "pseudowire, control word": lambda p: link(0x8847) + labels(2) + bytes(4) + bytes(inner / Dot1Q(vlan=77) / p),
            "pseudowire": lambda p: link(0x8847, 2) + labels(2) + bytes(inner / p),
            "pseudowire that looks like IP": lambda p: link(0x8847) + labels(2) + bytes(like_ip / p),
            "session": lambda p: link(0x8864) + session(p),
            "session in two tags": lambda p: link(0x8864, 2) + session(p),
            "session in a pseudowire": lambda p: (link(0x8847) + labels(1) + bytes(4) + bytes(inner)[:12] + b"\x88\x64"
                                                  + session(p))}


def test_a_host_is_tapped_behind_tags_labels_pseudowires_and_sessions(tmp_path):
    """The copy is the IP packet, whatever carried it; the other host's packets in the same carriers are not copied."""
    frames, owed = [], []
    for number, carry in enumerate(carriers().values()):
        for host in (7, 8):
            v4 = IP(src=f"10.0.0.{host}", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes([number] * 9))
            v6 = IPv6(src=f"2001:db8::{host}", dst="2001:db8:1::1") / TCP(sport=1, dport=number) / Raw(bytes(300))
            for packet in (v4, v6):
                frame = carry(packet)
                frames.append(frame + b"\xee" * max(0, 60 - len(frame)))
                owed += [bytes(packet)] if host == 7 else []
    packet = IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2)
    other = [ether(packet)[:12] + b"\x88\x47" + labels(17) + bytes(packet),
             ether(packet)[:12] + b"\x88\x64\x11\xa7" + bytes(PPPoE() / PPP() / packet)[2:]]

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [destination(SEALED)], source=["10.0.0.7"])
        driver.tap(1, 2, [destination(SEALED)], family=6, source=["2001:db8::7"])
    copies, counters = run(tmp_path, frames + other, steps, len(owed))
    assert [body_of(inner, destination(SEALED)) for inner, _ in open_copies(copies)] == owed
    assert counters["total"]["matched-bytes"] == sum(map(len, owed))
    assert counters["total"]["parse-mpls-depth"] == counters["total"]["parse-bad-pppoe"] == 1


def test_the_interface_of_a_frame_is_the_wires_tag_not_the_pseudowires(tmp_path):
    packet = IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(9))
    wire = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=5, type=0x8847)) + labels(1) + bytes(4)
    frames = [wire + bytes(Ether(src="00:1b:21:00:00:01", dst="00:1b:21:00:00:02") / Dot1Q(vlan=6) / packet)]

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [destination(SEALED, 5001)], source=["10.0.0.7"], interfaces=[[0, 5]])
        driver.tap(1, 2, [destination(SEALED, 5002)], source=["10.0.0.7"], interfaces=[[0, 6]])
    copies, _ = run(tmp_path, frames, steps, 1)
    assert [inner[UDP].dport for inner, _ in open_copies(copies)] == [5001]


def key_of(suite):
    return (suite.key + suite.auth_key).hex()


@pytest.mark.parametrize("suite", esp.SUITES.values(), ids=lambda suite: suite.name)
def test_copies_leave_in_every_suite_with_one_counter_over_all_bursts(tmp_path, suite):
    """Extended sequence numbers in every second suite, across 2^32; fragments, UDP and IPv6 copies among them."""
    extended = list(esp.SUITES).index(suite.name) % 2 == 0
    noise = random.Random(suite.name)
    packets = [IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=i + 1) / Raw(noise.randbytes(i * 37))
               for i in range(80)]
    target = destination(SEALED)
    first = (1 << 32) - 30 if extended else 1

    def steps(driver):
        driver.sa(suite=suite.name, key=key_of(suite), first=first, count=1000, extended=extended)
        driver.tap(0, 1, [target], source=["10.0.0.7"])
    frames, counters = run(tmp_path, [ether(packet) for packet in packets], steps, len(packets), delivery_mtu=1500,
                           dataplane="mtu = 9216")
    assert counters["total"]["copies-sent"] == len(packets)
    assert all(len(frame) - 14 <= 1500 for frame in frames) and len(frames) > len(packets)
    oracle = esp.Scapy(LOCAL, REMOTE, suite, extended)
    inner = []
    for sequence, frame in enumerate(frames, first):
        outside = Ether(frame)[IP]
        assert outside[ESP].seq == sequence & 0xffff_ffff
        inner.append(IP(oracle.open(bytes(outside), sequence)))
    assert [bytes(packet)[28:] for packet in defragment(inner)] == list(map(bytes, packets))
    assert counters["sa"]["0"]["sealed-packets"] == len(frames)


def test_without_extended_sequence_numbers_an_association_ends_and_does_not_wrap(tmp_path):
    suite = esp.SUITES["aes-256-cbc-hmac-sha-256-128"]
    packets = [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(9))) for _ in range(100)]
    with Box(tmp_path, packets, wait=60) as box, Driver(box) as driver:
        driver.do("resync")
        driver.sa(suite=suite.name, key=key_of(suite), first=(1 << 32) - 40, count=1 << 20)
        driver.tap(0, 1, [destination(SEALED)])
        driver.commit()
        until(lambda: driver.counters()["total"].get("matches") == 100, "all copies owed")
        counters = driver.counters([0])
        assert counters["total"]["copies-sent"] == 40
        assert counters["total"]["copy-sequence-end"] == 60
        check_ledger(counters)
    assert [Ether(frame)[ESP].seq for frame in box.out("d")] == list(range((1 << 32) - 40, 1 << 32))


def test_copies_in_udp_and_of_one_length(tmp_path):
    """NAT traversal and padding together: every packet that leaves looks like the others."""
    suite = esp.SUITES["chacha20-poly1305"]
    packets = [IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=i + 1) / Raw(bytes([i]) * (i * 30)) for i in range(50)]

    def steps(driver):
        driver.sa(suite=suite.name, key=key_of(suite), udp=True, padded=700)
        driver.tap(0, 1, [destination(SEALED)], source=["10.0.0.7"])
    frames, _ = run(tmp_path, [ether(packet) for packet in packets], steps, len(packets), dataplane="mtu = 9216")
    outside = [Ether(frame)[IP] for frame in frames]
    assert {len(bytes(packet)) for packet in outside} == {20 + 8 + suite.sealed_size(700)}
    assert {(packet[UDP].sport, packet[UDP].dport, packet[UDP].chksum) for packet in outside} == {(4500, 4500, 0)}
    oracle = esp.Scapy(LOCAL, REMOTE, suite)
    inner = [IP(oracle.open(bytes(packet))) for packet in outside]
    whole = [bytes(IP(bytes(packet)[:packet.len])) for packet in inner]
    assert [packet[28:] for packet in map(bytes, defragment([IP(raw) for raw in whole]))] == list(map(bytes, packets))


@pytest.mark.dtcp("7.cdest-ttl")
def test_an_ipv6_destination_gets_a_udp_checksum(tmp_path):
    packets = traffic()
    target = destination("2001:db8:3::1", 5000, "2001:db8:9::9", 6000, ttl=33)
    owed = [raw for _, raw in packets if raw[0] >> 4 == 4]
    frames, _ = run(tmp_path, [frame for frame, _ in packets], lambda d: d.tap(0, 1, [target]), len(owed))
    assert [body_of(inner, target) for inner, _ in open_copies(frames)] == owed


@pytest.mark.dtcp("7.ip-addr", "7.ip-addr-limits", "7.intercept-id")
def test_a_subscriber_is_tapped_in_both_directions_up_to_one_limit_and_behind_a_mirror_header(tmp_path):
    packets = []
    for i in range(40):
        out = IP(src="10.0.0.7", dst=f"192.0.2.{i + 1}") / UDP(sport=1, dport=2) / Raw(bytes(i))
        back = IP(src=f"192.0.2.{i + 1}", dst="10.0.0.7") / UDP(sport=2, dport=1) / Raw(bytes(2 * i))
        itself = IP(src="10.0.0.7", dst="10.0.0.7") / UDP(sport=3, dport=3) / Raw(bytes(30))
        other = IP(src="10.0.0.8", dst=f"192.0.2.{i + 1}") / UDP(sport=1, dport=2) / Raw(bytes(i))
        packets += [bytes(packet) for packet in (out, other, back, itself)]
    of_host = [raw for raw in packets if "10.0.0.7" in (IP(raw).src, IP(raw).dst)]
    targets = [destination(SEALED, 5001, mirror="0000030000000090"), destination(PLAIN, 5002, mirror="3fffffff41424344"),
               destination("2001:db8:3::1", 5003, "2001:db8:9::9", mirror="0000000100000002"), destination(PLAIN, 5004)]

    def steps(driver):
        driver.sa()
        for slot, target in enumerate(targets):
            driver.tap(slot, slot + 1, [target], host="10.0.0.7", **({"packet_limit": 50} if slot == 0 else {}))

    frames, counters = run(tmp_path, [ether(IP(raw)) for raw in packets], steps, 50 + 3 * len(of_host))
    got = {target["dest_port"]: [] for target in targets}
    for inner, _ in open_copies(frames):
        target = next(each for each in targets if each["dest_port"] == inner[UDP].dport)
        got[inner[UDP].dport].append(body_of(inner, target))
    assert got == {5001: of_host[:50], 5002: of_host, 5003: of_host, 5004: of_host}
    assert counters["tap"]["0"]["matched-packets"] == 50


@pytest.mark.parametrize("dest", [SEALED, PLAIN, "2001:db8:3::1"])
def test_what_is_longer_than_the_tunnel_carries_leaves_in_fragments_that_open_one_by_one(tmp_path, dest):
    noise = random.Random(3)
    sizes = [1, 1399, 1400, 1401, 1430, 1444, 1472, 2000, 4000, 8900, 9174]
    packets = [IP(src="10.0.0.7", dst="192.0.2.1", flags="DF") / UDP(sport=1, dport=2) / Raw(noise.randbytes(size))
               for size in sizes]
    v6 = ":" in dest
    target = destination(dest, 5000, "2001:db8:9::9" if v6 else "1.1.1.1", 6000)

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [target], source=["10.0.0.7"])
    frames, counters = run(tmp_path, [ether(packet) for packet in packets], steps, len(packets),
                           delivery_mtu=1500, dataplane="mtu = 9216")
    assert all(len(frame) - 14 <= 1500 for frame in frames)
    assert len(frames) > 2 * len(packets)
    assert counters["total"]["copies-sent"] == len(packets)
    inner = [packet for packet, _ in open_copies(frames)]
    if v6:
        ids = []
        whole = []
        for packet in inner:
            if packet.nh != 44:
                whole.append(bytes(packet)[48:])
            elif packet.payload.id not in ids:
                ids.append(packet.payload.id)
                whole.append(bytes(defragment6([p for p in inner if p.nh == 44 and p.payload.id == ids[-1]]))[48:])
    else:
        whole = [bytes(packet)[28:] for packet in defragment(inner)]
    assert sorted(whole) == sorted(map(bytes, packets))


def test_the_boxs_own_output_is_never_matched(tmp_path):
    """A tap on everything, and the box's own packets coming back on the wire: sealed, encapsulated, in fragments."""
    target = destination(SEALED, 5000, "1.1.1.1", 6000)
    clear = destination(PLAIN, 5001, "1.1.1.2", 6001)
    inner = IP(src="1.1.1.1", dst=SEALED) / UDP(sport=6000, dport=5000) / Raw(b"a copy" * 400)
    sealed = security_association().encrypt(inner, seq_num=7)
    nat = IP(src=LOCAL, dst=REMOTE) / UDP(sport=4500, dport=4500) / Raw(b"\0\0\x10\x01" + bytes(60))
    own = [ether(p) for p in [sealed, nat, inner, *fragment(inner, 800),
                              IP(src="1.1.1.2", dst=PLAIN) / UDP(sport=6001, dport=5001) / Raw(b"clear")]]
    own += [ether(inner, [Dot1Q(vlan=9)])]
    foreign = [ether(p) for p in [
        IP(src="1.1.1.1", dst=SEALED) / UDP(sport=6000, dport=5009) / Raw(b"another port"),
        IP(src=SEALED, dst="1.1.1.1") / UDP(sport=5000, dport=6000) / Raw(b"the other direction"),
        IP(src="1.1.1.1", dst=SEALED) / TCP(sport=6000, dport=5000),
        IP(src=REMOTE, dst=LOCAL) / ESP(spi=5, seq=1, data=bytes(64))]]

    def steps(driver):
        driver.sa()
        driver.tap(0, 1, [target, clear])
    frames, counters = run(tmp_path, own + foreign, steps, 2 * len(foreign))
    assert len(frames) == 2 * len(foreign)
    assert counters["total"]["own-output"] == len(own)
    assert counters["total"]["matched-packets"] == len(foreign)


def test_copies_that_cannot_leave_are_counted_by_cause(tmp_path):
    packets = traffic()
    lost = destination("9.9.9.9", 5001, "1.1.1.1", 6001)

    def steps(driver):
        driver.tap(0, 1, [lost], source=["10.0.0.7"])                       # no route
        driver.tap(1, 2, [destination(SEALED)], source=["10.0.0.8"])        # a route, no SA
    frames, counters = run(tmp_path, [frame for frame, _ in packets], steps, 0)
    assert frames == [], "never in clear"
    half = sum(1 for _, raw in packets if raw[0] >> 4 == 4) // 2
    assert counters["total"]["copy-no-route"] == counters["tap"]["0"]["copies-dropped"] == half
    assert counters["total"]["copy-no-sa"] == counters["tap"]["1"]["copies-dropped"] == half


def test_a_lease_that_runs_out_stops_sealing_and_says_so_before(tmp_path):
    packets = [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(9))) for _ in range(100)]
    with Box(tmp_path, packets, wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.do("resync")
        driver.sa(first=1, count=40)
        driver.tap(0, 1, [destination(SEALED)])
        driver.commit()
        until(lambda: driver.counters()["total"].get("matches") == 100, "all copies owed")
        assert driver.events("lease_low") == 0
        counters = driver.counters([0])
        assert counters["total"]["copies-sent"] == 40
        assert counters["total"]["copy-no-lease"] == 60
        check_ledger(counters)
        assert driver.do("lease", slot=0, id=1, first=50, count=10) and driver.do("commit")["kind"] == "refused"
        driver.do("lease", slot=0, id=1, first=41, count=10)
        driver.commit()
        until(lambda: driver.counters()["sa"]["0"]["lease_end"] == 51, "the longer lease in the status region")
    assert [Ether(frame)[ESP].seq for frame in box.out("d")] == list(range(1, 41))


@pytest.mark.parametrize("copy_buffers,cause", [(530, "copy-no-buffer"), (4096, "copy-tx-full")])
def test_a_stuck_delivery_port_costs_no_frame(tmp_path, copy_buffers, cause):
    """The delivery port is a ring that nobody empties: the pool, or the queue, is used up after some copies."""
    packets = [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(500))) for _ in range(5000)]
    with Box(tmp_path, packets, wait=TAPS_FIRST, device_d="net_ring2", copy_buffers=copy_buffers) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.sa()
            driver.tap(0, 1, [destination(SEALED)])
            driver.commit()
            until(lambda: driver.counters()["total"].get("matches") == len(packets), "all copies owed")
            until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(packets), "all frames")
            counters = driver.counters([0])
        box.stop()
    assert box.out("b") == packets, "inline loss is 0"
    check_ledger(counters)
    assert counters["total"][cause] > 3000
    assert counters["total"]["copies-sent"] > 300
    if cause == "copy-no-buffer":
        assert counters["total"]["copies-sent"] == copy_buffers, "the pool is used up to its last buffer"


def test_copies_lost_in_one_burst_are_each_counted_by_their_own_cause(tmp_path):
    """Of each frame one copy has no lease any more, and one finds the delivery port's queue full."""
    packets = [ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(500)))] * 2000
    with Box(tmp_path, packets, wait=60, device_d="net_ring2") as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.sa(first=1, count=40)
            driver.tap(0, 1, [destination(SEALED), destination(PLAIN)])
            driver.commit()
            until(lambda: driver.counters()["total"].get("matches") == 2 * len(packets), "all copies owed")
            counters = driver.counters([0])
        box.stop()
    check_ledger(counters)
    total = counters["total"]
    assert total["copy-no-lease"] == len(packets) - 40
    assert total["copy-tx-full"] > 500
    assert total["copies-sent"] == counters["ports"][2]["tx-packets"] == 40 + len(packets) - total["copy-tx-full"]


def test_long_copies_of_one_burst_need_several_flushes(tmp_path):
    """Three packets each, some times as many as wait for the delivery port at a time."""
    packets = [ether(IP(src="10.0.0.7", dst="192.0.2.1", id=i) / UDP(sport=1, dport=2) / Raw(bytes([i]) * 1400))
               for i in range(100)]
    out, counters = run(tmp_path, packets, lambda driver: driver.tap(0, 1, [destination(PLAIN)]), 3 * len(packets),
                        delivery_mtu=576)
    assert counters["total"]["copies-sent"] == len(packets)
    whole = defragment([Ether(frame)[IP] for frame in out])
    assert [bytes(packet[UDP].payload) for packet in whole] == [packet[14:] for packet in packets]



def test_control_may_be_killed_and_come_back(tmp_path):
    frame = ether(IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(18)))
    box = Box(tmp_path, [frame] * 64, wait=TAPS_FIRST, device_b="net_null1,no-rx=1", device_d="net_null2,no-rx=1",
              device_a=f"net_pcap0,rx_pcap={tmp_path}/a-in.pcap,infinite_rx=1")

    def settle(driver):
        driver.do("resync")
        driver.sa(first=1, count=1 << 32)
        driver.tap(0, 7, [destination(SEALED)])
        driver.tap(1, 8, [destination(SEALED)], dest=["198.51.100.1"])
        driver.commit()

    with box:
        with Driver(box) as first:
            settle(first)
            before = until(lambda: (c := first.counters([0]))["total"].get("copies-sent", 0) > 10_000 and c, "copies")
            first.kill()
        with Driver(box) as second:
            between = until(lambda: (c := second.counters([0]))["tap"]["0"]["copies-sent"]
                            > before["tap"]["0"]["copies-sent"] + 10_000 and c, "copies without control")
            until(lambda: [second.counters()[what] for what in ("taps", "sas")] == [2, 1], "the manager's count")
            settle(second)  # the same ids: nothing starts over
            after = second.counters([0])
            assert after["tap"]["0"]["copies-sent"] >= between["tap"]["0"]["copies-sent"]
            assert after["sa"]["0"]["sealed-packets"] >= between["sa"]["0"]["sealed-packets"]
            until(lambda: second.counters()["sa"]["0"].get("next", 0) > after["sa"]["0"]["sealed-packets"],
                  "the counter of the association goes on")
            # A state that names neither takes both away: no copy is made after the answer.
            second.do("resync")
            second.commit()
            stopped = second.counters([0])["total"]["matches"]
            until(lambda: second.counters()["taps"] == 0, "no tap")
            assert second.counters()["total"]["matches"] == stopped
    summary = box.summary()
    assert summary["a"][0] == summary["b"][1] > 0 and summary["b"][2] == 0, "every frame crossed"


@pytest.mark.dtcp("5.all-or-nothing")
def test_a_refused_batch_changes_nothing(tmp_path):
    packets = traffic()
    with Box(tmp_path, [frame for frame, _ in packets], wait=TAPS_FIRST) as box, Driver(box) as driver:
        driver.sa()
        driver.tap(0, 1, [destination(SEALED)], source=["10.0.0.7"])
        driver.tap(0, 2, [destination(SEALED)])                              # the slot is taken
        assert driver.do("commit") | {"us": 0} == {"kind": "refused", "refusal": 3, "slot": 0, "us": 0}
        driver.do("resync")
        driver.commit()
        until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(packets), "all frames")
        counters = driver.counters([0])
        assert "matches" not in counters["total"] and counters["sas"] == 0 and counters["refusals"] == 1
