"""Taps come and go by the thousand while frames cross: none is lost or overtaken, and each tap's copies are those of an
unbroken run of its frames that begins and ends between the order and its acknowledgement."""

import os
import select
import socket
import struct
import threading

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

TAPS = 10_000
GROUP = 100         # taps of one commit
FRAMES = 300        # each way, between two commits
WINDOW = 384        # frames under way at most, each way: no queue on the way can overflow, however slow the machine
PEER = "192.0.2.1"
FIRST_PORT = 10_000

OUT, BACK = 0, 1    # from port a to port b, and the other way


def host(tap):
    return f"10.9.{tap >> 8}.{tap & 255}"


# By turns: (directions whose frames the tap matches, its criterion).
KINDS = [((OUT,), lambda tap: {"source": [host(tap)]}),
         ((BACK,), lambda tap: {"dest": [host(tap)]}),
         ((OUT, BACK), lambda tap: {"host": host(tap)}),
         ((OUT,), lambda tap: {"source": [host(tap)], "protocol": [17], "dest_port": [[5, 9]]}),
         ((BACK,), lambda tap: {"dest": [host(tap)], "interfaces": [[1, None]]})]


def head(tap, way):
    """The frame up to its serial number."""
    source, dest = (host(tap), PEER) if way == OUT else (PEER, host(tap))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + 8 + 24, 0, 0, 9, 17, 0, socket.inet_aton(source), socket.inet_aton(dest))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + ip[12:]
    macs = bytes.fromhex("020000000002020000000001")
    return macs + b"\x08\x00" + ip + struct.pack("!HHHH", 5, 9, 32, 0)


class Traffic:
    """Frames with serial numbers in both directions, of the hosts of `taps` by turns."""

    def __init__(self, wires):
        self.wires = wires
        self.taps = range(GROUP)
        self.frames = ([], [])              # of each direction, as sent
        self.targets = ([], [])             # whose they are
        self.sent, self.received = [0, 0], [0, 0]
        self.wrong = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _send(self, way):
        taps = self.taps
        for _ in range(16):
            serial = self.sent[way]
            tap = taps[serial % len(taps)]
            frame = head(tap, way) + struct.pack("!Q", serial) + bytes(16)
            self.frames[way].append(frame)
            self.targets[way].append(tap)
            self.wires.ends[way].send(frame)
            self.sent[way] = serial + 1

    def _receive(self, way):
        while True:
            try:
                frame = self.wires.ends[1 - way].recv(2048)
            except BlockingIOError:
                return
            serial = self.received[way]
            if frame != self.frames[way][serial]:
                self.wrong = self.wrong or f"way {way}: instead of frame {serial} came {frame.hex()}"
            self.received[way] = serial + 1

    def _run(self):
        try:
            while not self.stopped.is_set():
                for way in (OUT, BACK):
                    if self.sent[way] - self.received[way] <= WINDOW - 16:
                        self._send(way)
                select.select(self.wires.ends, [], [], 0.001)
                for way in (OUT, BACK):
                    self._receive(way)
            # What is still under way.
            until(lambda: [self._receive(way) for way in (OUT, BACK)] and (self.wrong or self.received == self.sent),
                  "the last frames")
        except BaseException as error:  # to be seen by the test's thread
            self.wrong = self.wrong or repr(error)
            raise

    def aim(self, taps):
        """From now on the frames are of the hosts of these."""
        self.taps = taps

    def crossed(self):
        """Frames that have come out by now, each way: their taps were looked up before."""
        return tuple(self.received)

    def to_come(self):
        """The first frame, each way, that is certainly sent after this call."""
        return tuple(sent + 1 for sent in self.sent)

    def wait(self, frames):
        goal = [received + frames for received in self.received]
        until(lambda: self.wrong or all(now >= then for now, then in zip(self.received, goal)), "frames crossing")
        assert self.wrong is None, self.wrong

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def churn(driver, traffic, taps, group, frames):
    """Adds and removes `taps` taps, `group` a commit, `frames` frames each way after each; returns {tap: (before ADD, after ADD, before DELETE, after DELETE)},
    each the serial numbers of both ways."""
    spans = {}

    def slot(tap):
        return tap % (3 * group)  # groups live at a time: two, and the one that goes with the commit that adds another

    def commit(removed, added):
        driver.do_all([{"do": "remove", "slot": slot(tap), "id": tap + 1} for tap in removed] +
                      [{"do": "tap", "slot": slot(tap), "id": tap + 1, **KINDS[tap % len(KINDS)][1](tap),
                        "destinations": [destination("3.3.3.3", FIRST_PORT + tap)]} for tap in added])
        before = traffic.crossed()
        driver.commit()
        after = traffic.to_come()
        for tap in (*removed, *added):
            spans[tap] = (*spans.get(tap, ()), before, after)

    groups = [range(start, start + group) for start in range(0, taps, group)]
    for step in range(len(groups) + 2):
        first = max(0, step - 3) * group
        traffic.aim(range(first, min(taps, max(first + group, (step + 2) * group))))
        removed = groups[step - 2] if step >= 2 else ()
        added = groups[step] if step < len(groups) else ()
        if step % 3 == 0:  # in two commits, else in one
            commit(removed, ())
            removed = ()
        commit(removed, added)
        traffic.wait(frames)
    return spans


def copies_by_tap(frames):
    """{(tap, way): [serial]}, in the order of their coming."""
    copies = {}
    for frame in frames:
        inner = frame[14 + 28:]
        tap = struct.unpack_from("!H", frame, 14 + 20 + 2)[0] - FIRST_PORT
        way = BACK if socket.inet_ntoa(inner[12:16]) == PEER else OUT
        serial, = struct.unpack_from("!Q", inner, 28)
        copies.setdefault((tap, way), []).append((serial, inner))
    return copies


def check_tap(tap, way, span, own, got):
    """`own`: the serial numbers of the tap's frames. Returns how many certainly had to be copied."""
    before_add, after_add, before_delete, after_delete = (moment[way] for moment in span)
    where = f"tap {tap} way {way}: its frames {own}, copied {got}, span {span}"
    if got:
        start = own.index(got[0])
        assert got == own[start:start + len(got)], f"no unbroken run: {where}"
        assert got[0] >= before_add, f"copied before ADD was sent: {where}"
        assert got[-1] < after_delete, f"copied after DELETE was acknowledged: {where}"
    owed = [serial for serial in own if after_add <= serial < before_delete]
    assert set(owed) <= set(got), f"not copied though the tap was there: {where}"
    return len(owed)


def check_copies(frames, own, spans, is_right):
    """`own`: {(tap, way): serial numbers of its frames}; `is_right(packet, tap, way, serial)`: it is what was sent."""
    copies = copies_by_tap(frames)
    owed = 0
    for tap, span in spans.items():
        for way in KINDS[tap % len(KINDS)][0]:
            got = copies.pop((tap, way), [])
            for serial, packet in got:
                assert is_right(packet, tap, way, serial), "a copy is the packet"
            owed += check_tap(tap, way, span, own[tap, way], [serial for serial, _ in got])
    assert not copies, "copies that no tap asked for"
    assert owed > len(spans), "and the taps had something to copy"


def test_ten_thousand_taps_come_and_go_between_frames(tmp_path):
    with Wires("ab") as wires, \
         Box(tmp_path, wait=TAPS_FIRST, device_a="net_af_packet0,iface=wire-a", device_b="net_af_packet1,iface=wire-b",
             prefix=wires.prefix) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.do("fill", count=3000, slot=1000, destination=destination("3.3.3.4"))
            driver.commit()
            box.wait_ready()
            with Traffic(wires) as traffic:
                spans = churn(driver, traffic, TAPS, GROUP, FRAMES)
            assert traffic.wrong is None, traffic.wrong
            assert traffic.received == traffic.sent, "no frame is lost"
            until(lambda: (c := driver.counters()["total"])["copies-sent"] == c["matches"], "the last copies")
            until(lambda: driver.counters()["taps"] == 3000, "the manager's count of taps")
            counters = driver.counters()
        box.stop()
    for port, way in ((counters["ports"][0], OUT), (counters["ports"][1], BACK)):
        assert port["rx-packets"] == traffic.sent[way] and port["missed"] == 0 and "tx-dropped" not in port

    frames = box.out("d")
    assert len(frames) == counters["total"]["copies-sent"]
    own = {}
    for way in (OUT, BACK):
        for serial, tap in enumerate(traffic.targets[way]):
            own.setdefault((tap, way), []).append(serial)
    check_copies(frames, own, spans, lambda packet, tap, way, serial: packet == traffic.frames[way][serial][14:])
