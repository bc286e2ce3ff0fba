"""A gate with a real sshd behind it, accounts of its own, and a peer where the control process would listen."""

import contextlib
import os
import pathlib
import socket
import struct
import subprocess
import threading

from daemons import PATIENCE, PROGRAMS, Daemon, until

HOST = "127.0.0.1"
SUBSYSTEM = "flow-tap-dtcp"

CONFIG = """\
[dataplane]
workers = [0]
[[port]]
name = "a"
device = "net_null0"
[[port]]
name = "b"
device = "net_null1"
[[port]]
name = "delivery"
device = "net_null2"
[[wire]]
name = "edge"
a = "a"
b = "b"
[delivery]
port = "delivery"
next-hop-mac = "02:00:00:00:00:01"
[[route]]
prefix = "192.0.2.0/24"
clear = true
[[source]]
name = "ft-ttp"
key-file = "{key_file}"
destinations = ["192.0.2.0/24"]
[ssh]
port = {port}
{settings}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def toml(value):
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


class Gate:
    """flowtap-gate on a free port of the loopback; `ssh_settings` are keys of [ssh] with "_" for "-". Its sshd gives
    clients more time to log in than as shipped, unless told otherwise."""

    def __init__(self, accounts, folder, *options, prefix=(), grace=PATIENCE, **ssh_settings):
        self.accounts = accounts
        self.grace = grace
        self.port = ssh_settings.pop("port", None) or free_port()
        folder = pathlib.Path(folder)
        settings = {"listen": [HOST], "host_keys": [accounts.host_key], **ssh_settings}
        key_file = folder / "key"
        key_file.write_text("Juniper\n")
        key_file.chmod(0o600)
        config = folder / "box.toml"
        config.write_text(CONFIG.format(key_file=key_file, port=self.port, settings="\n".join(
            f"{name.replace('_', '-')} = {toml(value)}" for name, value in settings.items())))
        bridge = accounts.install(PROGRAMS["flowtap-dtcp"])
        self.daemon = Daemon("flowtap-gate", "--config", config, "--bridge", bridge, *options,
                             prefix=[*accounts.prefix, *prefix], log=folder / "gate.log")
        self.log = self.daemon.output
        self.pid = self.daemon.process.pid

    def ready(self):
        self.daemon.wait_for("ready")
        if self.grace:
            lengthen_grace(self.accounts.run / "flowtap", self.grace)
        return self

    def connect(self, source=HOST):
        """A TCP connection from that address of the loopback."""
        return socket.create_connection((HOST, self.port), source_address=(source, 0))

    def ssh(self, *options, command=(), user="ft-ttp", identity=None, settings=()):
        """The OpenSSH client's command line: options before the host, the command (or subsystem) after it."""
        settings = [*settings, "BatchMode=yes", "IdentitiesOnly=yes", "ControlPath=none",
                    f"UserKnownHostsFile={self.accounts.known_hosts(HOST, self.port)}"]
        return ["ssh", "-F", "/dev/null", "-p", str(self.port), "-l", user,
                "-i", str(identity or self.accounts.identity(user)),
                *(word for setting in settings for word in ("-o", setting)), *options, HOST, *command]

    def subsystem(self, *options, **more):
        return self.ssh("-s", *options, command=[SUBSYSTEM], **more)

    def sessions(self):
        """Process ids of the gate's sshd processes, ended ones that were not reaped included."""
        return [pid for pid in self.children() if self.name_of(pid) not in ("flowtap-sshlog", "")]

    def log_process(self):
        """Process id of what stamps sshd's log lines."""
        return until(lambda: next((pid for pid in self.children() if self.name_of(pid) == "flowtap-sshlog"), None),
                     "the log process")

    def children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return [int(word) for word in children.read().split()]

    @staticmethod
    def name_of(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        return ""

    def stop(self):
        return self.daemon.stop()

    def __enter__(self):
        return self.ready()

    def __exit__(self, *_):
        self.daemon.stop()


class Session:
    """An ssh client that stays; its standard streams are pipes."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=env)

    def ask(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Peer:
    """Listens where the control process would and serves every connection with a function, one thread each."""

    def __init__(self, accounts, serve=None):
        path = accounts.run / "flowtap" / "dtcp.sock"
        path.unlink(missing_ok=True)
        self.path = path
        self.callers = []  # (pid, uid, gid) of each connection, from the kernel
        self.prefaces = []  # the bridge's own line, of each connection
        self._serve = serve or echo
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.callers.append(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with connection, contextlib.suppress(ConnectionError):
            line = b""
            while not line.endswith(b"\n") and (byte := connection.recv(1)):
                line += byte
            self.prefaces.append(line)
            self._serve(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink()


def lengthen_grace(run_dir, seconds):
    """sshd reads its configuration for each session, so this holds from the next one on. Ten seconds are enough for a
    login on any machine that somebody runs this on, but not for dozens at once on a slow one that does other things."""
    path = pathlib.Path(run_dir) / "sshd_config"
    shipped = path.read_text()
    fresh = path.with_suffix(".fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(shipped.replace("LoginGraceTime 10\n", f"LoginGraceTime {int(seconds)}\n"))
    assert fresh.read_text() != shipped
    fresh.rename(path)


def run(command, input=b"", env=None):
    """Runs a client to its end."""
    return subprocess.run(command, input=input, capture_output=True, check=False, env=env)


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def read_all(connection):
    received = bytearray()
    while data := connection.recv(65536):
        received += data
    return bytes(received)


def greeting(connection):
    """The first line that the server sends; empty where it closes without a word."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while not received.endswith(b"\n"):
            data = connection.recv(1)
            if not data:
                break
            received += data
    return received


def environment(pid):
    return dict(entry.split("=", 1) for entry in
                pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0") if "=" in entry)


def peak_memory(pid):
    """The most memory that the process has had, in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM of process {pid}")


def gone(pid):
    """Whether the process has ended; a zombie has."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def descriptors(pid):
    """What the process's descriptors refer to, by number."""
    folder = f"/proc/{pid}/fd"
    found = {}
    for number in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"{folder}/{number}")
    return found


__all__ = ["HOST", "SUBSYSTEM", "Gate", "Peer", "Session", "descriptors", "echo", "environment", "free_port", "gone", "greeting",
           "lengthen_grace", "peak_memory", "read_all", "run", "until"]
