"""A small provider in network namespaces: a subscriber and a server that reach each other only through the
appliance's wire, the appliance itself, and a mediation device on the delivery link.

    subscriber eth0 --- edge-a [ flowtap ] edge-b --- eth0 server
                              delivery | mgmt
                              eth0     | eth1
                              mediation device

Everything it makes (namespaces, links, files, processes) carries the lab's own name and goes with close().
Needs root.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

import accounts
import pcaps
from daemons import PATIENCE, PROGRAMS, Daemon, until
from gatelab import lengthen_grace

SUBSCRIBER = {4: "198.51.100.10", 6: "2001:db8:1::10"}
SERVER = {4: "198.51.100.20", 6: "2001:db8:1::20"}
BOX_MANAGEMENT = "192.0.2.1"
MEDIATION_MANAGEMENT = "192.0.2.2"
TUNNEL_LOCAL = "100.100.100.100"
TUNNEL_REMOTE = "123.123.123.123"
CONTENT_DESTINATION = "203.0.113.5"
CONTENT_PORT = 30000
SSH_PORT = 32001
SPI = 0x1001
SOURCE = "ft-ttp"
SOURCE_KEY = b"a key that only this lab uses"

LINK_MTU = 1500
DELIVERY_MTU = 9000


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def free_huge_pages():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("HugePages_Free:"):
            return int(line.split()[1])
    return 0


class Lab:
    opener = "flowtap-receive"  # what ends the tunnel and opens the copies

    def __init__(self, huge_pages=None, name=None):
        self.name = name or f"ft-{os.getpid()}-{secrets.token_hex(2)}"
        self.huge_pages = free_huge_pages() >= 300 if huge_pages is None else huge_pages
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.folder.chmod(0o755)
        self.daemons = {}
        self.helpers = []
        self._namespaces = []
        self._accounts = None
        self._closed = False

    # Construction ------------------------------------------------------------------------------------------

    def namespace(self, role):
        return f"{self.name}-{role}"

    def inside(self, role):
        """Command prefix: in that namespace's network, without a fork, so the process id is the program's."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(role)}", "--"]

    def box(self):
        """Command prefix: in the appliance's network, with the lab's own accounts."""
        return [*self.inside("box"), *self._accounts.prefix]

    def accounts_prefix(self):
        """Command prefix: with the lab's own accounts."""
        return self._accounts.prefix

    def identity(self):
        """The private key of the control source's account."""
        return self._accounts.identity(SOURCE)

    def run(self, role, *command, **options):
        return run(*self.inside(role), *command, **options)

    def open(self):
        for role in ("subscriber", "server", "box", "mediation"):
            run("ip", "netns", "add", self.namespace(role))
            self._namespaces.append(role)
            self.run(role, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
            # As little under way as every ring on the way holds, even while a slow machine runs something else: a frame
            # that is missing is then the box's.
            self.run(role, "sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 131072", "net.ipv4.tcp_wmem=4096 131072 131072")
            self.run(role, "ip", "link", "set", "lo", "up")
        # The ports of the wire have no kernel IP of their own: nothing but the wire answers there.
        self.run("box", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self._link("subscriber", "eth0", "edge-a", LINK_MTU)
        self._link("server", "eth0", "edge-b", LINK_MTU)
        self._link("mediation", "eth0", "delivery", DELIVERY_MTU)
        self._link("mediation", "eth1", "mgmt", LINK_MTU)
        self._build_gateway()
        for role, addresses in (("subscriber", SUBSCRIBER), ("server", SERVER)):
            self.run(role, "ip", "address", "add", f"{addresses[4]}/24", "dev", "eth0")
            self.run(role, "ip", "address", "add", f"{addresses[6]}/64", "dev", "eth0", "nodad")
        self.run("box", "ip", "address", "add", f"{BOX_MANAGEMENT}/24", "dev", "mgmt")
        self.run("mediation", "ip", "address", "add", f"{MEDIATION_MANAGEMENT}/24", "dev", "eth1")
        self._accounts = accounts.Accounts(self.folder / "accounts")
        # Copies that every account can run, wherever the project was built.
        self.programs = {name: self._accounts.install(path) for name, path in PROGRAMS.items()}
        self._write_files()
        return self

    def _link(self, role, inner, outer, mtu):
        box = self.namespace("box")
        run("ip", "-n", box, "link", "add", outer, "mtu", mtu, "type", "veth", "peer", "name", inner,
            "netns", self.namespace(role))
        run("ip", "-n", self.namespace(role), "link", "set", inner, "mtu", mtu)
        for where, interface in (("box", outer), (role, inner)):
            # Frames leave as the wire would carry them: whole, with checksums, none glued together.
            self.run(where, "ethtool", "-K", interface, "tx", "off", "rx", "off", "tso", "off", "gso", "off",
                     "gro", "off", "txvlan", "off", "rxvlan", "off", check=False)
            run("ip", "-n", self.namespace(where), "link", "set", interface, "up")

    def _build_gateway(self):
        """What ends the tunnel: here flowtap-receive, which reads the delivery link itself."""

    def gateway_mac(self):
        return self.mac("mediation", "eth0")

    def mac(self, role, interface):
        return json.loads(self.run(role, "ip", "-j", "link", "show", interface).stdout)[0]["address"]

    def _write_files(self):
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        (keys / SOURCE).write_bytes(SOURCE_KEY)
        self.sa_key = secrets.token_bytes(36)
        (keys / "ttp.sa").write_text(f'spi = {SPI:#x}\nsuite = "aes-256-gcm-16"\nkey = "{self.sa_key.hex()}"\n')
        for key in keys.iterdir():
            key.chmod(0o600)
        self.state = self.folder / "state"
        self.run_folder = self.folder / "run"
        control = self._accounts.uid("flowtap-control")
        self.state.mkdir(mode=0o700)
        os.chown(self.state, control, control)
        # Root's sshd reads its configuration there: control may add its sockets, and remove only its own.
        self.run_folder.mkdir()
        self.run_folder.chmod(0o1775)
        os.chown(self.run_folder, 0, control)
        self.config = self.folder / "flowtap.toml"
        self.config.write_text(self.configuration())

    def configuration(self):
        return f"""\
[dataplane]
workers = [1]
max-taps = 4096
huge-pages = {str(self.huge_pages).lower()}
memory-mib = 256
# However slow the machine, no frame is forwarded untapped because control was not there yet.
wait-for-control = 600

[[port]]
name = "edge-a"
device = "net_af_packet0,iface=edge-a"

[[port]]
name = "edge-b"
device = "net_af_packet1,iface=edge-b"

[[port]]
name = "delivery"
device = "net_af_packet2,iface=delivery"

[[wire]]
name = "edge"
a = "edge-a"
b = "edge-b"

[delivery]
port = "delivery"
addresses = ["{TUNNEL_LOCAL}/32"]
next-hop-mac = "{self.gateway_mac()}"
mtu = 1800

[[tunnel]]
name = "ttp"
local = "{TUNNEL_LOCAL}"
remote = "{TUNNEL_REMOTE}"
sa = "keys/ttp.sa"

[[route]]
prefix = "203.0.113.0/24"
tunnel = "ttp"

[[source]]
name = "{SOURCE}"
key-file = "keys/{SOURCE}"
destinations = ["203.0.113.0/24"]

[control]
run-dir = "{self.run_folder}"
state-dir = "{self.state}"

[ssh]
listen = ["{BOX_MANAGEMENT}"]
port = {SSH_PORT}
access = ["{MEDIATION_MANAGEMENT}/32"]
host-keys = ["{self._accounts.host_key}"]
"""

    # Processes ---------------------------------------------------------------------------------------------

    def start(self, name, wait=True):
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        daemon = Daemon(self.programs[name], "--config", self.config, log=log, prefix=self.box())
        self.daemons[name] = daemon
        return daemon.wait_for("ready") if wait else daemon

    def start_all(self):
        # The tunnel's key has never sealed anything: said once, by hand.
        run(*self.box(), self.programs["flowtap-control"], "--config", self.config, "--new-keys")
        self.start("flowtap-dataplane", wait=False)
        self.start("flowtap-control")
        self.daemons["flowtap-dataplane"].wait_for("ready")
        self.start("flowtap-gate")
        lengthen_grace(self.run_folder, PATIENCE)
        until(lambda: self.ctl("health", check=False).get("dataplane", {}).get("state") == "forwarding",
              "the dataplane forwarding with control's taps")
        self.baseline = self._wire_at_rest(5)

    def helper(self, role, name, *command):
        """A process that is not ours (a web server, a capture); ends with the lab."""
        process = Daemon(command[0], *command[1:], log=self.folder / f"{name}.log", prefix=self.inside(role))
        self.helpers.append(process)
        return process

    def serve_files(self, size=4_000_000):
        files = self.folder / "www"
        files.mkdir()
        (files / "data").write_bytes(secrets.token_bytes(size))
        self.helper("server", "http", "/usr/bin/python3", "-m", "http.server", "--bind", "::", "--directory",
                    str(files), "80")
        for family in (4, 6):
            until(lambda family=family: self.download(family, check=False), f"the web server over IPv{family}")
        return files / "data"

    # Traffic -----------------------------------------------------------------------------------------------

    def url(self, family):
        host = SERVER[family] if family == 4 else f"[{SERVER[family]}]"
        return f"http://{host}/data"

    def download_command(self, family, rate=None):
        # --no-buffer etc. do not matter; a rate keeps one software core from being the bottleneck.
        limit = ["--limit-rate", rate] if rate else []
        return ["curl", "-sS", "--fail", "--max-time", "600", *limit, self.url(family)]

    def download(self, family, rate="40M", check=True):
        done = subprocess.run([*self.inside("subscriber"), *self.download_command(family, rate)],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            if check:
                raise AssertionError(f"download over IPv{family}: {done.stderr.decode()}")
            return None
        return hashlib.sha256(done.stdout).hexdigest()

    def ping(self, family, count=20):
        # With -w it waits for its answers however late they are, and asks again for one that does not come: frames that
        # are lost are seen in the ledger of the wire, and an answer that took its time is none of them.
        done = self.run("subscriber", "ping", f"-{family}", "-n", "-q", "-i", "0.02", "-c", count, "-w", int(PATIENCE),
                        SERVER[family], check=False)
        # More than that, where answers were late: it had asked again by then.
        got = re.search(r" (\d+) received", done.stdout)
        return got is not None and int(got[1]) >= count

    # Observation -------------------------------------------------------------------------------------------

    def ctl(self, what, check=True):
        done = run(*self.box(), self.programs["flowtapctl"], "show", what, "--json", "--socket",
                   self.run_folder / "ctl.sock", check=check)
        if done.returncode:
            return {}
        return json.loads(done.stdout)

    def interface(self, role, interface="eth0"):
        """Kernel counters of an interface: what the ends of the wire sent and got, whatever the box says."""
        return json.loads(self.run(role, "ip", "-j", "-s", "link", "show", interface).stdout)[0]["stats64"]

    def _wire_counts(self):
        """Frames that both ends have sent into the wire and received from it."""
        ends = [self.interface(role) for role in ("subscriber", "server")]
        return tuple(sum(end[way]["packets"] for end in ends) for way in ("tx", "rx"))

    def _wire_at_rest(self, looks):
        """The counts once so many looks in a row, a tenth of a second apart, have shown the same."""
        counts, same = self._wire_counts(), 0
        while same < looks:
            time.sleep(0.1)
            now = self._wire_counts()
            counts, same = now, same + 1 if now == counts else 0
        return counts

    def wire_ledger(self):
        """Frames sent into the wire and received from it since the appliance forwards. What is missing is lost when it has
        not come for ten seconds in which nothing else came either."""
        for looks in (1, 1, 1, 100):
            sent, received = (now - then for now, then in zip(self._wire_at_rest(looks), self.baseline))
            if sent == received:
                break
        return {"sent": sent, "received": received, "lost": sent - received}

    def dtcp(self, *arguments, check=True):
        """The mediation device's client, run where the mediation device is."""
        command = [*self.inside("mediation"), *self.accounts_prefix(), self.programs["dtcp"], arguments[0],
                   *self.dtcp_options(), *arguments[1:]]
        done = run(*command, check=False, env={**os.environ, "XDG_STATE_HOME": str(self.folder / "dtcp-state")})
        if check and done.returncode:
            raise AssertionError(f"dtcp {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def taps(self):
        """What the mediation device sees by a LIST."""
        return json.loads(self.dtcp("list", "--json").stdout).get("entries", [])

    def dtcp_options(self):
        return ["--host", BOX_MANAGEMENT, "--port", str(SSH_PORT), "--user", SOURCE, "--identity",
                str(self.identity()), "--known-hosts", str(self.folder / "known_hosts"),
                "--connect-timeout", str(PATIENCE), "--answer-timeout", str(PATIENCE),
                "--accept-new", "--csource", SOURCE, "--key-file", str(self.folder / "keys" / SOURCE)]

    def tap_options(self):
        return ["--cdest", "md1", "--cdest-address", CONTENT_DESTINATION, "--cdest-port", str(CONTENT_PORT),
                "--cdest-source-address", TUNNEL_LOCAL, "--cdest-source-port", "40000", "--static"]

    def capture(self, role, interface, path, *expression):
        """tcpdump that loses nothing: a large buffer, and its own word on drops at the end."""
        process = self.helper(role, f"{path.name}.tcpdump", "tcpdump", "-i", interface, "-p", "-n", "-U", "-B", "65536",
                              "-s", "0", "-Z", "root", "-w", str(path), *expression)
        process.wait_for("listening on")
        return process

    @staticmethod
    def end_capture(process):
        # tcpdump drops what it has not read when it is told to end: on a busy machine, ask first how far it is.
        def caught_up():
            process.signal(signal.SIGUSR1)
            told = re.findall(r"(\d+) packets captured, (\d+) packets received by filter", process.output())
            return told and told[-1][0] == told[-1][1]
        until(caught_up, "tcpdump having read all that it received")
        process.stop(signal.SIGINT)
        assert "\n0 packets dropped by kernel" in process.output(), process.output()

    def receive(self, path):
        """flowtap-receive on the mediation device; end it with end_receive()."""
        process = Daemon(self.programs["flowtap-receive"], "--sa", self.folder / "keys" / "ttp.sa", "--interface", "eth0",
                         "--write", path, "--json", log=path.with_suffix(".log"), prefix=self.inside("mediation"))
        self.helpers.append(process)
        process.wait_for("ready")
        return process

    def content_command(self):
        """For a person, who has set $M to a prefix into the mediation device and $BIN to the build folder."""
        return (f"$M $BIN/tools/receive/flowtap-receive --sa {self.folder}/keys/ttp.sa --interface eth0 --write /tmp/content.pcap")

    @staticmethod
    def lowest_iv(path):
        """The smallest AES-GCM IV in a capture of ESP over IPv4."""
        found = []
        for link, frame in pcaps.packets(path):
            packet = pcaps.layer3(link, frame)
            if packet and packet[0] >> 4 == 4 and packet[9] == 50:
                esp = packet[(packet[0] & 15) * 4:]
                found.append(int.from_bytes(esp[8:16], "big"))
        return min(found)

    @staticmethod
    def end_receive(process):
        """(exit code, summary): at least `copies` and `sequence`.`missing`."""
        code = process.stop(signal.SIGINT)
        summary = next(line for line in process.output().splitlines() if line.startswith("{"))
        return code, json.loads(summary)

    # The end -----------------------------------------------------------------------------------------------

    def close(self):
        if self._closed:
            return
        self._closed = True
        for process in [*reversed(self.helpers), *reversed(self.daemons.values())]:
            with contextlib.suppress(Exception):
                process.stop()
        for role in self._namespaces:
            self._end_processes(role)
            run("ip", "netns", "delete", self.namespace(role), check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_processes(self, role):
        """What the lab's own programs started in its namespaces (sshd sessions, say)."""
        for _ in range(50):
            pids = run("ip", "netns", "pids", self.namespace(role), check=False).stdout.split()
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)

    def __enter__(self):
        try:
            return self.open()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
