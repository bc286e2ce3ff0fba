"""The frame parser against tshark, on recorded and malformed traffic.

tshark goes on into tunnels and the packets that ICMP errors quote; the parser stops at the first IP header behind
Ethernet, VLAN tags, labels, one pseudowire and a PPPoE session. So the layers that tshark names, in their order, decide
what to compare: the first network layer on that way, and what stands directly in it.
"""

import ipaddress
import json
import os
import random
import re
import struct
import subprocess

import pytest
from daemons import BUILD, SHARED
from dataplane import write_frames
from scapy import all as scapy

FACTS = BUILD / "test" / "integration" / "frame-facts"
PCAPS = SHARED / "pcaps"

FIELDS = ["frame.protocols", "ip.src", "ip.dst", "ip.proto", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
          "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport", "dccp.srcport", "dccp.dstport", "icmp.type",
          "icmp.code", "icmpv6.type", "icmpv6.code", "ip.len", "ipv6.plen", "frame.len",
          "pppoe.payload_length"]
OPTIONS = ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "ip.tso_support:FALSE", "ip.check_checksum:FALSE"]

LINK = r"eth:(?:(?:ethertype|vlan|ieee8021ad):)*"
WAY = re.compile(rf"{LINK}(?:mpls:(?:pweth\w+:)*(?:{LINK})?)?(?:pppoes:ppp:)?(?=ipv?6?(?::|$))")
# What a label stands for, which the parser must guess and tshark is told.
CONTROL_WORD, BARE, ROUTED = 1001, 1002, 1003
TOLD = ["-d", f"mpls.label=={CONTROL_WORD},pwethcw", "-d", f"mpls.label=={BARE},pwethnocw"]
EXTENSIONS = {"ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr", "ipv6.shim6", "ah"}
PORTS = {"tcp": ("tcp", 6), "udp": ("udp", 17), "udplite": ("udp", 136), "sctp": ("sctp", 132), "dccp": ("dccp", 33)}
ICMP = {"icmp": 1, "icmpv6": 58}


def tshark(path):
    """One dictionary a frame: the network layer, its addresses, the layer above it and its fields."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t"]
    command += TOLD
    for option in OPTIONS:
        command += ["-o", option]
    for field in FIELDS:
        command += ["-e", field]
    environment = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C"}
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
                            check=False).stdout
    for line in output.splitlines():
        fields = dict(zip(FIELDS, line.split("\t")))
        protocols = fields["frame.protocols"]
        way = WAY.match(protocols)
        layers = protocols[way.end() if way else 0:].split(":")
        frame = {"network": layers[0] if way else None, "fields": fields, "layers": layers}
        if frame["network"]:
            name = frame["network"]
            frame["source"], frame["dest"] = fields[name + ".src"], fields[name + ".dst"]
            above = [layer for layer in layers[1:] if layer not in EXTENSIONS]
            frame["upper"] = above[0] if above else None
        yield frame


def parser(path):
    output = subprocess.run([str(FACTS), str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def ethernet_records(path):
    """(bytes, length on the wire) of every whole frame of a classic pcap file; none of another kind of file."""
    data = path.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(data[:4])
    if order is None or struct.unpack_from(order + "I", data, 20)[0] != 1:
        return
    offset = 24
    while offset + 16 <= len(data):
        captured, length = struct.unpack_from(order + "II", data, offset + 8)
        frame = data[offset + 16:offset + 16 + captured]
        if len(frame) == captured:
            yield frame, max(length, captured)
        offset += 16 + captured


def gather(paths, target):
    """One capture file of all Ethernet frames, since starting tshark takes longer than its work; where each is from."""
    origins = []
    with open(target, "wb") as output:
        output.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for path in paths:
            for number, (frame, length) in enumerate(ethernet_records(path), 1):
                output.write(struct.pack("<IIII", len(origins), 0, len(frame), length) + frame)
                origins.append(f"{path.name} frame {number}")
    return origins


def differ(mine, frame, first, second):
    """tshark shows no field of a header that is cut behind it."""
    values = [frame["fields"][first], frame["fields"][second]]
    return all(values) and mine != [int(value) for value in values]


def jumbogram(frame):
    """RFC 2675: more than 65,535 bytes, which no frame here carries; tshark goes on all the same."""
    return frame["fields"]["ipv6.plen"] == "0" and "ipv6.hopopts" in frame["layers"]


def beyond_session(frame):
    """A packet longer than the PPPoE session's length field says, which tshark reads all the same."""
    room = frame["fields"]["pppoe.payload_length"]
    return room and frame["network"] == "ip" and int(frame["fields"]["ip.len"]) > int(room) - 2


def disagreement(ours, theirs):
    """None, or what differs."""
    matchable = "source" in ours
    if theirs["network"] is None:
        # An IP header that tshark would not even name is one that the parser must refuse.
        return "tshark sees no IP" if matchable else None
    if not matchable:
        return None if ours["verdict"] in ("truncated", "bad_ipv4", "bad_ipv6") else "the parser sees no IP"
    if (ours["source"], ours["dest"]) != (theirs["source"], theirs["dest"]):
        return "addresses"
    upper = theirs["upper"]
    if theirs["network"] == "ip" and ours.get("protocol") != int(theirs["fields"]["ip.proto"], 0):
        return "protocol"
    if "ports" in ours:
        if upper not in PORTS:
            return f"ports, where tshark sees {upper}"
        name, protocol = PORTS[upper]
        if ours["protocol"] != protocol or differ(ours["ports"], theirs, name + ".srcport", name + ".dstport"):
            return "ports"
    elif upper in PORTS and theirs["fields"][PORTS[upper][0] + ".dstport"]:
        return "no ports"
    if "icmp" in ours:
        if upper not in ICMP:
            return f"ICMP, where tshark sees {upper}"
        if ours["protocol"] != ICMP[upper] or differ(ours["icmp"], theirs, upper + ".type", upper + ".code"):
            return "ICMP fields"
    elif upper in ICMP and theirs["fields"][upper + ".code"] and not jumbogram(theirs):
        return "no ICMP fields"
    return None


def compare(paths, target):
    """(frames compared, IP packets that the parser refused, differences)"""
    origins = gather(paths, target)
    ours = parser(target)
    theirs = list(tshark(target))
    assert len(ours) == len(theirs) == len(origins)
    refused = []
    differences = []
    for origin, mine, other in zip(origins, ours, theirs):
        what = disagreement(mine, other)
        if what:
            differences.append(f"{origin}: {what}: {mine} / {':'.join(other['layers'])}")
        if other["network"] and "source" not in mine and not (mine["verdict"] == "truncated" and beyond_session(other)):
            refused.append(f"{origin}: {mine['verdict']}")
    return len(origins), refused, differences


@pytest.mark.skipif(not PCAPS.exists(), reason="the recorded traffic is not on this machine")
def test_recorded_traffic_is_read_as_tshark_reads_it(tmp_path):
    """Every frame of ordinary traffic: the same addresses, protocol, ports, ICMP type and code; none refused."""
    frames, refused, differences = compare(sorted(PCAPS.glob("*.pcap")), tmp_path / "all.pcap")
    assert differences == []
    assert refused == []
    assert frames > 5000


@pytest.mark.skipif(not PCAPS.exists(), reason="the recorded traffic is not on this machine")
def test_malformed_traffic_is_read_as_tshark_reads_it(tmp_path):
    """Malformed frames: what is matched is read as tshark reads it; what tshark names IP is matched or refused by name."""
    frames, _, differences = compare(sorted((PCAPS / "malformed").glob("*.pcap")), tmp_path / "all.pcap")
    assert differences == []
    assert frames > 200


def routed(rng):
    """(an IP packet of some kind, where it is from)"""
    upper = rng.choice([scapy.UDP(sport=rng.randrange(65536), dport=9), scapy.TCP(sport=rng.randrange(65536), dport=9),
                        scapy.ICMP(type=8)])
    body = scapy.Raw(rng.randbytes(rng.randrange(400)))
    if rng.random() < 0.5:
        source = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
        options = [scapy.IPOption_Router_Alert()] if rng.random() < 0.2 else []
        return scapy.IP(src=source, dst="192.0.2.9", options=options) / upper / body, source
    source = str(ipaddress.IPv6Address(0x20010db8 << 96 | rng.getrandbits(64)))
    upper = upper if scapy.ICMP not in upper else scapy.ICMPv6EchoRequest()
    return scapy.IPv6(src=source, dst="2001:db8::9") / upper / body, source


def tagged(rng, most, type_, body, mac):
    """An Ethernet frame with up to so many tags, no group address, and a body of that ethertype."""
    frame = mac + b"\x02\0\0\0\0\x01"
    for _ in range(rng.randrange(most + 1)):
        frame += struct.pack("!HH", rng.choice([0x8100, 0x88a8]), rng.randrange(65536))
    return frame + struct.pack("!H", type_) + body


def carried(rng):
    """(frame, the IP packet's source): IP behind labels, in a pseudowire of any MAC address, or in a session."""
    packet, source = routed(rng)
    kind = {4: 0x0800, 6: 0x86dd}[packet.version]
    body = bytes(packet)

    def in_session():
        protocol = {0x0800: b"\0\x21", 0x86dd: b"\0\x57"}[kind]
        return 0x8864, struct.pack("!BBHH", 0x11, 0, rng.randrange(65536), len(body) + 2) + protocol + body
    mac = bytes([rng.randrange(0, 256, 2)]) + rng.randbytes(5)
    wire = b"\x02\0\0\0\0\x02"
    if rng.random() < 0.2:
        return tagged(rng, 4, *in_session(), wire), source
    bottom = rng.choice([CONTROL_WORD, BARE, ROUTED, {0x0800: 0, 0x86dd: 2}[kind]])
    if bottom in (CONTROL_WORD, BARE):
        body = tagged(rng, 4, *(in_session() if rng.random() < 0.2 else (kind, body)), mac)
    if bottom == CONTROL_WORD:
        body = struct.pack("!HH", 0, rng.choice([0, rng.randrange(65536)])) + body
    labels = [rng.randrange(16, 1000) for _ in range(rng.randrange(16))] + [bottom]
    stack = b"".join(struct.pack("!I", label << 12 | (i + 1 == len(labels)) << 8 | 64) for i, label in enumerate(labels))
    return tagged(rng, 4, rng.choice([0x8847, 0x8848]), stack + body, wire), source


def test_carried_packets_are_found_where_tshark_is_told_to_look(tmp_path):
    """What the parser guesses behind labels is what the label stands for, whatever the MAC addresses of pseudowires."""
    rng = random.Random(17)
    frames = [carried(rng) for _ in range(6000)]
    write_frames(tmp_path / "in.pcap", [frame for frame, _ in frames])
    count, refused, differences = compare([tmp_path / "in.pcap"], tmp_path / "all.pcap")
    assert differences == []
    assert refused == []
    assert count == len(frames)
    assert [mine.get("source") for mine in parser(tmp_path / "all.pcap")] == [source for _, source in frames]
