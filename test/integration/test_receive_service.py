"""flowtap-receive as a service: it runs for ever, writes a folder of files and lines of statistics, and loses no packet where one
file ends and the next begins."""

import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess

import esp
import pytest
from daemons import BUILD, ROOT, Daemon, until
from test_receive import RECEIVE, Receiving, link, original, sa, sealed  # pylint: disable=unused-import

HEADER, RECORD = 24, 16  # of a pcap file, and of each packet in it
SIZE = len(original(1))

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces, packet sockets, mounts")


def complete(folder):
    """The complete files, in the order of their names; their packets are read by scapy."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".pcap")


def packets(folder):
    return [packet for path in complete(folder) for packet in esp.read_packets(path)]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Service(Receiving):
    """For ever, into a folder, with a file of statistics."""

    def __init__(self, link, folder, sa, *options):
        self.folder = folder / "originals"
        self.folder.mkdir()
        self.statistics = folder / "statistics"
        self.daemon = Daemon(RECEIVE, "--sa", sa, "--interface", "far", "--write-folder", self.folder, "--interval", "0.05",
                             "--statistics", self.statistics, *options, log=folder / "log", prefix=link.inside)

    def received(self, count):
        until(lambda: any(line["copies"] == count for line in lines(self.statistics)), f"{count} copies in the statistics")


def check_all_there(service, count):
    """Every packet once, in order; the last line says what the files have; nothing is left under a temporary name."""
    assert packets(service.folder) == [original(n) for n in range(1, count + 1)]
    assert all(path.suffix == ".pcap" for path in service.folder.iterdir())
    seen = lines(service.statistics)
    assert (seen[-1]["copies"], seen[-1]["refused"], seen[-1]["capture_dropped"]) == (count, 0, 0)
    assert seen[-1]["bytes"] == count * SIZE
    assert seen[-1]["sequence"]["seen"] == [{"first": 1, "last": count}]
    assert all(before["copies"] <= after["copies"] and before["time"] <= after["time"]
               for before, after in itertools.pairwise(seen))
    for path in [*service.folder.iterdir(), service.statistics]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_files_are_as_long_as_they_may_be_and_hold_every_packet_once(link, sa, tmp_path, number):
    count, each = 1000, 7
    most = HEADER + each * (RECORD + SIZE) + RECORD  # no room for another one
    with Service(link, tmp_path, sa, "--rotate-bytes", str(most)) as service:
        for packet in sealed(range(1, count + 1)):
            link.send(packet)
        service.received(count)
        # A file that is complete is so at any moment; the last one is not yet.
        assert len(packets(service.folder)) == count // each * each
        assert service.daemon.stop(number) == 0
    assert [len(esp.read_packets(path)) for path in complete(service.folder)] == \
        [each] * (count // each) + [count % each]
    check_all_there(service, count)


@needs_root
def test_files_end_by_time_with_and_without_more_packets(link, sa, tmp_path):
    with Service(link, tmp_path, sa, "--rotate-seconds", "0.2") as service:
        count = 0

        def several():
            nonlocal count
            count += 1
            link.send(sealed([count])[0])
            return len(complete(service.folder)) >= 3
        until(several, "three files while packets come")
        service.received(count)
        until(lambda: len(packets(service.folder)) == count, "the last file, while none comes")
        assert service.daemon.stop() == 0
    check_all_there(service, count)


@needs_root
def test_the_oldest_files_go(link, sa, tmp_path):
    with Service(link, tmp_path, sa, "--rotate-bytes", str(HEADER + 1), "--keep", "3") as service:
        for packet in sealed(range(1, 21)):
            link.send(packet)
        service.received(20)
        assert service.daemon.stop() == 0
    assert packets(service.folder) == [original(n) for n in (18, 19, 20)]
    assert lines(service.statistics)[-1]["copies"] == 20


@needs_root
def test_one_that_is_killed_leaves_whole_files_and_the_next_one_goes_on(link, sa, tmp_path):
    most = HEADER + 3 * (RECORD + SIZE)
    with Service(link, tmp_path, sa, "--rotate-bytes", str(most)) as service:
        for packet in sealed(range(1, 9)):
            link.send(packet)
        service.received(8)
        service.daemon.signal(signal.SIGKILL)
        service.daemon.wait()
    assert packets(service.folder) == [original(n) for n in range(1, 7)]
    partial, = (path for path in service.folder.iterdir() if path.suffix == ".partial")
    before = partial.read_bytes()
    again = esp.write_packets(tmp_path / "more.pcap", sealed([9]))
    done = subprocess.run([RECEIVE, "--sa", sa, "--read", again, "--write-folder", service.folder], check=False)
    assert done.returncode == 0
    assert packets(service.folder) == [original(n) for n in (1, 2, 3, 4, 5, 6, 9)]
    assert partial.read_bytes() == before


def read_into(folder, sa, source, *options, prefix=()):
    return subprocess.run([*prefix, RECEIVE, "--sa", sa, "--read", source, "--write-folder", folder, *options],
                          capture_output=True, text=True, check=False)


def test_a_folder_that_is_not_there_or_not_to_be_written_is_refused_at_the_start(sa, tmp_path):
    nothing = esp.write_packets(tmp_path / "nothing.pcap", [])
    done = read_into(tmp_path / "none", sa, nothing)
    assert (done.returncode, "none" in done.stderr) == (2, True)
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    no_override = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = read_into(folder, sa, nothing, prefix=no_override)
    assert done.returncode == 2
    assert f"cannot make files in {folder}: Permission denied" in done.stderr
    done = read_into(tmp_path, sa, nothing, "--write", tmp_path / "x.pcap")
    assert (done.returncode, "excludes" in done.stderr) == (2, True)


@needs_root
def test_a_full_disk_is_an_error_and_the_files_before_it_are_whole(sa, tmp_path):
    """A tmpfs of 64 KiB in a mount namespace of its own."""
    source = esp.write_packets(tmp_path / "outer.pcap", sealed(range(1, 501)))
    folder = tmp_path / "disk"
    kept = tmp_path / "kept"
    folder.mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1" && kept=$2 disk=$1 && shift 2 && "$@"; code=$?; cp -a "$disk" "$kept"; exit $code'
    done = read_into(folder, sa, source, "--rotate-bytes", "10000", "--interval", "1", "--statistics", tmp_path / "statistics",
                     prefix=["unshare", "-m", "sh", "-c", script, "sh", folder, kept])
    assert done.returncode == 2
    assert f"cannot write to {folder}/flowtap-" in done.stderr and "No space left on device" in done.stderr
    whole = packets(kept)
    assert 0 < len(whole) < 500
    assert whole == [original(n) for n in range(1, len(whole) + 1)]
    assert lines(tmp_path / "statistics")[-1]["copies"] >= len(whole), "what was received is reported all the same"


def test_the_manual_has_every_option_and_the_unit_no_other():
    options = r"--[a-z][a-z-]*"
    help_text = subprocess.run([RECEIVE, "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(rf"^\s+(?:-\w,)?({options})", help_text, re.MULTILINE)) - {"--help"}
    assert len(known) > 12
    manual = (ROOT / "tools" / "receive" / "flowtap-receive.1").read_text().replace("\\-", "-")
    assert set(re.findall(options, manual)) == known
    unit = (BUILD / "tools" / "receive" / "flowtap-receive@.service").read_text().partition("ExecStart=")[2]
    assert set(re.findall(options, unit)) <= known and "--write-folder" in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    text = (BUILD / "tools" / "receive" / "flowtap-receive@.service").read_text()
    unit = tmp_path / "flowtap-receive@x.service"
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={RECEIVE}", text))
    done = subprocess.run(["systemd-analyze", "--man=no", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, unit.name in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
