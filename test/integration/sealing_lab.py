"""Both daemons with two workers that seal all that they can into three tunnels: of test_iv_unique.py."""

import collections
import dataclasses
import json
import os
import signal
import time

from daemons import Daemon, until
from dataplane import write_frames
from dtcp_client import connect_as
from scapy.all import IP, UDP, Ether, Raw
from test_control import Lab

CORES = sorted(os.sched_getaffinity(0))[:2]
CONTROL, DATAPLANE = "flowtap-control", "flowtap-dataplane"
FLOWS = 64
# The frames of each worker have a length of their own, so that what leaves tells who sealed it.
FRAME_SIZES = (64, 128)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A tunnel's SAs: how many files take turns, and what stands in them beside SPI and key."""

    suite: str
    key_bytes: int
    files: int
    lines: tuple = ()


KINDS = {
    # Every life of the dataplane takes a 256th of its numbers.
    "plain": Kind("aes-256-gcm-16", 36, 3),
    # Lives so far apart that the 32 bits that are sent come again.
    "extended": Kind("aes-128-gcm-16", 20, 2, ("extended-sequence-numbers = true",)),
    # The smallest leases, of which each lasts a moment, so that the next is granted all the time; and short lives, so that one
    # key after another takes over.
    "short": Kind("chacha20-poly1305", 36, 8, (f"hard-lifetime-packets = {1 << 20}",)),
}


def traffic(folder):
    """net_pcap's arguments: a file without end for each worker."""
    files = []
    for worker, size in enumerate(FRAME_SIZES):
        frames = [bytes(Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") /
                        IP(src=f"10.{worker}.0.{flow}", dst="192.0.2.1") / UDP(sport=flow + 1, dport=53) / Raw(bytes(size - 42)))
                  for flow in range(FLOWS)]
        files.append(write_frames(folder / f"traffic-{worker}.pcap", frames))
    return ",".join(["net_pcap0", *(f"rx_pcap={file}" for file in files), "infinite_rx=1"])


class SealingLab(Lab):
    def __init__(self, wires):
        self.wires = wires
        self.next_spi = 0x1000
        self.spis = collections.defaultdict(list)  # by tunnel, all that it has had; the last ones are in its files
        super().__init__()
        for name in KINDS:
            self.write_keys(name)

    def file(self, name, place):
        return f"keys/{name}-{place}.sa"

    def write_keys(self, name):
        """New keys under new SPIs in all the tunnel's files."""
        kind = KINDS[name]
        for place in range(kind.files):
            self.next_spi += 1
            self.spis[name].append(self.next_spi)
            lines = [f"spi = {self.next_spi}", f'suite = "{kind.suite}"', f'key = "{os.urandom(kind.key_bytes).hex()}"', *kind.lines]
            self.secret(f"{name}-{place}.sa", "".join(line + "\n" for line in lines).encode())

    def configuration(self):
        text = super().configuration().replace("workers = [1]", f"workers = {CORES}")
        head, _, rest = text.partition("[[tunnel]]")
        head = head.replace("net_null0", traffic(self.folder)).replace("net_null1", "net_null1,no-rx=1")
        head = head.replace("net_null2", "net_af_packet2,iface=wire-d")
        tunnels = ""
        for number, (name, kind) in enumerate(KINDS.items()):
            files = ", ".join(f'"{self.folder}/{self.file(name, place)}"' for place in range(kind.files))
            tunnels += f"""
[[tunnel]]
name = "{name}"
local = "100.100.100.100"
remote = "123.123.123.{number + 1}"
sa = [{files}]
[[route]]
prefix = "2.2.2.{number}/32"
tunnel = "{name}"
"""
        rest = rest[rest.index("[control]"):].replace('"2.2.2.0/27"', ", ".join(f'"2.2.2.{i}/32"' for i in range(len(KINDS))))
        return head + tunnels + rest

    def prefix(self, name):
        return [*(self.wires.prefix if name == DATAPLANE else ()), *super().prefix(name)]

    def begin(self, name):
        """Starts it and waits for nothing."""
        options = ["--share-cores"] if name == DATAPLANE else []
        self.log(name).unlink(missing_ok=True)
        self.daemons[name] = Daemon(name, "--config", self.config, *options, log=self.log(name), prefix=self.prefix(name))

    def kill(self, names, pause=0.0):
        """Returns when they are dead; each was alive until then."""
        for place, name in enumerate(names):
            time.sleep(pause if place else 0)
            assert self.daemons[name].process.poll() is None, f"{name} ended by itself:\n{self.daemons[name].output()}"
            self.daemons[name].signal(signal.SIGKILL)
        for name in names:
            self.daemons[name].wait()

    def view(self, what):
        """`flowtapctl show`, without a process for each look."""
        with connect_as(self.run_dir / "ctl.sock") as connection, connection.makefile("rw") as lines:
            lines.write(json.dumps({"command": "show", "what": what}) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
        assert answer["ok"], answer
        return answer["view"]

    def wait_linked(self):
        """Until both have all that they want from each other, taps for each tunnel among it."""
        self.daemons[CONTROL].wait_for("ready")
        until(lambda: self.view("health")["control"]["state"] == "ready", "control's link to the dataplane")
        with self.client() as client:
            # Both had died: the taps are gone, as they should be.
            there = {entry["CDEST-ID"] for entry in client.request("LIST").entries()}
            for number, name in enumerate(KINDS):
                if name not in there:
                    until(lambda name=name, number=number: self.add(client, name, number), f"the tap of {name}")

    def add(self, client, name, number):
        return client.request("ADD", f"Cdest-ID: {name}", "Flags: STATIC", "Source-Address: 10.0.0.0/8",
                              f"X-JTap-Cdest-Dest-Address: 2.2.2.{number}", "X-JTap-Cdest-Dest-Port: 7000",
                              "X-JTap-Cdest-Source-Address: 100.100.100.100", "X-JTap-Cdest-Source-Port: 7001").code == 200

    def tunnels(self):
        return {tunnel["name"]: tunnel for tunnel in self.view("delivery")["tunnels"]}

    def __exit__(self, failure, *more):
        for name in self.daemons if failure else ():
            print(f"{name}:\n{self.log(name).read_text(errors='replace')[-4000:]}")
        super().__exit__(failure, *more)
