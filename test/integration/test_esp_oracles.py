"""Our ESP against oracles that share no code with it: what crypto/ seals, scapy and tshark open; what scapy seals,
flowtap-receive opens."""

import json
import random
import subprocess

import esp
import pytest
from daemons import BUILD, PROGRAMS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.ipsec import ESP
from scapy.packet import Raw

ENDS = {"ipv4": ("100.100.100.100", "123.123.123.123"), "ipv6": ("2001:db8::100", "2001:db8:ffff::1")}


def inner_packets(count, largest, seed):
    """IPv4 and IPv6 packets of many sizes, the smallest and every padding among them."""
    rng = random.Random(seed)
    packets = []
    for i in range(count):
        size = i if i < 64 else rng.randrange(largest)
        tos = rng.randrange(256)
        if i % 2 == 0:
            packets.append(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=253, tos=tos) / Raw(rng.randbytes(size))))
        else:
            packets.append(bytes(IPv6(src="fd00::1", dst="fd00::2", nh=253, tc=tos) / Raw(rng.randbytes(size))))
    return packets


def seal(folder, packets, outer, *options, **association):
    local, remote = ENDS[outer]
    sa = esp.write_sa_file(folder / "sa.toml", **association)
    inner = esp.write_packets(folder / "inner.pcap", packets)
    subprocess.run([BUILD / "test" / "integration" / "esp-seal", "--sa", sa, "--local", local, "--remote", remote,
                    "--read", inner, "--write", folder / "outer.pcap", *options], check=True)
    return folder / "outer.pcap"


def padding_of(length):
    return bytes(range(1, (-(length + 2)) % 4 + 1))


@pytest.mark.parametrize("outer", ENDS)
@pytest.mark.parametrize("options", [(), ("--body-after", "40", "--burst", "7")], ids=["in-place", "gathered"])
def test_scapy_opens_what_we_seal(tmp_path, outer, options):
    packets = inner_packets(1500, 9000, 1)
    sealed = esp.read_packets(seal(tmp_path, packets, outer, *options))
    assert len(sealed) == len(packets)
    oracle = esp.Scapy(*ENDS[outer])
    for number, (packet, outside) in enumerate(zip(packets, sealed, strict=True), 1):
        assert oracle.open(outside) == packet, f"packet {number}"
        header = esp.ip(outside)
        assert header[ESP].seq == number
        assert header[ESP].spi == esp.SPI
        assert header[ESP].data[:8] == number.to_bytes(8, "big"), "the IV is the counter"
        inside = esp.ip(packet)
        ds = inside.tos if inside.version == 4 else inside.tc
        assert (header.src, header.dst) == ENDS[outer]
        if outer == "ipv4":
            rebuilt = IP(outside)
            del rebuilt.chksum, rebuilt.len
            assert bytes(rebuilt) == outside, "length and checksum are what scapy computes"
            assert (header.tos, header.ttl, int(header.flags), header.frag) == (ds, 64, 0, 0)
        else:
            assert (header.tc, header.hlim, header.fl, header.plen) == (ds, 64, 0, len(outside) - 40)


@pytest.mark.parametrize("outer", ENDS)
def test_tshark_opens_what_we_seal(tmp_path, outer):
    packets = inner_packets(600, 1400, 2)
    opened = esp.tshark_opened(seal(tmp_path, packets, outer))
    assert len(opened) == len(packets)
    for number, (packet, fields) in enumerate(zip(packets, opened, strict=True), 1):
        assert fields["esp.icv_good"] in ("1", "True"), f"packet {number}"
        assert fields["esp.contained_data"] == packet.hex(), f"packet {number}"
        assert fields["esp.sequence"] == str(number)
        assert fields["esp.iv"] == number.to_bytes(8, "big").hex()
        padding = padding_of(len(packet))
        assert fields["esp.pad"] == padding.hex()
        assert fields["esp.pad_len"] == str(len(padding))
        assert int(fields["esp.protocol"], 0) == (4 if packet[0] >> 4 == 4 else 41)
        if outer == "ipv4":
            assert fields["ip.checksum.status"] in ("1", "Good"), "outer header checksum"


OTHER_SUITES = [suite for suite in esp.SUITES.values() if suite is not esp.GCM]


def names(suite):
    return suite.name


@pytest.mark.parametrize("suite", OTHER_SUITES, ids=names)
def test_scapy_opens_what_we_seal_with_every_suite(tmp_path, suite):
    packets = inner_packets(300, 9000, 6)
    for outer, ends in ENDS.items():
        sealed = esp.read_packets(seal(tmp_path, packets, outer, suite=suite))
        assert len(sealed) == len(packets)
        oracle = esp.Scapy(*ends, suite)
        ivs = set()
        for number, (packet, outside) in enumerate(zip(packets, sealed, strict=True), 1):
            header = esp.ip(outside)
            assert header[ESP].seq == number
            ivs.add(header[ESP].data[:suite.iv_size])
            if suite.auth == "NULL":
                assert header[ESP].data[:8] == number.to_bytes(8, "big"), "the IV is the counter"
            assert len(bytes(header[ESP])) == suite.sealed_size(len(packet))
            assert oracle.open(outside) == packet, f"packet {number}"
        assert len(ivs) == len(packets)


@pytest.mark.parametrize("suite", [suite for suite in esp.SUITES.values() if suite.name != "3des-cbc-hmac-sha1-96"], ids=names)
@pytest.mark.parametrize("first", [1, (7 << 32) - 100], ids=["from-1", "across-2^32"])
def test_extended_sequence_numbers_both_ways(tmp_path, suite, first):
    packets = inner_packets(200, 1500, 7)
    ends = ENDS["ipv6"]
    oracle = esp.Scapy(*ends, suite, extended=True)
    sealed = esp.read_packets(seal(tmp_path, packets, "ipv6", "--first", str(first), suite=suite, extended=True))
    for sequence, (packet, outside) in enumerate(zip(packets, sealed, strict=True), first):
        assert esp.ip(outside)[ESP].seq == sequence & 0xFFFF_FFFF
        assert oracle.open(outside, sequence) == packet

    inside = originals(40, 8)
    numbers = [first + i for i in range(41) if (first + i) & 0xFFFF_FFFF][:40]
    sealed = [oracle.seal(esp.copy(packet), number) for packet, number in zip(inside, numbers, strict=True)]
    code, report, errors = receive(tmp_path, esp.write_packets(tmp_path / "outer.pcap", sealed), "--replay-window", "64",
                                   "--highest-sequence", str(first - 1))
    assert (code, errors) == (0, "")
    assert esp.read_packets(tmp_path / "originals.pcap") == inside
    assert report["sequence"]["missing"] == 0
    # A receiver that does not know where the sender stands opens nothing of it.
    if first > 1:
        code, report, _ = receive(tmp_path, tmp_path / "outer.pcap")
        assert code == 1 and report["copies"] == 0 and report["refused_by"] == {"open-bad-icv": 40}


@pytest.mark.parametrize("suite", [suite for suite in OTHER_SUITES if suite.crypt in esp.TSHARK_CIPHERS], ids=names)
def test_tshark_opens_what_we_seal_with_every_suite_that_it_has(tmp_path, suite):
    packets = inner_packets(60, 1400, 9)
    for packet, fields in zip(packets, esp.tshark_opened(seal(tmp_path, packets, "ipv4", suite=suite), suite), strict=True):
        assert fields["esp.icv_good"] in ("1", "True")
        assert fields["esp.contained_data"] == packet.hex()
        assert fields["esp.pad"] == suite.padding(len(packet)).hex()


@pytest.mark.parametrize("suite", [esp.GCM, esp.SUITES["aes-128-cbc-hmac-sha1-96"]], ids=names)
@pytest.mark.parametrize("outer", ENDS)
def test_in_udp_and_padded_to_one_length(tmp_path, suite, outer):
    packets = inner_packets(150, 1100, 10)
    sealed = esp.read_packets(seal(tmp_path, packets, outer, suite=suite, udp=True, padded=1200))
    assert len({len(outside) for outside in sealed}) == 1
    oracle = esp.Scapy(*ENDS[outer], suite)
    for packet, outside in zip(packets, sealed, strict=True):
        header = esp.ip(outside)
        assert (header[UDP].sport, header[UDP].dport) == (4500, 4500)
        if outer == "ipv4":
            assert header[UDP].chksum == 0
        else:
            rebuilt = IPv6(outside)
            del rebuilt[UDP].chksum
            assert bytes(rebuilt) == outside, "the UDP checksum is what scapy computes"
        inner = oracle.open(outside)
        assert inner[:len(packet)] == packet and inner[len(packet):].strip(b"\0") == b""


def test_the_last_sequence_number(tmp_path):
    """Sequence number 2^32-1 is used; in a later block of the counter too, where the IV has a high half."""
    packets = inner_packets(3, 100, 3)
    for block in (0, 0x01020304):
        first = (block << 32) + 0xFFFF_FFFD
        sealed = esp.read_packets(seal(tmp_path, packets, "ipv4", "--first", str(first)))
        oracle = esp.Scapy(*ENDS["ipv4"])
        for i, (packet, outside) in enumerate(zip(packets, sealed, strict=True)):
            assert oracle.open(outside) == packet
            assert esp.ip(outside)[ESP].seq == 0xFFFF_FFFD + i
            assert esp.ip(outside)[ESP].data[:8] == (first + i).to_bytes(8, "big")
    failed = subprocess.run([BUILD / "test" / "integration" / "esp-seal", "--sa", tmp_path / "sa.toml", "--local",
                             "192.0.2.1", "--remote", "192.0.2.2", "--read", tmp_path / "inner.pcap", "--write",
                             tmp_path / "none.pcap", "--first", str(0xFFFF_FFFE)], capture_output=True, text=True,
                            check=False)
    assert failed.returncode == 2, "three packets do not fit into two sequence numbers"
    assert "refused" in failed.stderr


def originals(count, seed):
    rng = random.Random(seed)
    makers = [lambda: IP(src="10.1.1.1", dst="10.2.2.2", tos=rng.randrange(256)) / UDP(sport=rng.randrange(65536)),
              lambda: IP(src="10.1.1.1", dst="10.2.2.2", options=b"\x01" * 4) / TCP(seq=rng.randrange(1 << 32)),
              lambda: IP(src="10.1.1.1", dst="10.2.2.2", flags="MF", frag=0) / ICMP(),
              lambda: IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / TCP(dport=443),
              lambda: IPv6(src="fd00::1", dst="fd00::2") / UDP(dport=53)]
    return [bytes(makers[i % len(makers)]() / Raw(rng.randbytes(i if i < 32 else rng.randrange(1400))))
            for i in range(count)]


def receive(folder, outer, *options):
    done = subprocess.run([PROGRAMS["flowtap-receive"], "--sa", folder / "sa.toml", "--read", outer, "--write",
                           folder / "originals.pcap", "--json", *options], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("suite", OTHER_SUITES, ids=names)
def test_receive_opens_what_scapy_seals_with_every_suite(tmp_path, suite):
    esp.write_sa_file(tmp_path / "sa.toml", suite=suite)
    packets = originals(100, 11)
    # In UDP too, as a sender behind a NAT does; a keepalive and IKE on the same port are something else.
    oracles = [esp.Scapy(*ENDS["ipv4"], suite), esp.Scapy(*ENDS["ipv6"], suite), esp.Scapy(*ENDS["ipv4"], suite, udp=True)]
    sealed = [oracles[i % 3].seal(esp.copy(packet), i + 1) for i, packet in enumerate(packets)]
    other = [bytes(IP(dst="1.1.1.1") / UDP(sport=4500, dport=4500) / Raw(data)) for data in (b"\xff", bytes(4) + b"IKE")]
    code, report, errors = receive(tmp_path, esp.write_packets(tmp_path / "outer.pcap", sealed + other))
    assert (code, errors) == (0, "")
    assert esp.read_packets(tmp_path / "originals.pcap") == packets
    assert report["sequence"] == {"seen": [{"first": 1, "last": 100}], "missing": 0, "duplicates": 0, "gaps": []}
    assert report["frames_other"] == 2


@pytest.mark.parametrize("outer", ENDS)
@pytest.mark.parametrize("destination", ["2.2.2.2", "2001:db8:2::2"])
def test_receive_opens_what_scapy_seals(tmp_path, outer, destination):
    esp.write_sa_file(tmp_path / "sa.toml")
    oracle = esp.Scapy(*ENDS[outer])
    packets = originals(400, 4)
    sealed = [oracle.seal(esp.copy(packet, "100.100.100.100" if "." in destination else "2001:db8::100", destination,
                                   7000 + i % 3), i + 1) for i, packet in enumerate(packets)]
    code, report, errors = receive(tmp_path, esp.write_packets(tmp_path / "outer.pcap", sealed))
    assert (code, errors) == (0, "")
    assert esp.read_packets(tmp_path / "originals.pcap") == packets
    assert report["copies"] == report["esp_packets"] == 400
    assert report["bytes"] == sum(map(len, packets))
    assert report["refused"] == 0
    assert [(d["address"], d["port"], d["packets"]) for d in report["destinations"]] == [
        (destination, 7000, 134), (destination, 7001, 133), (destination, 7002, 133)]
    assert report["sequence"] == {"seen": [{"first": 1, "last": 400}], "missing": 0, "duplicates": 0, "gaps": []}


def test_receive_names_what_is_wrong(tmp_path):
    """Gaps, repeats and every damage that a path can do, in Ethernet frames with VLAN tags, among other traffic."""
    esp.write_sa_file(tmp_path / "sa.toml")
    oracle = esp.Scapy(*ENDS["ipv4"])
    packets = originals(10, 5)
    sealed = {n: oracle.seal(esp.copy(packets[n]), n) for n in range(1, 10)}
    ethernet = bytes.fromhex("020000000002 020000000001 8100 0064 0800")
    flipped = bytearray(sealed[5])
    flipped[60] ^= 4
    other_key = esp.Scapy(*ENDS["ipv4"])
    other_key.sa.crypt_key = bytes(32)
    frames = [sealed[1], sealed[2], bytes(IP(dst="1.1.1.1") / UDP()), sealed[7], sealed[4], sealed[4], bytes(flipped),
              sealed[6][:40], other_key.seal(esp.copy(packets[8]), 8), sealed[9],
              bytes(IP(src="9.9.9.9", dst="8.8.8.8", proto=50) / Raw(b"\0\0\x99\x99" + bytes(60)))]
    outer = esp.write_packets(tmp_path / "outer.pcap", [ethernet + frame for frame in frames], linktype=1)
    code, report, errors = receive(tmp_path, outer)
    assert (code, errors) == (1, "")
    assert esp.read_packets(tmp_path / "originals.pcap") == [packets[n] for n in (1, 2, 7, 4, 4, 9)]
    assert report["refused_by"] == {"open-bad-icv": 2, "frame-truncated": 1, "open-wrong-spi": 1}
    assert report["frames_other"] == 1
    assert report["sequence"]["duplicates"] == 1
    assert report["sequence"]["gaps"] == [{"first": 3, "last": 3, "count": 1}, {"first": 5, "last": 6, "count": 2},
                                          {"first": 8, "last": 8, "count": 1}]

    code, report, _ = receive(tmp_path, outer, "--replay-window", "64")
    assert code == 1
    assert report["refused_by"]["open-replayed"] == 1
    assert esp.read_packets(tmp_path / "originals.pcap") == [packets[n] for n in (1, 2, 7, 4, 9)]
