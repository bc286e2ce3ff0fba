"""What stands behind the gate for dtcp, the client, in its tests: a peer that checks each request's bytes and answers as a test
likes; and dtcp's command line for that gate."""

import hashlib
import hmac

from daemons import PATIENCE, PROGRAMS
from gatelab import HOST, Peer, run

KEY = b"Juniper"
TIME = "TIMESTAMP: 2026-02-13 16:00:02.802"


def signature(data, key=KEY):
    return hmac.new(key, data, hashlib.sha1).hexdigest()


def message(*lines, key=KEY):
    head = "".join(f"{line}\r\n" for line in lines).encode()
    return head + b"AUTHENTICATION-INFO: " + signature(head, key).encode() + b"\r\n\r\n"


def ok(request, *lines):
    return message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", *lines, TIME)


class Request:
    """One request as its bytes came; the signature is checked here, by Python's own HMAC."""

    def __init__(self, raw):
        self.raw = raw
        signed, name, rest = raw.rpartition(b"AUTHENTICATION-INFO: ")
        assert name and rest == signature(signed).encode() + b"\r\n\r\n", raw
        self.lines = signed.decode().removesuffix("\r\n").split("\r\n")
        self.seq = int(self.field("SEQ"))

    def field(self, name):
        return next(line.partition(": ")[2] for line in self.lines if line.startswith(f"{name}: "))


class Service(Peer):
    """Answers each request with what answer(request) returns; None: never. With `talk` it is talk(connection) that
    serves."""

    def __init__(self, accounts, answer, talk=None):
        self.requests = []
        self.answer = answer
        super().__init__(accounts, talk or self._talk)

    def _talk(self, connection):
        buffered = b""
        while data := connection.recv(65536):
            buffered += data
            while b"\r\n\r\n" in buffered:
                raw, _, buffered = buffered.partition(b"\r\n\r\n")
                self.requests.append(Request(raw + b"\r\n\r\n"))
                answer = self.answer(self.requests[-1])
                if answer == b"":
                    return
                if answer is not None:
                    connection.sendall(answer)


class Client:
    def __init__(self, gate, folder):
        self.gate = gate
        self.folder = folder
        self.key = folder / "source.key"
        self.key.write_bytes(KEY + b"\n")
        self.key.chmod(0o600)

    def words(self, method, *more, host=HOST, port=None, identity=None, known_hosts=None, answer_timeout=PATIENCE,
              connect_timeout=PATIENCE, csource="ft-ttp"):
        accounts = self.gate.accounts
        known_hosts = known_hosts or accounts.known_hosts(HOST, self.gate.port)
        login = [] if identity == "" else ["--identity", identity or accounts.identity("ft-ttp")]
        return [PROGRAMS["dtcp"], method, "--host", host, "--port", str(port or self.gate.port), "--known-hosts",
                known_hosts, *login, "--csource", csource, "--key-file", self.key, "--state-dir", self.folder / "state",
                "--connect-timeout", str(connect_timeout), "--answer-timeout", str(answer_timeout), *more]

    def __call__(self, method, *more, **options):
        return run(self.words(method, *more, **options))
