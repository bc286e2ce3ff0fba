"""dtcp.sock by itself: what a connection may start with, when one is closed for silence. Control alone; a NOOP needs no
dataplane."""

import os
import time

import pytest
from daemons import PATIENCE, Daemon, until
from dtcp_client import Client
from gatelab import CONFIG

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of the test's own need root")

KEY = b"Juniper"
IDLE = 2


@pytest.fixture
def control(accounts, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    key.chmod(0o600)
    config = tmp_path / "box.toml"
    config.write_text(CONFIG.format(key_file=key, port=32001, settings=f"idle-timeout = {IDLE}") +
                      f'[control]\nstate-dir = "{accounts.directory / "state"}"\n')
    with Daemon("flowtap-control", "--config", config, prefix=accounts.prefix, log=tmp_path / "control.log") as running:
        running.wait_for("ready")
        uid = accounts.uid("ft-ttp")
        running.user = (uid, uid, [accounts.uid("flowtap-operation")])
        running.path = accounts.run / "flowtap" / "dtcp.sock"
        yield running


def connect(control):
    return Client.connect(control.path, "ft-ttp", KEY, control.user)


def ended(connection):
    connection.settimeout(PATIENCE)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_connection_may_start_with_dtcp_or_with_one_preface(control):
    for start in (b"", b"\x01FLOWTAP-CLIENT 192.0.2.7\n", b"\x01FLOWTAP-CLIENT 2001:db8::7\n", b"\x01FLOWTAP-CLIENT -\n"):
        with connect(control) as client:
            for byte in start:
                client.send(bytes([byte]))
            assert client.request("NOOP").code == 200
        with connect(control) as client:
            # With the first request right behind it, in one piece.
            client.send(start + client.message("NOOP"))
            assert client.read().code == 200


def test_a_second_preface_is_part_of_a_message_that_nobody_signed(control):
    preface = b"\x01FLOWTAP-CLIENT 192.0.2.7\n"
    with connect(control) as client:
        client.send(preface + preface)
        # It is the start of the message that follows, whose signature it breaks: no answer, and the next one has one.
        client.send(client.message("NOOP"))
        assert client.request("NOOP").code == 200


@pytest.mark.parametrize("start", [b"\x01\n", b"\x01FLOWTAP-CLIENT \n", b"\x01FLOWTAP-CLIENT 1.2.3\n", b"\x01FLOWTAP-XLIENT",
                                   b"\x01FLOWTAP-CLIENT " + b"1" * 60])
def test_what_is_no_preface_and_no_dtcp_ends_the_connection(control, start):
    with connect(control) as client:
        client.send(start + client.message("NOOP"))
        assert ended(client.connection)
    until(lambda: "opens with what is no preface" in control.output(), "the log line")


def test_silence_ends_a_session(control):
    begin = time.monotonic()
    with connect(control) as silent, connect(control) as started:
        assert started.request("NOOP").code == 200
        for client in (silent, started):
            assert ended(client.connection)
            assert time.monotonic() - begin > IDLE - 0.5
    until(lambda: control.output().count(f"a session was closed: no byte came or went for {IDLE} s") == 2, "the log lines")


def test_traffic_keeps_a_session(control):
    """For twice the time that silence may last. A pause of the test's own, on a machine that stands still, proves nothing."""
    while True:
        with connect(control) as busy:
            first = last = time.monotonic()
            pause = 0
            while last - first < 2 * IDLE:
                busy.send(busy.message("NOOP"))
                answer = busy.read()
                now = time.monotonic()
                pause, last = max(pause, now - last), now
                if pause > IDLE / 4:
                    break
                assert answer is not None and answer.code == 200
                time.sleep(0.05)
            else:
                return
