"""A link that is lost on one side of a wire is lost on the other side too, where the configuration says so, and both come
back: seen from the far ends of real links. How long it took is printed, and not judged."""

import os
import pathlib
import re
import struct
import time

import pytest
from daemons import PATIENCE, until
from dataplane import Box, Driver
from test_control import Lab
from test_dataplane_start import capabilities, line_of, refused
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")

FLAPS = 1000 if os.environ.get("FLOWTAP_LONG") else 40
DOWN, UP, HELD = 0, 1, 2
FAR = {"a": "b", "b": "a"}
HEAD = bytes.fromhex("020000000002 020000000001 88b5")
CAP_NET_ADMIN = 12
MIRROR = "mirror-link-loss = true"


def soon(condition, what):
    """As until(), without its pauses: for what is timed."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.0005)


class Wire:
    """A box whose wire stands on two real links."""

    def __init__(self, folder, wire=MIRROR):
        self.folder = folder
        self.options = {"wire": wire, "device_a": "net_af_packet0,iface=wire-a", "device_b": "net_af_packet1,iface=wire-b"}
        self.serial = 0

    def __enter__(self):
        self.links = Wires("ab").__enter__()
        try:
            self.box = Box(self.folder, prefix=self.links.prefix, **self.options).__enter__()
            self.box.wait_ready()
            self.driver = Driver(self.box)
            self.check_forwards()
        except BaseException:
            self.__exit__(True)
            raise
        return self

    def __exit__(self, failure, *_):
        for part in ("driver", "box", "links"):
            if hasattr(self, part):
                getattr(self, part).__exit__(failure)

    def far_link(self, side):
        """Whether whoever is at the far end of that side has a link."""
        return self.links.has_link(f"feed-{side}")

    def lose(self, side):
        self.links.set_up(f"feed-{side}", False)

    def give_back(self, side):
        self.links.set_up(f"feed-{side}", True)

    def states(self):
        return [port["link_up"] for port in self.driver.counters()["ports"][:2]]

    def wait_states(self, *wanted):
        until(lambda: self.states() == list(wanted), f"links {wanted}")

    def wait_seen(self):
        """Until the box has seen both links: one that is lost before that counts as still coming."""
        self._wait_beats()
        self.wait_states(UP, UP)
        self._wait_beats()

    def _wait_beats(self):
        """What the manager does has been done once from begin to end: it looks at links at every beat."""
        beat = self.driver.counters()["heartbeat"]
        until(lambda: self.driver.counters()["heartbeat"] >= beat + 2, "the manager's second beat")

    def _received(self, side):
        serials = []
        try:
            while True:
                frame = self.links.end(side).recv(2048)
                assert frame.startswith(HEAD), frame
                serials.append(struct.unpack_from("!Q", frame, len(HEAD))[0])
        except BlockingIOError:
            return serials

    def check_forwards(self):
        """Frames cross both ways; what comes is in the order in which it was sent, nothing twice, nothing from before."""
        for side in "ab":
            first, seen = self.serial, []

            def send_one(side=side, seen=seen):
                self.links.end(side).send(HEAD + struct.pack("!Q", self.serial) + bytes(46))
                self.serial += 1
                seen += self._received(FAR[side])
                return seen

            def all_there(side=side, seen=seen):
                seen += self._received(FAR[side])
                return seen[-1] == self.serial - 1
            soon(send_one, f"a frame from {side}")
            soon(all_there, "those under way")
            assert seen == list(range(seen[0], self.serial)) and seen[0] >= first, seen


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_lost_link_is_lost_on_the_other_side_and_both_come_back(tmp_path, side):
    far = FAR[side]
    with Wire(tmp_path) as wire:
        wire.wait_states(UP, UP)
        wire.lose(side)
        until(lambda: not wire.far_link(far), "the other side's loss")
        wire.wait_states(*([DOWN, HELD] if side == "a" else [HELD, DOWN]))
        wire.give_back(side)
        until(lambda: wire.far_link(far), "the other side's return")
        wire.wait_states(UP, UP)
        wire.check_forwards()
        told = wire.box.daemon.output()
        assert f'wire "edge": the link of port "{far}" is taken down, since port "{side}" has lost its own' in told
        until(lambda: f'wire "edge": the link of port "{far}" is brought up again, since port "{side}" has its own'
              in wire.box.daemon.output(), "the line of its return")


def test_links_that_flap_are_mirrored_each_time_and_the_wire_forwards_again(tmp_path, capsys):
    times = {"down": [], "up": [], "forwarding": []}
    begun = time.monotonic()
    with Wire(tmp_path) as wire:
        for flap in range(FLAPS):
            side = "ab"[flap % 2]
            start = time.monotonic()
            wire.lose(side)
            soon(lambda: not wire.far_link(FAR[side]), "the other side's loss")  # noqa: B023
            times["down"].append(time.monotonic() - start)
            start = time.monotonic()
            wire.give_back(side)
            soon(lambda: wire.far_link(FAR[side]), "the other side's return")  # noqa: B023
            times["up"].append(time.monotonic() - start)
            wire.check_forwards()
            times["forwarding"].append(time.monotonic() - start)
            wire.wait_seen()
        lines = [line for line in wire.box.daemon.output().splitlines() if "link" in line]
        # No flood: for the wire and for each port one a second at most.
        assert len(lines) <= 3 * (time.monotonic() - begun + 2)
    with capsys.disabled():
        for what, taken in times.items():
            taken.sort()
            print(f"\nlink loss mirrored, {FLAPS} flaps, {what}: p50 {taken[len(taken) // 2] * 1000:.1f} ms, "
                  f"p99 {taken[len(taken) * 99 // 100] * 1000:.1f} ms, most {taken[-1] * 1000:.1f} ms", end="")


def test_when_both_are_lost_each_may_come_back_first(tmp_path):
    with Wire(tmp_path) as wire:
        for first in "ab":
            wire.lose("a")
            wire.wait_states(DOWN, HELD)
            wire.lose("b")
            if first == "a":
                wire.give_back("a")
                wire.wait_states(UP, DOWN)  # b is brought up, and its far end is not there
                wire.give_back("b")
            else:
                wire.give_back("b")
                assert not wire.far_link("b"), "nobody is at the other end yet"
                wire.give_back("a")
            wire.wait_states(UP, UP)
            wire.check_forwards()


def test_without_the_option_nothing_is_mirrored_and_no_capability_kept(tmp_path):
    with Wire(tmp_path, wire="") as wire:
        assert {tuple(each[:2]) for each in capabilities(wire.box.daemon.process.pid).values()} == {(0, 0)}
        for side in "ab":
            wire.lose(side)
            wire.wait_states(*([DOWN, UP] if side == "a" else [UP, DOWN]))
            assert wire.far_link(FAR[side])
            wire.give_back(side)
            wire.wait_states(UP, UP)
            wire.check_forwards()


def test_only_the_managers_thread_keeps_the_one_capability(tmp_path):
    with Wire(tmp_path) as wire:
        pid = wire.box.daemon.process.pid
        kept = {}
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            fields = dict(line.split(":\t") for line in (task / "status").read_text().splitlines() if ":\t" in line)
            kept[int(task.name)] = {int(fields[key], 16) for key in ("CapEff", "CapPrm")}
            assert int(fields["CapInh"], 16) == 0 and fields["NoNewPrivs"] == "1"
        assert kept.pop(pid) == {1 << CAP_NET_ADMIN}
        assert len(kept) >= 2 and all(each == {0} for each in kept.values())
        assert "the manager keeps CAP_NET_ADMIN, for mirror-link-loss" in wire.box.daemon.output()


def test_a_device_that_is_gone_takes_the_other_side_down_for_good(tmp_path):
    with Wire(tmp_path) as wire:
        wire.links.ip("link", "delete", "wire-a")
        until(lambda: not wire.far_link("b"), "the other side's loss")
        assert wire.driver.events("port_lost") == 0
        wire.wait_states(DOWN, HELD)


def test_what_was_taken_down_is_up_again_after_the_end(tmp_path):
    with Wire(tmp_path) as wire:
        wire.lose("a")
        wire.wait_states(DOWN, HELD)
        assert not wire.links.is_up("wire-b")
        wire.driver.close()
        wire.box.stop()
        assert wire.links.is_up("wire-b")


def test_a_device_that_cannot_do_it_is_named(tmp_path):
    box = Box(tmp_path, wire=MIRROR)
    code, output = refused(box)
    assert code == 2, output
    assert re.search(rf'flowtap\.toml:{line_of(box, "net_pcap0")}:\d+: port "a".*mirror-link-loss of wire "edge"', output), output


class MirrorLab(Lab):
    """Both daemons; the wire stands on real links."""

    def __init__(self):
        self.links = Wires("ab")
        super().__init__()

    def configuration(self):
        text = super().configuration().replace('[[wire]]', f"[[wire]]\n{MIRROR}")
        for i, side in enumerate("ab"):
            text = text.replace(f'"net_null{i}"', f'"net_af_packet{i},iface=wire-{side}"')
        return text

    def prefix(self, name):
        return [*(self.links.prefix if name == "flowtap-dataplane" else ()), *super().prefix(name)]

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.links.__exit__(*arguments)


def test_the_noc_sees_which_link_was_taken_down_and_why():
    why = "taken down since the other side is lost"
    with MirrorLab() as lab:
        lab.start_all()

        def links():
            return {port["name"]: port["link"] for port in lab.show("ports")["ports"]}
        until(lambda: links() == {"a": "up", "b": "up", "d": "up"}, "all links")
        lab.links.set_up("feed-b", False)
        until(lambda: links() == {"a": why, "b": "down", "d": "up"}, "the loss")
        assert why in lab.ctl("show", "ports").stdout
        assert f'port "a": link {why}' in lab.health()["alarms"]
        lab.links.set_up("feed-b", True)
        until(lambda: links() == {"a": "up", "b": "up", "d": "up"}, "the return")
        assert lab.health()["alarms"] == []
