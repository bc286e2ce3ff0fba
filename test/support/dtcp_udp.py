"""DTCP over UDP: a client with a number of its own, and a peer that gets notifications."""

import socket

from dtcp_client import TIMEOUT, Message, sign

QUIET = 0.3  # seconds in which an answer on the loopback would have come


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class UdpClient:
    def __init__(self, server, source, key, sequence=0):
        """`server`: (address, port)."""
        self.server = server
        self.source = source
        self.key = key
        self.sequence = sequence
        self.socket = socket.socket(family_of(server[0]), socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)

    def message(self, method, *lines, version="0.7", key=None, source=None, sequence=None):
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        text = [f"{method} DTCP/{version}", f"Csource-ID: {source or self.source}", f"Seq: {sequence}", *lines]
        return sign("".join(line + "\r\n" for line in text).encode(), key or self.key)

    def send(self, data, server=None):
        self.socket.sendto(data, server or self.server)

    def read(self, timeout=TIMEOUT):
        """The next datagram, which is one whole message with the right signature, and who sent it. None: nothing."""
        self.socket.settimeout(timeout)
        try:
            data, peer = self.socket.recvfrom(1 << 16)
        except TimeoutError:
            return None
        message = Message.parse(data)
        assert message.raw == data, "one message a datagram"
        assert message.verified(self.key), data
        return message, peer[:2]

    def request(self, method, *lines, **options):
        data = self.message(method, *lines, **options)
        self.send(data)
        answer, peer = self.read()
        assert peer == self.server, "the answer comes from where the request went"
        assert answer["SEQ"] == str(options.get("sequence") or self.sequence)
        return answer

    def quiet(self):
        """Whether nothing comes. By the clock, because it must be: what is asserted is that nothing happens."""
        return self.read(QUIET) is None

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Peer:
    """Where notifications go."""

    def __init__(self, key, address="127.0.0.1"):
        self.key = key
        self.socket = socket.socket(family_of(address), socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(TIMEOUT)
        self.port = self.socket.getsockname()[1]

    def read(self, timeout=TIMEOUT):
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return None
        message = Message.parse(data)
        assert message.raw == data and message.verified(self.key), data
        assert "SEQ" not in message and "TIMESTAMP" in message
        return message

    def expect(self, code):
        """The next notification, which has that code."""
        message = self.read()
        assert message is not None, f"no notification {code}"
        assert message.code == code, message.raw
        return message

    def close(self):
        self.socket.close()


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
