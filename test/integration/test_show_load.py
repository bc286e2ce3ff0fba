"""What `flowtapctl show` says of the load: a worker that never gets a frame is not busy, one that always has some is, and frames
that found no buffer are in the port's line."""

import os

import pytest
from daemons import until
from dataplane import write_frames
from test_control import Lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of the test's own need root")

BUFFERS = 512
FRAMES = 4 * BUFFERS


class LoadLab(Lab):
    """With other devices on the wire than Lab has."""

    def __init__(self, device_a, device_b="net_null1,no-rx=1"):
        self.devices = {'"net_null0"': f'"{device_a}"', '"net_null1"': f'"{device_b}"', '"net_null2"': '"net_null2,no-rx=1"',
                        "\nbuffers = 2048": f"\nbuffers = {BUFFERS}"}
        super().__init__()

    def configuration(self):
        text = super().configuration()
        for old, new in self.devices.items():
            assert old in text
            text = text.replace(old, new)
        return text

    def busy_percent(self):
        worker, = self.show("workers")["workers"]
        assert 0 <= worker["busy-percent"] <= 100
        return worker["busy-percent"]

    def __enter__(self):
        self.start_all()
        return super().__enter__()


def test_a_worker_without_frames_is_not_busy():
    with LoadLab("net_null0,no-rx=1") as lab:
        # Each look is at other cycles: control takes them about once a second.
        assert all(lab.busy_percent() == 0 for _ in range(3))
        shown = lab.ctl("show", "workers").stdout
        assert any(line.split()[:2] == ["busy", "%"] and float(line.split()[2]) == 0 for line in shown.splitlines()), shown


def test_a_worker_that_always_has_frames_is_busy_all_the_time():
    with LoadLab("net_null0") as lab:
        # At the start it has waited for control, which is in the first looks.
        until(lambda: lab.busy_percent() > 90, "a busy worker")
        worker, = lab.show("workers")["workers"]
        assert worker["core"] == 1


def test_frames_that_found_no_buffer_are_counted_at_their_port(tmp_path):
    """Port a's driver keeps its frames, to send them for ever, in nearly all buffers that the worker has; port b's go without."""
    kept = write_frames(tmp_path / "a.pcap", [bytes(60)] * (BUFFERS - 4))
    sent = write_frames(tmp_path / "b.pcap", [bytes(60)] * FRAMES)
    with LoadLab(f"net_pcap0,rx_pcap={kept},infinite_rx=1", f"net_pcap1,rx_pcap={sent}") as lab:
        def port(name):
            return next(port for port in lab.show("ports")["ports"] if port["name"] == name)
        until(lambda: port("b")["counters"]["rx-packets"] + port("b")["driver"]["no-mbuf"] == FRAMES, "every frame counted")
        lost = port("b")["driver"]["no-mbuf"]
        assert lost > 0
        assert [port(name)["driver"]["no-mbuf"] for name in "ad"] == [0, 0]
        head, *lines = lab.ctl("show", "ports").stdout.splitlines()
        assert "rx no buffer" in head and head.endswith("tx failed")
        assert next(line for line in lines if line.startswith("b ")).split()[-2:] == [str(lost), "0"]
