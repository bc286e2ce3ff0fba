"""A DTCP client that signs and reads messages itself: it shares no code with what it tests.

    with Client.connect(socket_path, source, key, user=(uid, gid, groups)) as client:
        answer = client.request("ADD", "Source-Address: 10.0.0.1", ...)
        assert answer.code == 200
"""

import hashlib
import hmac
import os
import socket

from daemons import PATIENCE

TIMEOUT = PATIENCE


def signature(data, key):
    return hmac.new(key, data, hashlib.sha1).hexdigest()


def sign(data, key):
    """The message whose lines `data` holds, each with its line end, with its signature and the empty line."""
    return data + f"Authentication-Info: {signature(data, key)}\r\n\r\n".encode()


class Message:
    """A response, as read from the wire."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.decode().split("\r\n")
        self.first_line = lines[0]
        self.fields = []
        self.other_lines = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon and " " not in name.strip():
                self.fields.append((name.strip(), value.strip()))
            elif line:
                self.other_lines.append(line)

    @classmethod
    def parse(cls, raw):
        """The first message in the bytes."""
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            raise AssertionError(f"no whole message: {raw!r}")
        return cls(raw[:end + 4])

    @property
    def code(self):
        return int(self.first_line.split()[1])

    def names(self):
        return [name for name, _ in self.fields]

    def all(self, wanted):
        return [value for name, value in self.fields if name.upper() == wanted.upper()]

    def get(self, wanted, default=None):
        return next(iter(self.all(wanted)), default)

    def __getitem__(self, wanted):
        value = self.get(wanted)
        if value is None:
            raise KeyError(f"{wanted} in {self.raw!r}")
        return value

    def __contains__(self, wanted):
        return self.get(wanted) is not None

    def verified(self, key):
        """Whether the last line is the right signature of all before it."""
        start = self.raw.rfind(b"AUTHENTICATION-INFO:")
        return start > 0 and hmac.compare_digest(
            self.raw[start:].decode().split(":", 1)[1].strip(), signature(self.raw[:start], key))

    def entries(self):
        """Of a LIST answer: one dictionary a criterion."""
        found = []
        for name, value in self.fields:
            if name.upper() == "CRITERIA-ID":
                found.append({})
            if found:
                found[-1].setdefault(name.upper(), value)
        return found


def connect_as(path, user=None):
    """A connected unix socket; the kernel tells the server that `user` = (uid, gid, groups) is at its other end."""
    if user is None:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(path))
        return client
    uid, gid, groups = user
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(str(path))
            socket.send_fds(there, [b"x"], [client.fileno()])
            code = 0
        except OSError as error:
            there.send(error.strerror.encode())
        finally:
            os._exit(code)
    there.close()
    data, descriptors, _, _ = socket.recv_fds(here, 1024, 1)
    here.close()
    os.waitpid(child, 0)
    if not descriptors:
        raise PermissionError(data.decode())
    return socket.socket(fileno=descriptors[0])


class Client:
    """One session."""

    def __init__(self, connection, source, key):
        self.connection = connection
        self.connection.settimeout(TIMEOUT)
        self.source = source
        self.key = key
        self.sequence = 0
        self.buffer = b""

    @classmethod
    def connect(cls, path, source, key, user=None):
        return cls(connect_as(path, user), source, key)

    def message(self, method, *lines, version="0.7", key=None, source=None):
        self.sequence += 1
        text = [f"{method} DTCP/{version}", f"Csource-ID: {source or self.source}", f"Seq: {self.sequence}", *lines]
        return sign("".join(line + "\r\n" for line in text).encode(), key or self.key)

    def send(self, data):
        self.connection.sendall(data)

    def read(self):
        """The next message; its signature must be right. None: the server has ended the session."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.connection.recv(1 << 16)
            if not data:
                return None
            self.buffer += data
        message = Message.parse(self.buffer)
        self.buffer = self.buffer[len(message.raw):]
        assert message.verified(self.key), message.raw
        return message

    def request(self, method, *lines, **options):
        self.send(self.message(method, *lines, **options))
        answer = self.read()
        assert answer is not None, "the session was ended instead of an answer"
        assert answer["SEQ"] == str(self.sequence)
        return answer

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
