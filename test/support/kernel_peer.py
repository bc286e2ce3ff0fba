"""A real Linux kernel as the other end of a tunnel: Debian's user-mode-linux, an ordinary process with an IPsec stack.

The kernel sees the host's files read-only as its root, and one folder of the peer's own. Its interface `vec0` is a TAP
interface of a network namespace that the caller made. Commands are run inside by run(). Everything ends with close().
"""

import pathlib
import re
import shutil
import subprocess
import tempfile

from daemons import Daemon, until

LINUX = "/usr/bin/linux.uml"
MODULES = ("esp4", "esp6", "xfrm_user", "dummy", "tun")  # all others the kernel asks for

# Our name of a suite: how `ip xfrm` spells it, with {cipher} and {authentication} for the keys.
XFRM = {
    "aes-128-gcm-16": "aead 'rfc4106(gcm(aes))' {cipher} 128",
    "aes-256-gcm-16": "aead 'rfc4106(gcm(aes))' {cipher} 128",
    "chacha20-poly1305": "aead 'rfc7539esp(chacha20,poly1305)' {cipher} 128",
    "3des-cbc-hmac-sha1-96": "enc 'cbc(des3_ede)' {cipher} auth-trunc 'hmac(sha1)' {authentication} 96",
} | {
    f"aes-{bits}-cbc-{name}": f"enc 'cbc(aes)' {{cipher}} auth-trunc '{kernel}' {{authentication}} {length}"
    for bits in (128, 256)
    for name, kernel, length in (("hmac-sha1-96", "hmac(sha1)", 96), ("hmac-sha-256-128", "hmac(sha256)", 128),
                                 ("hmac-sha-384-192", "hmac(sha384)", 192), ("hmac-sha-512-256", "hmac(sha512)", 256))
}


def available():
    """Whether this machine can run it."""
    return pathlib.Path(LINUX).exists() and pathlib.Path("/dev/net/tun").exists()


class Receiver:
    """See KernelPeer.receive."""

    def __init__(self, peer, name):
        self.file = peer.folder / name
        self._peer, self._name = peer, name

    def stop(self):
        """Takes what has arrived, then ends."""
        if self._name is not None:
            self._peer.run(f"kill -TERM $(cat {self._name}.pid)")
            until(lambda: "finished" in (self._peer.folder / f"{self._name}.log").read_text(), "the receiver's end")
            self._name = None


class KernelPeer:
    """Use as a context manager. `prefix`: a command prefix into the namespace that holds the TAP interface `tap`."""

    def __init__(self, prefix, tap, mac, mtu=9000):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ft-peer-"))
        self.process = None
        self._prefix, self._tap, self._mac, self._mtu = prefix, tap, mac, mtu
        self._commands = 0
        self._ended = False

    def start(self):
        init = pathlib.Path(__file__).resolve().with_name("kernel_peer_init")
        self.process = Daemon(
            LINUX, "mem=2G", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "con=null", "con0=null,fd:1",
            "quiet", f"vec0:transport=tap,ifname={self._tap},depth=128,gro=0,mac={self._mac},mtu={self._mtu}",
            f"FOLDER={self.folder}", f"MODULES={','.join(MODULES)}", log=self.folder / "console", prefix=self._prefix,
            # Its memory is a file: where the host's programs have theirs.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/dev/shm", "HOME": str(self.folder)})
        self._await("ready")
        # What arrives at once waits in the socket, in buffers as long as the longest frame.
        self.run(f"ip link set vec0 mtu {self._mtu} up\nsysctl -qw net.ipv4.udp_mem='400000 400000 400000'")
        return self

    def _await(self, name):
        path = self.folder / f"{name}.code"

        def there():
            if self.process.process.poll() is not None:
                raise AssertionError(f"the peer kernel ended:\n{self.process.output()[-4000:]}")
            return path.exists() and path.read_text().strip()
        return until(there, f"{name} from the peer kernel; its console:\n{self.process.output()[-4000:]}")

    def run(self, script, check=True):
        """Runs a shell script inside, stopping at its first failure; returns what it said."""
        self._commands += 1
        name = f"c{self._commands:04}"
        part = self.folder / f"{name}.part"
        part.write_text(script + "\n")
        part.rename(self.folder / f"{name}.sh")
        code = self._await(name)
        said = (self.folder / f"{name}.out").read_text(errors="replace")
        if check and code != "0":
            raise AssertionError(f"in the peer kernel: {script}\nexit {code}: {said}")
        return said

    def receive(self, address, port, name):
        """Writes what arrives at the port into the file `name` of `folder`, each payload a raw packet, until stop() of what is returned."""
        receiver = pathlib.Path(__file__).resolve().with_name("kernel_peer_receiver.py")
        self.run(f"/usr/bin/python3 {receiver} {address} {port}:{name} >{name}.log 2>&1 & echo $! >{name}.pid")
        until(lambda: "listening" in (self.folder / f"{name}.log").read_text(), "the receiver in the peer kernel")
        return Receiver(self, name)

    def take_esp_in_udp(self, *addresses):
        """From now on the kernel takes ESP out of UDP at port 4500 of its addresses (RFC 3948)."""
        helper = pathlib.Path(__file__).resolve().with_name("kernel_peer_encap.py")
        self.run(f"/usr/bin/python3 {helper} {' '.join(addresses)} >encap.log 2>&1 &")
        until(lambda: "listening" in (self.folder / "encap.log").read_text(), "the sockets of port 4500 in the peer kernel")

    def tunnel(self, *, local, remote, spi, suite, cipher, authentication=b"", inner="0.0.0.0/0", outbound=False,
               window=1024, extended=False, mode="tunnel", udp=False, padded=0):
        """Installs an SA and its policy: packets to `remote`, or with `outbound` packets from `local` to `inner`. In UDP at
        port 4500; filled to `padded` bytes where it seals."""
        algorithms = XFRM[suite].format(cipher="0x" + cipher.hex(), authentication="0x" + authentication.hex())
        flags = ["esn"] * extended + ["af-unspec"] * ((":" in inner) != (":" in local))  # else inner and outer are of one family
        replay = f"replay-window {0 if outbound and not extended else window}"  # the kernel wants one with extended ones
        family = "-6 " if ":" in inner else ""
        everything = "::/0" if ":" in inner else "0.0.0.0/0"
        options = [f"encap espinudp 4500 4500 {'::' if ':' in local else '0.0.0.0'}"] * udp + [f"tfcpad {padded}"] * bool(padded)
        state = f"ip xfrm state add src {local} dst {remote} proto esp spi {spi:#x} mode {mode} {replay} "\
                f"{'flag' if flags else ''} {' '.join(flags)} {algorithms} {' '.join(options)}"
        template = f"tmpl src {local} dst {remote} proto esp mode {mode}"
        ways = [("out", everything, inner)] if outbound else [("in", everything, inner), ("fwd", everything, inner)]
        policies = [f"ip {family}xfrm policy add dir {way} src {source} dst {destination} {template}"
                    for way, source, destination in ways]
        self.run("\n".join([state, *policies]))

    def statistics(self):
        """The kernel's IPsec error counters that are not 0 (Documentation/networking/xfrm_proc.rst)."""
        rows = (line.split() for line in self.run("cat /proc/net/xfrm_stat").splitlines())
        return {name: int(value) for name, value in rows if int(value)}

    def taken(self, spi):
        """Of an inbound SA: (packets that it took, the highest sequence number among them)."""
        state = self.run(f"ip -s xfrm state list spi {spi:#x}")
        packets = re.search(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", state)
        sequence = re.search(r"seq-hi (0x[0-9a-f]+), seq (0x[0-9a-f]+)", state)
        assert packets and sequence, state
        return int(packets[1]), int(sequence[1], 16) << 32 | int(sequence[2], 16)

    def close(self):
        if self._ended:
            return
        self._ended = True
        if self.process is not None and self.process.process.poll() is None:
            (self.folder / "halt").touch()
            try:
                self.process.wait()
            except subprocess.TimeoutExpired:
                self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
