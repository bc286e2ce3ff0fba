"""Every frame that enters a wire leaves it on the other side, byte for byte, in order, and the counters close."""

import random
import signal

import pytest
from daemons import SHARED, until
from dataplane import TAPS_FIRST, Box, Driver, destination, huge_pages_free, is_ethernet, read_frames
from scapy.all import Dot1AD, Dot1Q, Ether, IP, IPv6, TCP, UDP, Raw

ETHERNET = bytes.fromhex("020000000002020000000001")


def cross(folder, a, b, **options):
    """Sends a and b through a box; returns what left at the other side of each, and the box."""
    with Box(folder, a, b, **options) as box:
        box.wait_ready()
        until(lambda: len(read_frames(box.folder / "b-out.pcap")) >= len(a)
              and len(read_frames(box.folder / "a-out.pcap")) >= len(b), "all frames at the other side")
        box.stop()
        return box.out("b"), box.out("a"), box


def assert_unchanged(folder, a, b=(), **options):
    out_b, out_a, box = cross(folder, a, b, **options)
    assert out_b == [bytes(frame) for frame in a]
    assert out_a == [bytes(frame) for frame in b]
    # The ledger: what a port received, the other one sent or dropped.
    summary = box.summary()
    assert summary["a"] == (len(a), len(b), 0)
    assert summary["b"] == (len(b), len(a), 0)
    assert summary["d"] == (0, 0, 0), "nothing is tapped, so nothing is copied"


def every_size():
    noise = random.Random(1)
    return [ETHERNET + b"\x08\x00" + noise.randbytes(size - 14) for size in range(14, 9217)]


def every_type():
    """A frame of each of the 65,536 ethertypes (lengths among them), and some link-local and control frames."""
    noise = random.Random(3)
    frames = [ETHERNET + kind.to_bytes(2, "big") + noise.randbytes(46) for kind in range(1 << 16)]
    for dest, kind, body in (("0180c200000e", "88cc", "0207040200000000010403020001060200780000"),    # LLDP
                             ("0180c2000001", "8808", "0001ffff"),                                    # pause
                             ("0180c2000002", "8809", "0101"),                                        # LACP
                             ("0180c2000000", "0026", "424203000000"),                                # spanning tree
                             ("01000ccccccc", "0020", "aaaa0300000c2000"),                            # CDP
                             ("ffffffffffff", "ffff", "ff" * 46)):
        frames.append(bytes.fromhex(dest + "020000000001" + kind + body).ljust(60, b"\0"))
    return frames


def odd_frames():
    udp = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"payload")
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    frames = [ether / udp]
    for depth in range(1, 8):
        stack = ether
        for tag in range(depth):
            stack = stack / (Dot1AD(vlan=tag + 1) if tag % 2 == 0 else Dot1Q(vlan=tag + 1))
        frames.append(stack / udp)
    frames += [ETHERNET + bytes.fromhex("88b5") + b"experimental",
               ETHERNET + bytes.fromhex("0004") + b"\xaa\xaa\x03llc",          # a length, not a type
               ETHERNET + bytes.fromhex("8847") + bytes.fromhex("00064140") + bytes(udp),
               ETHERNET + bytes.fromhex("8864") + bytes(40),
               b"\xff" * 6 + ETHERNET[6:] + bytes.fromhex("0806") + bytes(28)]
    whole = bytes(ether / udp)
    frames += [whole[:length] for length in range(1, len(whole))]               # cut in every header: runts too
    for place in range(14, 42):                                                # a lie in every header byte
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        frames.append(bytes(broken))
    frames.append(ether / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP() / Raw(b"x" * 1000))
    return frames


@pytest.mark.parametrize("huge", [False, True], ids=["ordinary-pages", "huge-pages"])
def test_every_frame_crosses_unchanged(tmp_path, huge):
    if huge and huge_pages_free() < 192:
        pytest.skip("no huge pages on this machine")
    sizes, odd = every_size(), odd_frames()
    noise = random.Random(2)
    assert_unchanged(tmp_path, odd + [f for f in sizes if noise.random() < 0.3] + odd[::-1],
                     [f for f in sizes if noise.random() < 0.3] + odd, huge=huge,
                     dataplane="mtu = 9216")


def test_all_sizes_cross_unchanged(tmp_path):
    sizes = every_size()
    assert_unchanged(tmp_path, sizes, sizes[::-1], dataplane="mtu = 9216")


def test_every_type_crosses_unchanged(tmp_path):
    frames = every_type()
    assert_unchanged(tmp_path, frames, frames[::-1])


def test_every_frame_crosses_unchanged_while_it_is_copied_whole(tmp_path):
    """Taps on all that comes in, so that every buffer is held for a copy after its sending."""
    noise = random.Random(4)
    sizes = every_size()[:-60]  # a copy of one still longer leaves in fragments
    a = odd_frames() + [frame for frame in sizes if noise.random() < 0.1]
    b = [frame for frame in sizes[::-1] if noise.random() < 0.1] + odd_frames()
    a, b = [[bytes(frame) for frame in frames] for frames in (a, b)]
    with Box(tmp_path, a, b, wait=TAPS_FIRST, dataplane="mtu = 9216", delivery_mtu=9198) as box:
        with Driver(box) as driver:
            driver.do("resync")
            for port in (0, 1):
                driver.tap(port, port + 1, [destination("3.3.3.3", 5000 + port)], interfaces=[[port, None]], layer2=True)
            driver.commit()
            until(lambda: driver.counters()["total"].get("copies-sent") == len(a) + len(b), "all copies")
        box.stop()
    assert box.out("b") == a and box.out("a") == b
    copies = [(int.from_bytes(frame[36:38], "big"), frame[42:]) for frame in box.out("d")]
    assert [whole for port, whole in copies if port == 5000] == a
    assert [whole for port, whole in copies if port == 5001] == b


@pytest.mark.parametrize("simd", ["portable", "avx2", "avx512"])
def test_every_lookup_forwards_alike(tmp_path, simd):
    if simd != "portable" and simd not in open("/proc/cpuinfo").read():
        pytest.skip(f"this processor has no {simd}")
    odd = odd_frames()
    assert_unchanged(tmp_path, odd, odd[::-1], simd=simd)


def shared_captures():
    if not SHARED.exists():
        return []
    return [path for path in sorted((SHARED / "pcaps").rglob("*.pcap")) if is_ethernet(path)]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared captures are not on this machine")
def test_recorded_traffic_crosses_unchanged(tmp_path):
    captures = shared_captures()
    assert len(captures) > 100
    frames = []
    for path in captures:
        frames += [frame for frame in read_frames(path) if 0 < len(frame) <= 9216]
    assert len(frames) > 8_000
    half = len(frames) // 2
    assert_unchanged(tmp_path, frames[:half], frames[half:], dataplane="mtu = 9216")


def test_stop_is_clean_and_prompt(tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / str(int(number))
        folder.mkdir()
        with Box(folder, odd_frames()) as box:
            box.wait_ready()
            box.daemon.signal(number)
            assert box.daemon.wait() == 0
        assert not (box.run_dir / "dataplane.sock").exists()
