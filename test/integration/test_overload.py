"""Where copies take longer than frames leave time for, copies are given up and counted, and no frame waits for them.

A generator without a pace (dpdk-testpmd, txonly) fills the receive queue through virtio, a device that says how many frames
wait; each frame is owed to one tap, and its copy is sealed with triple DES, which takes a hundred times as long as to send the
frame on."""

import contextlib
import os
import re
import shutil
import subprocess

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination
from test_copies import SEALED, check_ledger

CORES = sorted(os.sched_getaffinity(0))[:2]
TESTPMD = shutil.which("dpdk-testpmd")
SOURCE = "198.18.0.1"  # testpmd's frames are from it
SLOW = {"suite": "3des-cbc-hmac-sha1-96", "key": bytes(3 * i + 1 for i in range(44)).hex()}
NO_CAPABILITY = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # vhost's own thread would keep them

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="taking capabilities away needs root"),
              pytest.mark.skipif(len(CORES) < 2, reason="the worker takes one core"),
              pytest.mark.skipif(not TESTPMD, reason="no dpdk-testpmd (package dpdk-dev)")]


class Generator:
    """testpmd at the other end of the wire's port a, spoken to at its prompt."""

    def __init__(self, socket):
        command = ["stdbuf", "-oL", TESTPMD, f"--lcores=0@{CORES[0]},1@{CORES[0]}", "--main-lcore=0", "--no-huge", "-m128",
                   "--no-pci", "--no-telemetry", f"--file-prefix=overload-{os.getpid()}",
                   "--vdev", f"net_virtio_user0,path={socket},queues=1,queue_size=1024",
                   "--", "-i", "--nb-cores=1", "--total-num-mbufs=4096"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)

    def say(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def sent(self):
        self.say("show port stats 0")
        for line in self.process.stdout:
            if found := re.search(r"TX-packets: *(\d+)", line):
                return int(found[1])
        raise AssertionError("dpdk-testpmd has ended")

    def stop(self):
        """Returns when its forwarding thread has ended: what it has sent by then is all."""
        self.say("stop")
        for line in self.process.stdout:
            if line.strip() == "Done.":
                return self.sent()
        raise AssertionError("dpdk-testpmd has ended")

    def burst(self):
        self.say("set fwd io", "start tx_first 1")
        return self.stop()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.say("quit")
        self.process.communicate()


def test_copies_are_given_up_before_frames_are_and_come_back_with_the_time_for_them(tmp_path):
    socket = tmp_path / "a.sock"
    box = Box(tmp_path, workers=CORES[1:], device_a=f"net_vhost0,iface={socket},queues=1", device_b="net_null1,no-rx=1",
              device_d="net_null2,no-rx=1", dataplane="queue-size = 128", wait=TAPS_FIRST, prefix=NO_CAPABILITY)
    with box, Driver(box) as driver:
        driver.do("resync")
        driver.sa(**SLOW)
        driver.tap(0, 100, [destination(SEALED, 5001, "1.1.1.1", 6001)], source=[f"{SOURCE}/32"])
        driver.commit()
        box.wait_ready()
        generator = Generator(socket)
        try:
            def total(name):
                return driver.counters()["total"].get(name, 0)

            # A burst that fits the queue: each frame is copied, slow as that is.
            few = generator.burst()
            assert few > 0
            until(lambda: total("copies-sent") == few, "a copy of each of them")
            assert total("copy-overload") == 0

            generator.say("set fwd txonly", "start")
            until(lambda: total("copy-overload") > 5_000, "copies to be given up")
            assert total("copies-sent") > few
            sent = generator.stop()
            until(lambda: total("matches") == sent, "all frames")
            counters = driver.counters([0])
            check_ledger(counters)
            # None of them was lost, and most did not wait for a copy.
            a, b = counters["ports"][0], counters["ports"][1]
            assert a["rx-packets"] == sent == b["tx-packets"]
            assert counters["total"]["copy-overload"] > sent / 2
            assert counters["tap"]["0"]["copies-dropped"] == counters["total"]["copy-overload"]

            given_up = total("copy-overload")
            more = generator.burst()
            assert more > sent
            until(lambda: total("matches") == more, "another burst")
            assert total("copy-overload") == given_up
        finally:
            generator.close()
