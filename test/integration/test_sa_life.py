"""The life of a tunnel's security associations with both real daemons: one takes over from another without a copy lost, one
ends at its hard lifetime to the packet, keys are rolled by hand, and what must not be used is refused before anything runs.

Every copy is opened by flowtap-receive with the SA file of its SPI, and is to be the frame that was sent."""

import collections
import contextlib
import os
import signal
import struct
import subprocess
import threading
import time

import esp
import pytest
from daemons import PROGRAMS, until
from scapy.all import IP, UDP, Raw
from test_control import TARGET, Lab, add
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")

# As few at a time as every ring of the software devices holds, however slow the machine.
AT_ONCE = 16
COPY = 220  # bytes of the copy of a packet() through the cipher: 28 of encapsulation, 188 of the packet, 4 of padding and trailer
ETHERNET = bytes.fromhex("02000000000b 02000000000a 0800")
SPI_AT = 14 + 20  # of ESP over IPv4 in an Ethernet frame
LOST_AT_THE_END = ("copy-no-lease", "copy-sequence-end", "copy-no-sa")


def packet(number):
    return bytes(IP(src=TARGET, dst="192.0.2.1", id=number & 0xffff) / UDP(sport=1, dport=2) / Raw(struct.pack("!I", number) * 40))


class SaLab(Lab):
    """Its tunnel has the SAs of the files, in their order; each file is (name, SPI, lines besides the key's)."""

    def __init__(self, *files, delivery=""):
        self.names = [name for name, *_ in files]
        self.delivery = delivery
        self.keys = {}  # by name of the file, every key that it has had
        self.spis = {}
        self.wires = Wires("abd")
        self.sent = 0
        self.frames = []  # all that has left the delivery port
        super().__init__()
        for name, spi, *lines in files:
            self.write_sa(name, spi, *lines)

    def write_sa(self, name, spi, *lines, key=None):
        digits = key if key is not None else os.urandom(36).hex()
        self.keys.setdefault(name, []).append(digits)
        self.secret(name, "\n".join([f"spi = {spi:#x}", 'suite = "aes-256-gcm-16"', f'key = "{digits}"', *lines, ""]).encode())
        # The gateway's own copy of it, which stays when the box gets a new one.
        self.spis[spi] = self.folder / f"gateway-{spi:x}.sa"
        self.spis[spi].write_bytes((self.folder / "keys" / name).read_bytes())
        self.spis[spi].chmod(0o600)

    def configuration(self):
        text = super().configuration().replace("[[tunnel]]", f"{self.delivery}\n[[tunnel]]")
        for number, letter in enumerate("abd"):
            text = text.replace(f'"net_null{number}"', f'"net_af_packet{number},iface=wire-{letter}"')
        files = ", ".join(f'"{self.folder}/keys/{name}"' for name in self.names)
        for name in self.names:
            (self.folder / "keys" / name).touch(mode=0o600)
        return text.replace(f'sa = "{self.folder}/keys/sa.toml"', f"sa = [{files}]")

    def prefix(self, name):
        return [*(self.wires.prefix if name == "flowtap-dataplane" else ()), *super().prefix(name)]

    def start_all(self):
        super().start_all()
        until(lambda: self.health()["dataplane"].get("state") == "forwarding", "the dataplane forwarding")
        with self.client() as client:
            assert add(client).code == 200

    def restart_all(self):
        for name in ("flowtap-control", "flowtap-dataplane"):
            self.daemons[name].stop()
        self.start("flowtap-dataplane", "")
        self.start("flowtap-control")
        self.wait_restored()

    def cross(self, count):
        """So many frames of the target through the wire, which is to lose none; returns when all are at its other side."""
        last = self.sent + count
        for first in range(self.sent, last, AT_ONCE):
            frames = [ETHERNET + packet(number) for number in range(first, min(first + AT_ONCE, last))]
            for frame in frames:
                self.wires.end("a").send(frame)
            seen = []
            until(lambda frames=frames, seen=seen: seen.extend(drained(self.wires.end("b"))) or len(seen) >= len(frames),
                  "the frames at the other side")
            assert seen == frames
            self.sent += len(frames)
            self.frames.extend(drained(self.wires.end("d")))

    @contextlib.contextmanager
    def traffic(self):
        """Frames cross all the time, as fast as the wire takes them without a loss."""
        stop = threading.Event()
        failures = []

        def run():
            try:
                while not stop.is_set():
                    self.cross(AT_ONCE)
            except AssertionError as failure:
                failures.append(failure)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not failures, failures[0]

    def sealed(self):
        return len(self.frames)

    def sealed_by(self, spi):
        return sum(spi_of(frame) == spi for frame in list(self.frames))

    def tunnel(self):
        return self.show("delivery")["tunnels"][0]

    def states(self):
        return [(association["spi"], association["state"]) for association in self.tunnel()["security-associations"]]

    def left(self, unit):
        """Of the first one's hard lifetime, as control saw it last."""
        return self.tunnel()["security-associations"][0]["left"][unit]

    def alarms(self):
        return self.health()["alarms"]

    def settled(self):
        """{name: count} of what the dataplane says of the copies, once it has decided on each that is owed."""
        def closed():
            copies = self.show("delivery")["copies"]
            return copies["owed"] == self.sent == copies["sent"] + sum(copies["lost"].values()) and copies
        return until(closed, "a ledger that closes")

    def esp_frames(self, count):
        """All that has left the delivery port: nothing but ESP, and so many."""
        until(lambda: self.frames.extend(drained(self.wires.end("d"))) or len(self.frames) >= count, "the copies")
        assert len(self.frames) == count
        assert {(frame[12:14], frame[23]) for frame in self.frames} <= {(b"\x08\x00", 50)}
        return self.frames

    def opened(self, count):
        """({SPI: packets}, {SPI: originals}): every one opened, each SA's numbers without a gap or repetition."""
        by_spi = collections.defaultdict(list)
        for frame in self.esp_frames(count):
            by_spi[spi_of(frame)].append(frame[14:])
        originals = {}
        for spi, packets in by_spi.items():
            sealed = esp.write_packets(self.folder / f"{spi:x}.pcap", packets)
            written = self.folder / f"{spi:x}-originals.pcap"
            done = subprocess.run([PROGRAMS["flowtap-receive"], "--sa", self.spis[spi], "--read", sealed, "--write", written],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            originals[spi] = esp.read_packets(written)
        return {spi: len(packets) for spi, packets in by_spi.items()}, originals

    def no_key_was_told(self, *texts):
        told = "".join(texts) + "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))
        told += "".join(self.ctl("show", what).stdout for what in ("health", "delivery"))
        for keys in self.keys.values():
            for key in keys:
                assert key[:16] not in told and key[-16:] not in told

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.wires.__exit__(*arguments)


def drained(end):
    frames = []
    try:
        while True:
            frames.append(end.recv(4096))
    except BlockingIOError:
        return frames


def spi_of(frame):
    return int.from_bytes(frame[SPI_AT:SPI_AT + 4], "big")


def in_order(originals, spis):
    return [original for spi in spis for original in originals[spi]]


def test_at_the_soft_lifetime_the_next_takes_over_and_no_copy_is_lost():
    with SaLab(("a", 0x1001, "soft-lifetime-packets = 50"), ("b", 0x1002)) as lab:
        lab.start_all()
        assert lab.states() == [(0x1001, "in use"), (0x1002, "waiting")] and lab.alarms() == []
        lab.cross(49)
        lab.settled()
        assert lab.states()[0] == (0x1001, "in use")
        with lab.traffic():
            until(lambda: lab.states() == [(0x1001, "used up"), (0x1002, "in use")], "the second in use")
            until(lambda: lab.sealed_by(0x1002) >= 100, "copies that the second has sealed")
        assert lab.settled()["sent"] == lab.sent, "not one copy was lost"
        assert lab.alarms() == []
        counts, originals = lab.opened(lab.sent)
        assert set(counts) == {0x1001, 0x1002} and counts[0x1001] >= 50 and counts[0x1002] >= 100
        assert in_order(originals, (0x1001, 0x1002)) == [packet(number) for number in range(lab.sent)]
        assert 'tunnel "ttp": SPI 0x1002: seals from now on' in lab.log("flowtap-control").read_text()
        assert "0x1002" in lab.ctl("show", "delivery").stdout
        lab.no_key_was_told()


def test_at_the_hard_lifetime_without_another_nothing_is_sealed_beyond_it_and_what_is_lost_is_counted():
    limit = 100
    with SaLab(("a", 0x1001, f"hard-lifetime-packets = {limit}", "soft-lifetime-packets = 60")) as lab:
        lab.start_all()
        lab.cross(80)
        soft = 'tunnel "ttp": SPI 0x1001: its soft lifetime in packets is over, and no other security association follows'
        until(lambda: soft in lab.alarms(), "the alarm of the soft lifetime")
        assert lab.settled()["sent"] == 80
        lab.cross(70)
        gone = 'tunnel "ttp" has no security association that may be used: its copies are lost'
        until(lambda: gone in lab.alarms(), "the alarm of the hard lifetime")
        assert lab.states() == [(0x1001, "used up")]
        assert gone in lab.ctl("show", "health").stdout
        lab.cross(30)
        copies = lab.settled()
        lost = {name: count for name, count in copies["lost"].items() if count}
        assert copies["sent"] == limit and sum(lost.values()) == 80 and set(lost) <= set(LOST_AT_THE_END), copies
        assert lost["copy-no-sa"] >= 30
        assert "its hard lifetime in packets is over" in lab.log("flowtap-control").read_text()
        counts, originals = lab.opened(limit)
        assert counts == {0x1001: limit}
        assert originals[0x1001] == [packet(number) for number in range(limit)]

        # A restart of both brings it back as little as any other.
        lab.restart_all()
        until(lambda: gone in lab.alarms(), "the alarm after the restart")
        assert lab.states() == [(0x1001, "used up")]
        lab.no_key_was_told()


def test_bytes_are_those_that_the_cipher_takes_and_the_one_that_reaches_a_lifetime_ends_it():
    with SaLab(("a", 0x1001, f"hard-lifetime-bytes = {100 * COPY}", f"soft-lifetime-bytes = {50 * COPY}")) as lab:
        lab.start_all()
        soft = 'tunnel "ttp": SPI 0x1001: its soft lifetime in bytes is over, and no other security association follows'
        gone = 'tunnel "ttp" has no security association that may be used: its copies are lost'
        for count, left, alarms in [(49, 51, []), (1, 50, [soft]), (49, 1, [soft])]:
            lab.cross(count)
            until(lambda left=left: lab.left("bytes") == left * COPY, f"{left} copies that are left")
            until(lambda alarms=alarms: lab.alarms() == alarms, f"alarms {alarms}")
            assert lab.states() == [(0x1001, "in use")]
        lab.cross(1)
        until(lambda: gone in lab.alarms(), "the alarm of the hard lifetime")
        assert lab.states() == [(0x1001, "used up")] and lab.left("bytes") == 0
        assert lab.settled()["sent"] == 100
        lab.cross(30)
        copies = lab.settled()
        assert copies["sent"] == 100 and {name: count for name, count in copies["lost"].items() if count} == {"copy-no-sa": 30}
        assert "its hard lifetime in bytes is over" in lab.log("flowtap-control").read_text()
        counts, originals = lab.opened(100)
        assert counts == {0x1001: 100} and originals[0x1001] == [packet(number) for number in range(100)]
        lab.no_key_was_told()


def test_seconds_pass_whatever_is_sealed_and_over_a_restart_too():
    started = time.monotonic()
    with SaLab(("a", 0x1001, "soft-lifetime-seconds = 3"), ("b", 0x1002, "hard-lifetime-seconds = 5")) as lab:
        lab.start_all()
        with lab.traffic():
            until(lambda: lab.states()[0] == (0x1001, "used up"), "the end of the first")
            assert time.monotonic() - started >= 2  # whole seconds
            gone = 'tunnel "ttp" has no security association that may be used: its copies are lost'
            until(lambda: gone in lab.alarms(), "the end of the second")
            assert time.monotonic() - started >= 2 + 4
            until(lambda: lab.sent >= lab.sealed() + 100, "copies that nothing seals")
        copies = lab.settled()
        lost = {name for name, count in copies["lost"].items() if count}
        assert "copy-no-sa" in lost and lost <= set(LOST_AT_THE_END), copies
        assert "its hard lifetime in seconds is over" in lab.log("flowtap-control").read_text()
        # First all by the first, then all by the second, then nothing.
        counts, originals = lab.opened(copies["sent"])
        assert set(counts) <= {0x1001, 0x1002}
        assert in_order(originals, sorted(counts)) == [packet(number) for number in range(copies["sent"])]
        lab.restart_all()
        until(lambda: gone in lab.alarms(), "the alarm after the restart")
        assert lab.states() == [(0x1001, "used up"), (0x1002, "used up")]
        lab.no_key_was_told()


def test_a_key_that_is_replaced_by_hand_is_made_before_the_old_one_is_broken():
    with SaLab(("a", 0x1001)) as lab:
        lab.start_all()
        with lab.traffic():
            until(lambda: lab.sealed_by(0x1001) >= 20, "copies that the first has sealed")
            lab.daemons["flowtap-control"].stop(signal.SIGTERM)
            lab.write_sa("a", 0x1003)
            done = lab.new_keys()
            assert done.returncode == 0 and "1 new keys recorded" in done.stdout, done.stdout + done.stderr
            seen = lab.sealed_by(0x1001)
            until(lambda: lab.sealed_by(0x1001) > seen, "the dataplane going on with what it has")
            lab.start("flowtap-control")
            until(lambda: lab.states() == [(0x1003, "in use")], "the new key in use")
            until(lambda: lab.sealed_by(0x1003) >= 20, "copies that the new one has sealed")
        assert lab.settled()["sent"] == lab.sent, "not one copy was lost"
        counts, originals = lab.opened(lab.sent)
        assert set(counts) == {0x1001, 0x1003}
        assert in_order(originals, (0x1001, 0x1003)) == [packet(number) for number in range(lab.sent)]
        lab.no_key_was_told()


@pytest.fixture(name="lab", scope="module")
def idle_lab():
    """Nothing runs in it."""
    with SaLab(("a", 0x1001), ("b", 0x1002), delivery="mtu = 700") as lab:
        yield lab


def refusal(lab):
    done = lab.control("--new-keys")
    assert done.returncode == 2 and done.stdout == "", done.stdout + done.stderr
    lab.no_key_was_told(done.stderr)
    return done.stderr


def test_what_is_good_is_accepted(lab):
    done = lab.control("--new-keys")
    assert done.returncode == 0, done.stderr


def test_a_key_file_that_others_may_read_is_refused_by_its_name(lab):
    (lab.folder / "keys" / "b").chmod(0o644)
    assert f"{lab.folder}/keys/b: mode is 0644; it may be 0600 at most" in refusal(lab)
    (lab.folder / "keys" / "b").chmod(0o600)


@pytest.mark.parametrize("key, why", [
    (os.urandom(4).hex() * 9, "the key repeats a pattern of 4 bytes; it has to be random"),
    ("a5" * 36, "the key repeats one byte; it has to be random"),
    (os.urandom(20).hex(), "the key has 40 digits; aes-256-gcm-16 needs 72 hexadecimal digits")],
    ids=["pattern", "one-byte", "short"])
def test_a_weak_or_short_key_is_refused_by_its_file_and_place(lab, key, why):
    lab.write_sa("b", 0x1002, key=key)
    assert f"{lab.folder}/keys/b:3:7: {why}" in refusal(lab)
    lab.write_sa("b", 0x1002)


def test_lifetimes_that_contradict_one_another_are_refused(lab):
    lab.write_sa("b", 0x1002, "soft-lifetime-packets = 100", "hard-lifetime-packets = 100")
    assert f"{lab.folder}/keys/b:4:25: soft-lifetime-packets is 100: it has to be less" in refusal(lab)
    lab.write_sa("b", 0x1002)


def test_one_key_in_two_files_is_refused_by_both_names(lab):
    lab.write_sa("b", 0x1002, key=lab.keys["a"][-1])
    errors = refusal(lab)
    assert f"{lab.folder}/keys/a" in errors and f"{lab.folder}/keys/b" in errors and "have the same key" in errors
    lab.write_sa("b", 0x1002)


def test_a_tunnel_with_too_little_room_for_packets_is_refused_by_its_name(lab):
    text = lab.config.read_text()
    lab.config.write_text(text.replace("mtu = 700", "mtu = 600"))
    errors = refusal(lab)
    assert "the delivery port's mtu, 600, leaves" in errors and 'tunnel "ttp"' in errors and "an mtu of 632 or more" in errors
    lab.config.write_text(text)
