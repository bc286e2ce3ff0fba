"""How the dataplane starts, refuses to start, gives up its privileges, and what it says when a device disappears."""

import os
import pathlib
import re
import subprocess

import pytest
from daemons import PROGRAMS, Daemon, until
from dataplane import TAPS_FIRST, Box, Driver, destination
from scapy.all import IP, UDP, Ether, Raw

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces, dropped users")
FRAME = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") /
              IP(src="10.0.0.7", dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(100)))
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


def refused(box):
    """Runs the process to its end; (exit code, what it said)."""
    log = box.folder / "dataplane.log"
    daemon = Daemon("flowtap-dataplane", "--config", box.config, log=log, prefix=box.prefix)
    return daemon.wait(), daemon.output()


def line_of(box, text):
    lines = box.config.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("device,says", [
    ("net_pcap0,rx_pcap=/nonexistent.pcap,tx_pcap=/tmp/x.pcap", "DPDK cannot open it"),
    ("net_af_packet0,iface=ft-nosuch0", 'no network interface "ft-nosuch0"'),
    ("net_af_packet0", "needs the interface"),
    ("net_nosuchdriver0", "DPDK cannot open it"),
    ("0000:ff:1f.7", "no DPDK driver took it"),
    ("Not A Device", "expected a PCI address"),
    ("net_af_packet0,iface=lo,framesz=1024", "cannot hold frames"),
])
@ROOT_ONLY
def test_an_unusable_device_is_named_with_its_line(tmp_path, device, says):
    box = Box(tmp_path, device_a=device)
    code, output = refused(box)
    assert code == 2, output
    assert re.search(rf"flowtap\.toml:{line_of(box, device)}:\d+: .*{re.escape(says)}", output), output


@pytest.mark.parametrize("dataplane,says", [
    ("mtu = 9216\ntypo = 1", "typo"),
    ("manager = 99", "core 99 does not exist"),
])
def test_a_wrong_configuration_is_refused(tmp_path, dataplane, says):
    code, output = refused(Box(tmp_path, dataplane=dataplane))
    assert code == 2 and says in output, output


def test_a_worker_on_every_core_leaves_none_for_the_manager(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core: manager and worker share it")
    code, output = refused(Box(tmp_path, workers=cores))
    assert code == 2 and "expected one left for the manager" in output, output


def test_too_little_memory_says_how_much_would_do(tmp_path):
    code, output = refused(Box(tmp_path, memory=64, copy_buffers=16384))
    assert code == 2 and re.search(r"need \d+: raise it", output), output


def test_huge_pages_that_are_not_there_are_asked_for_by_name(tmp_path):
    code, output = refused(Box(tmp_path, huge=True, memory=900_000))
    assert code == 1 and "sysctl -w vm.nr_hugepages=450000" in output, output


def test_wrong_arguments_are_refused(tmp_path):
    box = Box(tmp_path)
    for arguments in ([], ["--config"], ["--config", str(box.config), "--simd", "mmx"], ["--nonsense"]):
        assert subprocess.run([str(PROGRAMS["flowtap-dataplane"]), *arguments], capture_output=True).returncode == 2


@pytest.mark.parametrize("program", ["flowtap-dataplane", "flowtap-control", "dtcp", "flowtap-receive"])
def test_a_misspelt_option_is_named_though_a_needed_one_is_missing(program):
    command = [str(PROGRAMS[program]), *(["noop"] if program == "dtcp" else []), "--confg", "x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--confg" in done.stderr and "required" not in done.stderr, done.stderr


def give_to_nobody(folder):
    for parent in (folder, *folder.parents):
        if "pytest" in str(parent):
            os.chmod(parent, 0o755)
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, 65534)


@ROOT_ONLY
def test_a_missing_capability_is_named(tmp_path):
    box = Box(tmp_path, device_a="net_af_packet0,iface=lo", prefix=NOBODY)
    give_to_nobody(tmp_path)
    code, output = refused(box)
    assert code == 3, output
    assert 'CAP_NET_RAW for port "a"' in output and 'CAP_NET_ADMIN for port "a"' in output, output


@ROOT_ONLY
def test_it_runs_without_root_where_the_devices_allow_it(tmp_path):
    box = Box(tmp_path, [FRAME] * 10, prefix=NOBODY)
    give_to_nobody(tmp_path)
    with box:
        box.wait_ready()
        until(lambda: len(box.out("b")) == 10, "all frames")


def capabilities(pid):
    """{thread: (effective, permitted, inheritable, no_new_privs)}"""
    result = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":\t") for line in (task / "status").read_text().splitlines() if ":\t" in line)
        result[fields["Name"]] = [int(fields[key].strip(), 16) for key in ("CapEff", "CapPrm", "CapInh", "NoNewPrivs")]
    return result


@ROOT_ONLY
def test_no_thread_keeps_a_capability(tmp_path):
    with Box(tmp_path, [FRAME]) as box:
        box.wait_ready()
        threads = capabilities(box.daemon.process.pid)
        assert len(threads) >= 3, "manager, worker, DPDK's interrupt thread"
        assert set(map(tuple, threads.values())) == {(0, 0, 0, 1)}, threads
        limits = pathlib.Path(f"/proc/{box.daemon.process.pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)


def test_no_log_line_names_a_target(tmp_path):
    with Box(tmp_path, [FRAME] * 5, wait=TAPS_FIRST) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.sa()
            driver.tap(0, 4242, [destination("9.9.9.9", 5123, "1.1.1.77", 6123)], source=["10.0.0.7"])
            driver.commit()
            until(lambda: driver.counters()["total"].get("copy-no-route") == 5, "copies lost")
        box.stop()
        for secret in ("10.0.0.7", "4242", "9.9.9.9", "5123", "1.1.1.77", "6123"):
            assert secret not in box.daemon.output()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


@ROOT_ONLY
def test_a_device_that_disappears_is_reported_and_the_rest_goes_on(tmp_path):
    """The wire's far port stands on a veth pair that is deleted; frames for it are then counted as dropped."""
    ip("link", "add", "ft-dp-a", "type", "veth", "peer", "name", "ft-dp-b")
    try:
        for name in ("ft-dp-a", "ft-dp-b"):
            ip("link", "set", name, "up")
        with Box(tmp_path, [FRAME], device_a=f"net_pcap0,rx_pcap={tmp_path}/a-in.pcap,infinite_rx=1",
                 device_b="net_af_packet1,iface=ft-dp-a") as box, Driver(box) as driver:
            driver.do("resync")
            driver.commit()
            until(lambda: driver.counters()["ports"][1].get("tx-packets", 0) > 100, "frames on the veth pair")
            assert driver.counters()["ports"][1]["link_up"] == 1
            ip("link", "del", "ft-dp-a")
            assert driver.events("port_lost") == 1
            assert driver.counters()["ports"][1]["link_up"] == 0
            # The worker may have been in the middle of a burst.
            before = until(lambda: (p := driver.counters()["ports"])[1].get("tx-dropped", 0) > 0 and p, "the first named drop")
            after = until(lambda: (p := driver.counters()["ports"])[1].get("tx-dropped", 0) > 1000 and p, "named drops")
            assert after[1]["tx-packets"] == before[1]["tx-packets"], "nothing is claimed to be sent"
        summary = box.summary()
        assert summary["a"][0] == summary["b"][1] + summary["b"][2]
        assert 'port "b": its device has disappeared' in box.daemon.output()
    finally:
        subprocess.run(["ip", "link", "del", "ft-dp-a"], stderr=subprocess.DEVNULL)
