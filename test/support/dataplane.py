"""A dataplane on pcap files, and the program that plays control for it (tools/bench/link_driver.cc)."""

import json
import pathlib
import subprocess

from daemons import BUILD, PATIENCE, Daemon, until
from scapy.utils import RawPcapWriter

LINK_DRIVER = BUILD / "tools" / "bench" / "link-driver"
NEXT_HOP = "02:00:00:00:00:99"
LOCAL, REMOTE = "100.100.100.100", "123.123.123.123"
STATIC_LINK = f'addresses = ["{LOCAL}/32"]\nnext-hop-mac = "{NEXT_HOP}"'
KEY = bytes(range(36))  # AES-256 key and salt
SPI = 0x1001
TAPS_FIRST = 600  # for `wait`: no frame moves before the test has installed its taps


def huge_pages_free():
    """MiB that can be had."""
    text = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
    return int(text.read_text()) * 2 if text.exists() else 0


def write_frames(path, frames):
    """Raw frames, of any length, as a pcap file of link type Ethernet."""
    writer = RawPcapWriter(str(path), linktype=1)
    writer.write_header(None)
    for frame in frames:
        writer.write_packet(bytes(frame))
    writer.close()
    return path


def byte_order(head):
    """Of a pcap file, by its magic number; None for any other file."""
    if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return "little"
    return "big" if head[:4] in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d") else None


def is_ethernet(path):
    """Whether the file is a pcap file of Ethernet frames."""
    head = pathlib.Path(path).read_bytes()[:24]
    order = byte_order(head)
    return order is not None and int.from_bytes(head[20:24], order) & 0xFFFF == 1


def read_frames(path):
    """Every whole frame of a pcap file; an absent file has none, and a damaged end is left out."""
    path = pathlib.Path(path)
    data = path.read_bytes() if path.exists() else b""
    order = byte_order(data)
    frames, at = [], 24
    while order and at + 16 <= len(data):
        captured = int.from_bytes(data[at + 8:at + 12], order)
        if captured > 262_144 or at + 16 + captured > len(data):
            break
        frames.append(data[at + 16:at + 16 + captured])
        at += 16 + captured
    return frames


class Box:
    """A wire between two pcap files and a delivery port into a third. Use as a context manager."""

    def __init__(self, folder, a=(), b=(), *, huge=False, workers=(1,), dataplane="", wire="", delivery="", tail="", delivery_mtu=9000,
                 wait=0.1, memory=192, copy_buffers=4096, device_a=None, device_b=None, device_d=None, simd="auto", share_cores=False,
                 routes=True, link=None, prefix=(), program="flowtap-dataplane"):
        self.folder = pathlib.Path(folder)
        self.run_dir = self.folder / "run"
        self.config = self.folder / "flowtap.toml"
        sa = self.folder / "sa.toml"
        sa.write_text(f'spi = {SPI}\nsuite = "aes-256-gcm-16"\nkey = "{KEY.hex()}"\n')
        sa.chmod(0o600)
        write_frames(self.folder / "a-in.pcap", a)
        write_frames(self.folder / "b-in.pcap", b)
        inputs = {"a": device_a or f"net_pcap0,rx_pcap={self.folder}/a-in.pcap,tx_pcap={self.folder}/a-out.pcap",
                  "b": device_b or f"net_pcap1,rx_pcap={self.folder}/b-in.pcap,tx_pcap={self.folder}/b-out.pcap",
                  "d": device_d or "net_pcap2" + "".join(f",tx_pcap={self.folder}/d-out{i}.pcap" for i in range(len(workers)))}
        text = f"""
[dataplane]
workers = {list(workers)}
huge-pages = {str(huge).lower()}
memory-mib = {memory}
buffers = 4096
copy-buffers = {copy_buffers}
wait-for-control = {wait}
max-taps = 4096
{dataplane}
"""
        for name, device in inputs.items():
            text += f'[[port]]\nname = "{name}"\ndevice = "{device}"\n'
        text += f"""
[[wire]]
name = "edge"
a = "a"
b = "b"
{wire}
[delivery]
port = "d"
{link or STATIC_LINK}
mtu = {delivery_mtu}
{delivery}
[control]
run-dir = "{self.run_dir}"
state-dir = "{self.folder}"
"""
        if routes:
            text += f"""
[[tunnel]]
name = "ttp"
local = "{LOCAL}"
remote = "{REMOTE}"
sa = "{sa}"
[[route]]
prefix = "2.2.2.0/27"
tunnel = "ttp"
[[route]]
prefix = "3.3.3.0/24"
clear = true
[[route]]
prefix = "2001:db8:3::/48"
clear = true
"""
        self.config.write_text(text + tail)
        self.options = ["--simd", simd, *(["--share-cores"] if share_cores else [])]
        self.prefix = prefix
        self.program = program
        self.daemon = None

    def __enter__(self):
        self.daemon = Daemon(self.program, "--config", self.config, *self.options,
                             log=self.folder / "dataplane.log", prefix=self.prefix)
        return self

    def __exit__(self, failure, *_):
        if failure is None:
            self.stop()
        else:
            self.daemon.stop()

    def stop(self):
        code = self.daemon.stop()
        assert code == 0, f"exit code {code}:\n{self.daemon.output()}"

    def wait_ready(self):
        self.daemon.wait_for("ready: forwarding")
        return self

    def out(self, port):
        """Frames that have left through the port, read from its file: whole once the process has ended."""
        names = [f"{port}-out.pcap"] if port != "d" else sorted(p.name for p in self.folder.glob("d-out*.pcap"))
        return [frame for name in names for frame in read_frames(self.folder / name)]

    def summary(self):
        """{port: (received, sent, dropped)} as the log says at the end."""
        result = {}
        for line in self.daemon.output().splitlines():
            if 'port "' in line and "frames received" in line:
                name = line.split('"')[1]
                numbers = [int(word) for word in line.split(": ", 2)[2].replace(",", "").split() if word.isdigit()]
                result[name] = tuple(numbers)
        return result


class Driver:
    """Control, as lines of JSON."""

    def __init__(self, box):
        self.process = subprocess.Popen([str(LINK_DRIVER), str(box.config)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def do(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"link-driver ended at {what}"
        return json.loads(line)

    def do_all(self, commands):
        """Some hundred commands in one go, each a dict with its `do`; returns their answers."""
        self.process.stdin.write("".join(json.dumps(command) + "\n" for command in commands))
        self.process.stdin.flush()
        return [json.loads(self.process.stdout.readline()) for _ in commands]

    def commit(self):
        answer = self.do("commit")
        assert answer["kind"] == "committed", answer
        return answer

    def counters(self, taps=()):
        """Of all that has happened before: every worker has ended its poll since."""
        return self.do("counters", taps=list(taps))

    def tap(self, slot, tap_id, destinations, **criterion):
        return self.do("tap", slot=slot, id=tap_id, destinations=destinations, **criterion)

    def update(self, slot, tap_id, **service):
        return self.do("update", slot=slot, id=tap_id, **service)

    def sa(self, slot=0, key_id=1, first=1, count=1 << 32, spi=SPI, **more):
        return self.do("sa", **({"slot": slot, "id": key_id, "first": first, "count": count, "spi": spi, "key": KEY.hex()}
                                | more))

    def events(self, kind):
        """Waits for an event of the kind; returns its slot."""
        seen = []

        def look():
            seen.extend(self.do("events")["events"])
            return [event for event in seen if event["kind"] == kind]
        return until(look, f"event {kind}")[0]["slot"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def destination(dest="2.2.2.1", port=5000, source="1.1.1.1", source_port=6000, **more):
    return {"dest": dest, "dest_port": port, "source": source, "source_port": source_port, **more}
