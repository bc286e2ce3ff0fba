"""flowtap-receive on a live interface, and what it says when something is wrong."""

import json
import os
import secrets
import signal
import socket
import subprocess

import esp
import pytest
from daemons import PROGRAMS, Daemon, until

RECEIVE = PROGRAMS["flowtap-receive"]
ETHERNET = {4: bytes.fromhex("020000000002 020000000001 0800"), 6: bytes.fromhex("020000000002 020000000001 86dd")}
ENDS = {4: ("100.100.100.100", "123.123.123.123"), 6: ("2001:db8::100", "2001:db8:ffff::1")}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces, packet sockets")


class Link:
    """A network namespace with a pair of interfaces: `near`, where the test sends, and `far`, where it is received."""

    def __init__(self):
        self.name = f"ft-receive-{os.getpid()}-{secrets.token_hex(2)}"
        self.inside = ("ip", "netns", "exec", self.name)

    def __enter__(self):
        self.run("ip", "netns", "add", self.name)
        self.run(*self.inside, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        for interface in ("near", "far"):
            self.run(*self.inside, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
            self.run(*self.inside, "ip", "link", "set", interface, "mtu", "9000", "up")
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            set_namespace(there)
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.socket.bind(("near", 0))
        finally:
            set_namespace(home)
            os.close(home)
            os.close(there)
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.run("ip", "netns", "delete", self.name)

    @staticmethod
    def run(*command):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def send(self, packet):
        self.socket.send(ETHERNET[packet[0] >> 4] + packet)


def set_namespace(descriptor):
    import ctypes  # pylint: disable=import-outside-toplevel
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x4000_0000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def link():
    with Link() as made:
        yield made


@pytest.fixture
def sa(tmp_path):
    return esp.write_sa_file(tmp_path / "sa.toml")


def sealed(numbers, size=300, version=4):
    oracle = esp.Scapy(*ENDS[version])
    return [oracle.seal(esp.copy(original(n, size)), n) for n in numbers]


def original(number, size=300):
    return bytes(esp.IP(src="10.0.0.1", dst="10.0.0.2", id=number & 0xFFFF) / esp.UDP() / esp.Raw(bytes(size)))


class Receiving:
    """flowtap-receive on the link's far end, as `daemon`; ready when entered."""

    def __enter__(self):
        self.daemon.__enter__()
        self.daemon.wait_for("ready, capturing on far")
        return self

    def __exit__(self, *error):
        self.daemon.__exit__(*error)


class Capture(Receiving):
    """Once, into one file. Standard output goes to a file of its own."""

    def __init__(self, link, folder, sa, *options):
        self.written = folder / "originals.pcap"
        self.output = folder / "report"
        arguments = ["--sa", sa, "--interface", "far", "--write", self.written, "--json", *options]
        shell = 'out=$1; shift; exec "$@" >"$out"'
        self.daemon = Daemon("sh", "-c", shell, "sh", self.output, RECEIVE, *arguments, log=folder / "log",
                             prefix=link.inside)

    def report(self):
        return json.loads(self.output.read_text())


@needs_root
def test_count_ends_the_capture(link, sa, tmp_path):
    with Capture(link, tmp_path, sa, "--count", "20") as capture:
        link.send(bytes(esp.IP(dst="1.1.1.1") / esp.UDP()))  # filtered out
        for packet in sealed(range(1, 11)) + sealed(range(11, 21), version=6):
            link.send(packet)
        assert capture.daemon.wait() == 0
    assert esp.read_packets(capture.written) == [original(n) for n in range(1, 21)]
    report = capture.report()
    assert (report["copies"], report["refused"], report["capture_dropped"]) == (20, 0, 0)
    assert report["sequence"]["seen"] == [{"first": 1, "last": 20}]


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(link, sa, tmp_path, number):
    with Capture(link, tmp_path, sa) as capture:
        for packet in sealed([1, 2, 4]):
            link.send(packet)
        # Written packets reach the file while it waits for more.
        until(lambda: capture.written.stat().st_size == 24 + 3 * (16 + len(original(1))), "three originals on disk")
        assert capture.daemon.stop(number) == 1, "a gap was seen"
    assert esp.read_packets(capture.written) == [original(n) for n in (1, 2, 4)]
    assert capture.report()["sequence"]["gaps"] == [{"first": 3, "last": 3, "count": 1}]


@needs_root
def test_idle_ends_it_but_other_traffic_does_not_keep_it(link, sa, tmp_path):
    with Capture(link, tmp_path, sa, "--idle", "0.5") as capture:
        for packet in sealed([7]):
            link.send(packet)
        chatter = bytes(esp.IP(dst="1.1.1.1") / esp.UDP())
        until(lambda: link.send(chatter) or capture.daemon.process.poll() is not None, "the end of an idle capture")
        assert capture.daemon.process.returncode == 0
    assert capture.report()["copies"] == 1


@needs_root
def test_large_packets_and_a_burst_are_taken_whole(link, sa, tmp_path):
    numbers = range(1, 3001)
    packets = sealed(numbers, size=1400)
    with Capture(link, tmp_path, sa, "--count", "3001") as capture:
        for packet in packets:
            link.send(packet)
        link.send(sealed([3001], size=8800)[0])
        assert capture.daemon.wait() == 0
    received = esp.read_packets(capture.written)
    assert received == [original(n, 1400) for n in numbers] + [original(3001, 8800)]


@needs_root
def test_an_interface_that_goes_away_is_an_error(link, sa, tmp_path):
    with Capture(link, tmp_path, sa) as capture:
        link.send(sealed([1])[0])
        until(lambda: capture.written.stat().st_size > 24, "the first packet")
        Link.run(*link.inside, "ip", "link", "delete", "near")
        assert capture.daemon.wait() == 2
        assert "flowtap-receive: " in capture.daemon.output()
    assert capture.report()["copies"] == 1, "what came before is reported all the same"


@needs_root
def test_a_missing_privilege_is_named(sa):
    done = subprocess.run(["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", RECEIVE, "--sa", sa,
                           "--interface", "lo"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "CAP_NET_RAW" in done.stderr


def outcome(*arguments):
    done = subprocess.run([RECEIVE, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_bad_arguments_and_files_are_refused_by_name(sa, tmp_path):
    empty = esp.write_packets(tmp_path / "empty.pcap", [])

    def refused(*arguments):
        code, errors = outcome(*arguments)
        assert code == 2, errors
        return errors

    assert "--sa is required" in refused("--read", empty)
    assert "--interface or --read" in refused("--sa", sa)
    assert "excludes" in refused("--sa", sa, "--read", empty, "--interface", "lo")
    assert "64 to 4096" in refused("--sa", sa, "--read", empty, "--replay-window", "63")
    assert "--count" in refused("--sa", sa, "--read", empty, "--count", "0")
    assert f"{tmp_path}/none: cannot open: No such file" in refused("--sa", tmp_path / "none", "--read", empty)
    assert f"{tmp_path}/none.pcap" in refused("--sa", sa, "--read", tmp_path / "none.pcap")
    assert str(sa) in refused("--sa", sa, "--read", sa), "not a pcap file"
    assert "no-such-interface" in refused("--sa", sa, "--interface", "no-such-interface")
    assert "/dir/x" in refused("--sa", sa, "--read", empty, "--write", tmp_path / "dir" / "x")
    assert "has to be a file" in refused("--sa", sa, "--read", empty, "--write", "-")
    wifi = esp.write_packets(tmp_path / "wifi.pcap", [], linktype=105)
    assert "IEEE802_11" in refused("--sa", sa, "--read", wifi)

    sa.chmod(0o640)
    assert "mode is 0640" in refused("--sa", sa, "--read", empty)
    sa.chmod(0o600)
    sa.write_text('spi = 1\nsuite = "x"\nkey = "00"\n')
    errors = refused("--sa", sa, "--read", empty)
    assert f"{sa}:1:7: spi is 1" in errors
    assert f"{sa}:2:9: suite has to be" in errors


def test_a_damaged_file_is_an_error_after_what_could_be_read(sa, tmp_path):
    whole = esp.write_packets(tmp_path / "whole.pcap", sealed([1, 2]))
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole.read_bytes()[:-1])
    done = subprocess.run([RECEIVE, "--sa", sa, "--read", cut, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "truncated" in done.stderr
    assert json.loads(done.stdout)["copies"] == 1


def test_a_full_disk_is_an_error(sa, tmp_path):
    packets = esp.write_packets(tmp_path / "outer.pcap", sealed([1, 2, 3]))
    code, errors = outcome("--sa", sa, "--read", packets, "--write", "/dev/full")
    assert code == 2
    assert "/dev/full" in errors


def test_no_key_leaves_the_process(sa, tmp_path):
    packets = esp.write_packets(tmp_path / "outer.pcap", sealed([1]))
    done = subprocess.run([RECEIVE, "--sa", sa, "--read", packets], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert esp.KEY.hex()[:16] not in done.stdout + done.stderr
    assert "copies" in done.stdout and "to 2.2.2.2:7000  1 packets" in done.stdout
