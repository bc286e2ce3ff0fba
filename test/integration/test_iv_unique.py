"""No IV comes twice under one key, whatever dies and when: two workers seal all that they can through three tunnels, both
processes are killed at moments of chance and at moments chosen to hurt, lease records are rolled back, and every packet that
leaves is held against all that left before.

The moments come from FLOWTAP_IV_SEED; FLOWTAP_IV_KILLS and FLOWTAP_IV_PACKETS say how much of it."""

import collections
import os
import random
import re
import time

import pytest
from daemons import PATIENCE, until
from file_changes import FileChanges
from iv_watch import IvWatch
from sealing_lab import CONTROL, CORES, DATAPLANE, FRAME_SIZES, KINDS, SealingLab
from wires import Wires

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
              pytest.mark.skipif(len(CORES) < 2, reason="two workers need two cores")]

LONG = bool(os.environ.get("FLOWTAP_LONG"))
SEED = int(os.environ.get("FLOWTAP_IV_SEED", "1"))
KILLS = int(os.environ.get("FLOWTAP_IV_KILLS", "1000" if LONG else "24"))
PACKETS = int(os.environ.get("FLOWTAP_IV_PACKETS", "100000000" if LONG else "200000"))

BOTH = (CONTROL, DATAPLANE)
# Seconds within which a kill falls: after a start, after both seal again, and of the dataplane after control's. Moments of
# chance: nothing is concluded from them.
STARTING, SEALING, LATER = 0.6, 0.2, 0.05
RECORD = ("leases", "leases.generation")
# Of recording a lease: each file is made beside the old one, then it takes its place.
STEPS = ["leases.generation.new", "leases.generation", "leases.new", "leases"]


def at_once(condition, what):
    """As until(), and returns as soon as it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"


class Run:
    """What one collector sees of both daemons' lives."""

    def __init__(self, lab, watch):
        self.lab = lab
        self.watch = watch
        self.random = random.Random(SEED)
        self.down = set(BOTH)
        self.before = self.sealed(watch.settle())  # packets of each tunnel when the last ones died
        self.kills = 0
        self.ahead = []
        self.moments = collections.Counter()
        self.renewed = collections.Counter()

    def sealed(self, told):
        return {name: sum(told["sas"].get(spi, {"packets": 0})["packets"] for spi in self.lab.spis[name]) for name in KINDS}

    def begin(self):
        for name in self.random.sample(sorted(self.down), len(self.down)):
            self.lab.begin(name)
        self.down.clear()

    def kill(self, *names, pause=0.0):
        self.lab.kill(names, pause)
        self.kills += len(names)
        self.down.update(names)
        self.before = self.sealed(self.watch.settle())

    def come_back(self):
        """What was dead, and until both know all of each other."""
        self.begin()
        self.lab.wait_linked()

    def live(self):
        """Until whatever was dead is there again, and packets of every tunnel have been sealed since."""
        self.come_back()
        until(self.all_seal, "packets of every tunnel")

    def silent(self):
        """The tunnels of which nothing has been sealed since the last death."""
        sealed = self.sealed(self.watch.marks())
        return [name for name in KINDS if sealed[name] == self.before[name]]

    def all_seal(self):
        silent = self.silent()
        used_up = self.used_up() if silent else []
        if used_up:
            self.renew(*used_up)
        return not silent

    def used_up(self):
        """The tunnels without a key that may be used; none is refused."""
        states = {name: {sa["state"] for sa in tunnel["security-associations"]} for name, tunnel in self.lab.tunnels().items()}
        assert not any("refused" in those for those in states.values()), self.lab.tunnels()
        return [name for name, those in states.items() if those == {"used up"}]

    def renew(self, *names):
        """New keys by hand, as control/README.md says it."""
        self.lab.daemons[CONTROL].stop()
        for name in names:
            self.lab.write_keys(name)
            self.renewed[name] += 1
        done = self.lab.new_keys()
        assert f"{sum(KINDS[name].files for name in names)} new keys recorded" in done.stdout, done.stdout + done.stderr
        self.lab.begin(CONTROL)
        self.lab.wait_linked()

    def sealing(self):
        self.live()
        time.sleep(self.random.uniform(0, SEALING))
        self.kill(*self.victims())

    def starting(self):
        if not self.down:
            self.kill(*self.victims())
        self.begin()
        time.sleep(self.random.uniform(0, STARTING))
        self.kill(*self.victims())

    def first_packet(self):
        """Of a life whose leases have just been granted."""
        self.live()
        self.kill(DATAPLANE)
        self.begin()
        at_once(lambda: len(self.silent()) < len(KINDS), "a packet")
        self.kill(*BOTH)

    def recording(self):
        """While the leases of a new life are recorded. Whatever it has been given it may use for a moment."""
        self.live()
        self.kill(DATAPLANE)
        file = self.random.choice(STEPS)
        with FileChanges(self.lab.state) as changes:
            self.begin()
            live = "dataplane: restored"
            before = self.lab.log(CONTROL).read_text().count(live)
            changes.wait(file, self.random.randint(1, len(KINDS)),
                         lambda: self.lab.log(CONTROL).read_text().count(live) > before)
            self.kill(*BOTH, pause=self.random.uniform(0, LATER))

    def extending(self):
        """While the next lease of an SA in use is recorded. All that the dataplane has been given is used up then."""
        self.live()
        with FileChanges(self.lab.state) as changes:
            changes.wait(self.random.choice([STEPS[0]] * 4 + STEPS), 1, lambda: "short" in self.used_up())
        self.kill(CONTROL)
        last = {}

        def used_up():
            nonlocal last
            before, last = last, self.sealed(self.watch.settle())
            return before and last["short"] == before["short"] and last["extended"] > before["extended"]
        until(used_up, "the end of the lease")
        self.kill(DATAPLANE)

    def victims(self):
        return self.random.choice([(CONTROL,), (DATAPLANE,), BOTH, BOTH[::-1]])

    def kill_some(self, kills):
        end = self.kills + kills
        while self.kills < end:
            if not self.ahead:
                self.ahead = self.random.sample(MOMENTS, len(MOMENTS))
            moment = self.ahead.pop()
            self.moments[moment.__name__] += 1
            moment(self)
        self.live()

    def record(self):
        """Its two files, of one time."""
        def read():
            files = {name: (self.lab.state / name).read_bytes() for name in RECORD}
            return files["leases"].split(b"\n")[1] == b"generation " + files["leases.generation"].strip() and files
        return until(read, "a lease record")

    def put_back(self, record):
        for name, content in record.items():
            (self.lab.state / name).write_bytes(content)

    def another_life(self):
        """A lease of every tunnel is granted, and used."""
        self.live()
        self.kill(DATAPLANE)
        self.live()

    def roll_back_the_record(self):
        """The one file, and both have died: nothing is sealed, and each loss is counted and told, until there are new keys."""
        old = self.record()
        del old["leases.generation"]
        self.another_life()
        self.kill(*BOTH)
        self.put_back(old)
        packets = self.watch.settle()["packets"]
        self.come_back()
        until(lambda: self.lab.view("delivery")["copies"]["lost"]["copy-no-sa"] > 10_000, "copies that are lost")
        copies = self.lab.view("delivery")["copies"]
        assert copies["sent"] == 0, copies
        alarms = self.lab.view("health")["alarms"]
        for name, tunnel in self.lab.tunnels().items():
            assert tunnel["state"] == "refused" and "rolled back" in tunnel["trouble"], tunnel
            assert any(f'tunnel "{name}" has no security association' in alarm for alarm in alarms), alarms
            assert any(f'tunnel "{name}": SPI' in alarm and "rolled back" in alarm for alarm in alarms), alarms
        assert self.watch.settle()["packets"] == packets, "sealed without a lease"
        for name in RECORD:
            (self.lab.state / name).unlink()  # as the alarm says
        self.renew(*KINDS)
        self.live()

    def roll_back_both_files(self):
        """As one: they agree, but what lives knows better. No key that has sealed by then is ever used again, be it that the
        record says so of a key that another one has taken over from since."""
        self.renew(*KINDS)
        self.another_life()
        old = self.record()
        until(lambda: self.lab.tunnels()["short"]["security-associations"][0]["state"] == "used up", "the next key in use")
        self.another_life()
        self.kill(CONTROL)
        known = self.watch.settle()["sas"]
        self.put_back(old)
        self.come_back()
        until(lambda: not self.silent(), "packets of leases that were granted")
        self.kill(DATAPLANE)

        def packets():
            return {spi: sa["packets"] for spi, sa in self.watch.settle()["sas"].items() if spi in known}
        before = packets()
        self.come_back()
        until(lambda: not self.silent(), "packets of the keys that are next")
        told = self.lab.log(CONTROL).read_text()
        for name in KINDS:
            refused = re.findall(rf'tunnel "{name}": SPI (0x\w+): no counter lease: .* was rolled back', told)
            assert refused and {int(spi, 16) for spi in refused} <= set(known), told
        self.renew(*KINDS)
        self.live()
        assert packets() == before


# As often as they stand here, in an order of chance.
MOMENTS = [Run.sealing, Run.starting, Run.first_packet, Run.recording, Run.extending, Run.extending]


def test_no_iv_comes_twice_whatever_dies_and_when():
    with Wires("d") as wires, SealingLab(wires) as lab, IvWatch(wires, "d") as watch:
        assert "0 known already" in lab.new_keys().stdout
        run = Run(lab, watch)
        run.kill_some(KILLS // 3)
        run.roll_back_the_record()
        run.kill_some(KILLS // 3)
        run.roll_back_both_files()
        run.kill_some(KILLS - 2 * (KILLS // 3))
        until(lambda: watch.marks()["packets"] >= PACKETS, f"{PACKETS} packets")
        for daemon in lab.daemons.values():
            daemon.stop()
        end = watch.settle()
    print(f"\n{end['packets']} packets under {len(end['sas'])} SPIs, {run.kills} kills, moments {dict(run.moments)}, keys renewed "
          f"{dict(run.renewed)}; {end['dropped']} more found no room")
    assert end["packets"] >= PACKETS and run.kills >= KILLS
    assert set(end["sas"]) <= {spi for spis in lab.spis.values() for spi in spis}
    assert len(end["sizes"]) == len(FRAME_SIZES) and min(end["sizes"].values()) > PACKETS // 100, "both workers have sealed"
