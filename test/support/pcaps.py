"""Reading capture files without a library that could agree with our own code by accident."""

import collections
import ipaddress
import struct

ETHERNET = 1
RAW = 101


def packets(path):
    """Yields (link type, bytes) of every whole packet of a classic pcap file, even while it is being written."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < 24:
        return
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}[data[:4]]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xffff
    offset = 24
    while offset + 16 <= len(data):
        captured, = struct.unpack_from(order + "I", data, offset + 8)
        packet = data[offset + 16:offset + 16 + captured]
        if len(packet) < captured:
            return
        yield link, packet
        offset += 16 + captured


def count(path):
    return sum(1 for _ in packets(path))


def layer3(link, packet):
    """The IP packet of a frame without padding, or None when there is none."""
    if link == ETHERNET:
        kind, = struct.unpack_from("!H", packet, 12)
        offset = 14
        while kind in (0x8100, 0x88a8) and len(packet) >= offset + 4:
            kind, = struct.unpack_from("!H", packet, offset + 2)
            offset += 4
        if kind not in (0x0800, 0x86dd):
            return None
        packet = packet[offset:]
    if packet[0] >> 4 == 4:
        return packet[:struct.unpack_from("!H", packet, 2)[0]]
    return packet[:40 + struct.unpack_from("!H", packet, 4)[0]]


def addresses(packet):
    if packet[0] >> 4 == 4:
        return ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20])
    return ipaddress.ip_address(packet[8:24]), ipaddress.ip_address(packet[24:40])


def same_packets(capture, received, hosts):
    """Are the packets of the hosts in the capture exactly the received ones, byte for byte and as often?"""
    wanted = {ipaddress.ip_address(host) for host in hosts}
    expected = collections.Counter()
    for link, frame in packets(capture):
        packet = layer3(link, frame)
        if packet and wanted & set(addresses(packet)):
            expected[bytes(packet)] += 1
    got = collections.Counter(bytes(packet) for _, packet in packets(received))
    missing, extra = expected - got, got - expected
    detail = f"{sum(missing.values())} missing, {sum(extra.values())} that were not captured"
    return bool(expected) and not missing and not extra, detail
