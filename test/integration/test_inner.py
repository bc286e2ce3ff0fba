"""inner-match: taps see what tunnels carry; copies are of the outer packet, each once. scapy builds the tunnels."""

import pytest
from daemons import until
from dataplane import Box, Driver, destination, read_frames
from scapy.all import GRE, IP, IPv6, UDP, VXLAN, Ether, Raw, fragment
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from test_copies import check_ledger, ether

PLAIN = "3.3.3.3"
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"


def inner(source=INSIDE, size=30):
    return IP(src=source, dst="10.9.9.9") / UDP(sport=5060, dport=1234) / Raw(bytes(size))


def tunnels(packet):
    """{kind: outer packet}, several of a kind."""
    udp = IP(src=OUTSIDE, dst="198.51.100.1") / UDP(sport=40000, dport=2152)
    mac = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
    return {"gre": [IP(src=OUTSIDE, dst="198.51.100.1") / GRE() / packet,
                    IP(src=OUTSIDE, dst="198.51.100.1") / GRE(chksum_present=1, key_present=1, seqnum_present=1) / packet,
                    IP(src=OUTSIDE, dst="198.51.100.1") / GRE(proto=0x6558) / mac / packet],
            "gtp-u": [udp / GTP_U_Header(teid=7, gtp_type=255) / packet,
                      udp / GTP_U_Header(teid=7, gtp_type=255, S=1, seq=9) / packet,
                      udp / GTP_U_Header(teid=7, gtp_type=255, E=1, next_ex=0x85)
                      / GTPPDUSessionContainer(type=1, QFI=5) / packet],
            "vxlan": [IP(src=OUTSIDE, dst="198.51.100.1") / UDP(sport=40000, dport=4789) / VXLAN(vni=42) / mac / packet,
                      IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=40000, dport=4789) / VXLAN(vni=42) / mac
                      / packet]}


def deliver(folder, frames, inner_match, expected):
    """Taps on the inside, the outside and on both, whose copies must have the `expected` bodies, in order. Returns the
    counters."""
    option = f"inner-match = {inner_match}" if inner_match is not None else ""
    with Box(folder, frames, wait=60, dataplane=option) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.tap(0, 1, [destination(PLAIN, 5000)], source=[INSIDE])
            driver.tap(1, 2, [destination(PLAIN, 5001)], source=[OUTSIDE])
            driver.tap(2, 3, [destination(PLAIN, 5002)], source=[INSIDE, OUTSIDE])
            driver.commit()
            until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(frames), "all frames at the other side")
            copies = sum(map(len, expected))
            until(lambda: driver.counters()["total"].get("matches", 0) >= copies, "all copies owed")
            until(lambda: len(box.out("d")) >= copies, "all copies")
            counters = driver.counters(range(3))
        box.stop()
        assert box.out("b") == frames, "through traffic is what it was"
        check_ledger(counters)
        bodies = [[], [], []]
        for frame in box.out("d"):
            bodies[Ether(frame)[UDP].dport - 5000].append(frame[14 + 28:])
        assert bodies == expected, "whole outer packets, each once a tap"
        return counters


@pytest.mark.parametrize("asked", [["gre"], ["gtp-u"], ["vxlan"], ["gre", "gtp-u", "vxlan"], [], None])
def test_taps_see_the_tunnels_that_are_asked_for(tmp_path, asked):
    packets = [(kind, packet) for source in (INSIDE, "10.1.2.4") for kind, list_ in tunnels(inner(source)).items()
               for packet in list_]
    frames = [ether(packet) for _, packet in packets]
    half = len(packets) // 2
    is_outside = [packet.src == OUTSIDE for _, packet in packets]
    is_inside = [i < half and kind in (asked or []) for i, (kind, _) in enumerate(packets)]
    chosen = [is_inside, is_outside, [a or b for a, b in zip(is_inside, is_outside)]]
    expected = [[frame[14:] for frame, wanted in zip(frames, which) if wanted] for which in chosen]
    counters = deliver(tmp_path, frames, asked, expected)
    looked_into = sum(kind in (asked or []) for kind, _ in packets)
    assert counters["total"].get("inner-parsed", 0) == looked_into


def test_fragments_of_a_tunnel_are_counted(tmp_path):
    """The first fragment of an outer packet is looked into; the later ones hold nothing of the inner headers."""
    whole = IP(src=OUTSIDE, dst="198.51.100.1", id=7) / GRE() / inner(size=2000)
    fragments = fragment(IP(bytes(whole)), fragsize=800)
    frames = [ether(packet) for packet in fragments]
    everything = [bytes(packet) for packet in fragments]
    counters = deliver(tmp_path, frames, ["gre"], [everything[:1], everything, everything])
    assert counters["total"]["inner-later-fragments"] == len(fragments) - 1
    assert counters["total"]["inner-parsed"] == 1


def test_an_unknown_tunnel_is_refused_with_its_place(tmp_path):
    with pytest.raises(AssertionError) as failure, Box(tmp_path, [], dataplane='inner-match = ["gre", "ipip"]') as box:
        box.wait_ready()
    assert 'the string "ipip" is not allowed here: "gre" or "gtp-u" or "vxlan" is' in str(failure.value)
