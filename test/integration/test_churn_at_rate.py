"""Taps come and go while half of the highest rate flows, from a source that does not wait: no frame is lost or held up for it,
and each tap's copies are those of an unbroken run of its frames between the order and its acknowledgement."""

import os
import statistics
import struct

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination
from test_churn import BACK, OUT, check_copies, churn, head, host
from wire_load import WireLoad, device
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

LONG = bool(os.environ.get("FLOWTAP_LONG"))
TAPS = 10_000 if LONG else 1_000
GROUP = TAPS // 100     # taps of one commit
EVERY = 2 if LONG else 8  # one frame in so many is a tap's, or was, or will be
FRAMES = 5 * GROUP * EVERY  # each way, after each commit, and again with no commit: each tap that there is has some
# How much longer than at other times the slowest frame may take around a commit, in the middle of all commits. What
# a change of the table costs a worker is some cache misses; the rest is what the machine does otherwise.
FACTOR = 3


class Traffic:
    def __init__(self, load):
        self.load = load
        self.aims = []                          # (range of taps, serial numbers from which their frames are sent)
        self.slowest = 0                        # nanoseconds of the slowest frame since it was asked for
        self.around, self.between = [], []      # the same around each commit, and after each

    def aim(self, taps):
        self.aims.append((taps, self.load.aim(host(taps[0]), len(taps), EVERY)))

    def _marks(self):
        told = self.load.marks()
        self.slowest = max(self.slowest, told["latency"])
        return told

    def crossed(self):
        told = self._marks()  # the search for the rate has lost some
        return [received + lost for received, lost in zip(told["received"], told["lost"])]

    def to_come(self):
        return self._marks()["sent"]

    def wait(self, frames):
        for slowest in (self.around, self.between):
            slowest.append(max(self.slowest, self.load.wait(frames)["latency"]))
            self.slowest = 0

    def own(self, sent):
        """{(tap, way): serial numbers of its frames} of all that were sent."""
        own = {}
        for way in (OUT, BACK):
            ends = [start[way] for _, start in self.aims[1:]] + [sent[way]]
            for (taps, start), end in zip(self.aims, ends):
                for serial in range(-(-start[way] // EVERY) * EVERY, end, EVERY):
                    own.setdefault((taps[serial // EVERY % len(taps)], way), []).append(serial)
        return own


def is_right(packet, tap, way, serial):
    """But for the time of sending behind the serial number."""
    right = head(tap, way)[14:] + struct.pack("!Q", serial)
    return packet[:len(right)] == right and packet[len(right) + 8:] == bytes(8)


def test_taps_come_and_go_at_half_of_the_highest_rate(tmp_path):
    with Wires("ab") as wires, \
         Box(tmp_path, wait=TAPS_FIRST, device_a=device("a"), device_b=device("b"), prefix=wires.prefix) as box:
        with Driver(box) as driver, WireLoad(wires) as load:
            driver.do("resync")
            driver.do("fill", count=3000, slot=1000, destination=destination("3.3.3.4"))
            driver.commit()
            box.wait_ready()
            pace = load.search() // 2
            before = load.drain()
            traffic = Traffic(load)
            load.pace(pace)
            spans = churn(driver, traffic, TAPS, GROUP, FRAMES)
            reached = load.marks()["pps"]
            end = load.drain()
            until(lambda: (c := driver.counters()["total"])["copies-sent"] == c["matches"], "the last copies")
            until(lambda: driver.counters()["taps"] == 3000, "the manager's count of taps")
            counters = driver.counters()
        box.stop()
    frames = sum(end["sent"]) - sum(before["sent"])
    around, between = statistics.median(traffic.around), statistics.median(traffic.between)
    print(f"\n{TAPS} taps, {frames} frames, {reached} a second each way of {2 * pace} at most; microseconds of the slowest frame: "
          f"around a commit {around / 1000:.0f} (at worst {max(traffic.around) / 1000:.0f}), "
          f"at other times {between / 1000:.0f} ({max(traffic.between) / 1000:.0f})")
    assert end["lost"] == before["lost"], f"frames lost, at {reached} a second each way"
    assert all("tx-dropped" not in port for port in counters["ports"][:2])
    assert [port["rx-packets"] for port in counters["ports"][:2]] == end["received"], "every frame is counted"
    assert around < FACTOR * between, "a commit holds frames up"
    copies = box.out("d")
    assert len(copies) == counters["total"]["copies-sent"]
    check_copies(copies, traffic.own(end["sent"]), spans, is_right)
