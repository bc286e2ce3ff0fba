"""The programs whose forwarding tools/bench/compare compares, on the same devices: flowtap-dataplane, and dpdk-testpmd with or
without a second process that captures.

Frames of 4,096 flows come from a pcap file without end (net_pcap, infinite_rx: the driver copies each into a buffer) and
go to nowhere (net_null)."""

import contextlib
import ctypes
import ipaddress
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

FLOWS = 4096
MEMORY_MIB = 256
SUITE = "aes-256-gcm-16"
KEY = bytes(range(36)).hex()
KEY_BYTES = {"aes-256-gcm-16": 36, "aes-128-cbc-hmac-sha1-96": 36, "3des-cbc-hmac-sha1-96": 44}
DELIVERY_MTU = 2000  # each copy of these frames is one packet
DESTINATION = {"dest": "2.2.2.1", "dest_port": 5000, "source": "1.1.1.1", "source_port": 6000}
TAPPED = "10.255.255.254"


def key_of(suite):
    """Keys of triple DES: three that differ."""
    return bytes(3 * i + 1 & 0xFF for i in range(KEY_BYTES[suite])).hex() if suite else KEY


def write_traffic(path, frame_bytes, tapped=0):
    """UDP from random hosts of 10/8 to random hosts of 11/8; no tap of link-driver's `fill` has any of them. `tapped` of
    100 frames, evenly spread, come from TAPPED."""
    noise = random.Random(1)
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for flow in range(FLOWS):
            frame = bytes.fromhex("020000000002020000000001" "0800")
            frame += struct.pack(">BBHHHBBH", 0x45, 0, frame_bytes - 14, 0, 0, 64, 17, 0)
            source, dest = b"\x0a" + noise.randbytes(3), b"\x0b" + noise.randbytes(3)
            if (flow + 1) * tapped // 100 > flow * tapped // 100:
                source = ipaddress.ip_address(TAPPED).packed
            frame += source + dest
            frame += struct.pack(">HHHH", noise.randrange(1024, 65536), noise.randrange(1024, 65536), frame_bytes - 34, 0)
            frame += bytes(frame_bytes - len(frame))
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def devices(folder, frame_bytes):
    return [f"net_pcap0,rx_pcap={folder}/{frame_bytes}.pcap,infinite_rx=1", "net_null1,no-rx=1"]


class Testpmd:
    """dpdk-testpmd with one forwarding core, spoken to at its prompt."""

    def __init__(self, folder, row, core, memory=("--in-memory",)):
        mode = row.peer if row.peer != "pdump" else "io"
        arguments = ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@{core - 1},1@{core}", "--main-lcore=0", f"-m{MEMORY_MIB}",
                     *memory, "--no-pci", "--no-telemetry", "--iova-mode=va"]
        for device in devices(folder, row.frame_bytes):
            arguments += ["--vdev", device]
        arguments += ["--", "-i", f"--forward-mode={mode}", "--nb-cores=1", "--total-num-mbufs=16384"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.say("start")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def sent(self):
        """Frames that port 1 has sent."""
        self.say("show port stats 1")
        for line in self.process.stdout:
            if match := re.search(r"TX-packets:\s*(\d+)", line):
                return int(match[1])
        raise SystemExit("dpdk-testpmd ended; is the package dpdk-dev installed, and are huge pages free?")

    def timed(self):
        return None

    def check(self, row):
        pass

    def stop(self):
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself, which its figures have told
            self.say("quit")
        self.process.communicate()


@contextlib.contextmanager
def huge_page_folder(folder):
    """Two DPDK processes find each other's memory in a hugetlbfs. This process mounts one that nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        raise SystemExit(f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}")
    mounted = folder / "huge"
    mounted.mkdir(exist_ok=True)  # from the second round on
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


class TestpmdWithDumpcap(Testpmd):
    """dpdk-testpmd of which dpdk-dumpcap gets a copy of each frame of the row's tap."""

    def __init__(self, folder, row, core):
        self.mount = contextlib.ExitStack()
        self.dumpcap = None
        huge = self.mount.enter_context(huge_page_folder(folder))
        self.name = f"flowtap-bench-{os.getpid()}"
        super().__init__(folder, row, core, (f"--file-prefix={self.name}", f"--huge-dir={huge}"))
        try:
            self._capture(row)
        except BaseException:
            self.stop()
            raise

    def _capture(self, row):
        self.sent()  # its answer means that everything is set up
        program = shutil.which("dpdk-testpmd")
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        # A memory pool names its kind by number, in the order of loading: both programs need the same order.
        environment = {**os.environ, "LD_PRELOAD": ":".join(re.findall(r"=> (\S*/librte_\S+)", linked))}
        command = ["stdbuf", "-oL", "dpdk-dumpcap", f"--file-prefix={self.name}", "-q", "-i", "0", "-w", "/dev/null"]
        if row.tapped < 100:
            command += ["-f", f"src host {TAPPED}"]
        self.dumpcap = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.dumpcap.stdout:
            if line.startswith("Capturing on"):
                break
        self.sent_before = self.sent()

    def check(self, row):
        """testpmd's worker has filtered or copied what it has sent."""
        sent = self.sent() - self.sent_before
        self.dumpcap.send_signal(signal.SIGINT)
        said = self.dumpcap.communicate()[0]
        counts = re.search(r"received/dropped on interface .*: (\d+)/(\d+)", said)
        # Received: copied or filtered out. Dropped: of the copies, those that found the ring full; else there was no buffer.
        if not counts or int(counts[1]) < 0.9 * sent:
            raise SystemExit(f"{row.name}: {sent} frames sent, and dpdk-dumpcap says:\n{said}")

    def stop(self):
        if self.dumpcap is not None and self.dumpcap.poll() is None:
            self.dumpcap.kill()
            self.dumpcap.wait()
        super().stop()
        self.mount.close()
        shutil.rmtree(f"/run/dpdk/{self.name}", ignore_errors=True)


class Flowtap:
    """flowtap-dataplane with its taps installed, and link-driver to read its counters."""

    def __init__(self, folder, row, core, build):
        config = folder / "flowtap.toml"
        key = folder / "sa.toml"
        key.write_text(f'spi = 4097\nsuite = "{SUITE}"\nkey = "{KEY}"\n')  # what seals is what link-driver installs
        key.chmod(0o600)
        a, b = devices(folder, row.frame_bytes)
        config.write_text(f"""
[dataplane]
workers = [{core}]
memory-mib = {MEMORY_MIB}
max-taps = {max(row.taps + 1, 1024)}
wait-for-control = 600
{"".join(f'''
[[port]]
name = "{name}"
device = "{device}"
''' for name, device in (("a", a), ("b", b), ("d", "net_null2,no-rx=1")))}
[[wire]]
name = "edge"
a = "a"
b = "b"
[delivery]
port = "d"
next-hop-mac = "02:00:00:00:00:99"
mtu = {DELIVERY_MTU}
[[tunnel]]
name = "ttp"
local = "100.100.100.100"
remote = "123.123.123.123"
sa = "{key}"
[[route]]
prefix = "2.2.2.0/27"
tunnel = "ttp"
[[route]]
prefix = "3.3.3.3/32"
clear = true
[control]
run-dir = "{folder}/run"
""")
        self.log = open(folder / "dataplane.log", "w")
        self.process = subprocess.Popen([str(build / "dataplane" / "flowtap-dataplane"), "--config", str(config)],
                                        stdout=self.log, stderr=self.log)
        self.driver = subprocess.Popen([str(build / "tools" / "bench" / "link-driver"), str(config)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.do("resync")
        self.do("sa", slot=0, id=1, spi=4097, tunnel=0, suite=row.suite or SUITE, key=key_of(row.suite), first=1, count=1 << 32)
        chunk = 10_000
        for first in range(0, row.taps, chunk):
            self.do("fill", slot=first, count=min(chunk, row.taps - first), destination=DESTINATION)
            self.do("commit")
        if row.tapped:
            self.do("tap", slot=row.taps, id=row.taps + 1, source=[TAPPED + "/32"],
                    destinations=[{**DESTINATION, "dest": "2.2.2.1" if row.suite else "3.3.3.3"}])
        self.do("commit")

    def do(self, what, **arguments):
        self.driver.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        if not line:
            raise SystemExit("flowtap-dataplane ended:\n" + pathlib.Path(self.log.name).read_text())
        return json.loads(line)

    def counters(self):
        return self.do("counters")

    def sent(self):
        """Frames that port b has sent."""
        return self.counters()["ports"][1].get("tx-packets", 0)

    def timed(self):
        """Of the polls that the worker timed: frames, and TSC cycles from after receive to after send."""
        worker = self.counters()["workers"][0]
        return worker["sampled_frames"], worker["sampled_cycles"]

    def check(self, row):
        """As many copies as the row says have left, and none was lost."""
        counters = self.counters()
        received, total = counters["ports"][0]["rx-packets"], counters["total"]
        matches, copies = total.get("matches", 0), total.get("copies-sent", 0)
        # The counters are read while the worker goes on, and frames came in before the tap was there.
        if copies < 0.98 * matches or not 0.5 * row.tapped <= 100 * matches / received <= 1.02 * row.tapped:
            raise SystemExit(f"{row.name}: {received} frames, {matches} matches, {copies} copies: {total}")

    def stop(self):
        self.driver.stdin.close()
        self.driver.wait()
        self.process.terminate()
        self.process.wait()


def worker_time(process):
    """Seconds of processor time of the forwarding thread."""
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "rte-worker-1":
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise SystemExit("no thread rte-worker-1: is this DPDK 22.11?")


def rate(program, row, seconds):
    """(Mpps, cycles a frame) over the time, after a moment to warm up. Cycles are the median over short spans, so
    that a moment in which the machine did something else does not count."""
    try:
        time.sleep(0.3)
        spans, last = [], program.timed()
        first, start = program.sent(), worker_time(program.process)
        end = time.monotonic() + seconds
        # On a busy machine the worker may not have had its turn by then.
        last_end = end + 30
        while time.monotonic() < end or (time.monotonic() < last_end and (
                worker_time(program.process) == start or program.sent() == first or (last and not spans))):
            time.sleep(0.1)
            if last and (now := program.timed()) and now[0] > last[0]:
                spans.append((now[1] - last[1]) / (now[0] - last[0]))
                last = now
        mpps = (program.sent() - first) / (worker_time(program.process) - start) / 1e6
        program.check(row)
        return mpps, statistics.median(spans) if spans else None
    finally:
        program.stop()


def peer_rate(folder, row, options):
    """testpmd's rate. A testpmd from which another process captures ends by itself now and then, when the machine is busy;
    that is not what is measured, so it gets another chance, and a third one."""
    if row.peer != "pdump":
        return rate(Testpmd(folder, row, options.core), row, options.seconds)[0]
    for _ in range(2):
        try:
            return rate(TestpmdWithDumpcap(folder, row, options.core), row, options.seconds)[0]
        except (BrokenPipeError, SystemExit) as ended:
            print(f"{row.name}: the peer's run once more: {ended}", file=sys.stderr)
    return rate(TestpmdWithDumpcap(folder, row, options.core), row, options.seconds)[0]
