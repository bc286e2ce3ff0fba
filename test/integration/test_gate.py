"""flowtap-gate with a real sshd and real clients: who gets in, that nothing but the exact subsystem is served, and that
the bridge carries every byte. A Python peer stands where the control process listens."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from daemons import PROGRAMS, Daemon
from gatelab import (HOST, SUBSYSTEM, Gate, Peer, Session, descriptors, environment, free_port, gone, greeting,
                     peak_memory, read_all, run, until)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sshd, mount namespaces")

REFUSAL = b"flowtap: only the subsystem flow-tap-dtcp is served here"
MEGABYTE = 1_000_000


# What is served ----------------------------------------------------------------------------------------------------


@pytest.mark.dtcp("1.ssh-subsystem", "1.ssh-identity")
def test_the_subsystem_is_bridged_to_control_as_the_account(accounts, gate, peer):
    for user in ("ft-ttp", "officer"):
        done = run(gate.subsystem(user=user), input=b"hello\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
        assert peer.callers[-1][1] == accounts.uid(user)


def test_a_password_logs_in_through_pam(accounts, gate, peer, tmp_path):
    answers = tmp_path / "askpass"
    def log_in(password):
        answers.write_text(f"#!/bin/sh\necho '{password}'\n")
        answers.chmod(0o700)
        return run(gate.subsystem(settings=["BatchMode=no", "PubkeyAuthentication=no", "NumberOfPasswordPrompts=1"]),
                   input=b"by password\n",
                   env={**os.environ, "SSH_ASKPASS": str(answers), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"})
    done = log_in(accounts.passwords["ft-ttp"])
    assert (done.returncode, done.stdout) == (0, b"by password\n"), done.stderr
    assert peer.callers[-1][1] == accounts.uid("ft-ttp")
    assert log_in("a wrong one").returncode == 255
    assert len(peer.callers) == 1


def test_only_the_operation_group_may_log_in(gate, peer):
    done = run(gate.subsystem(user="noc"))
    assert done.returncode == 255 and b"Permission denied" in done.stderr
    assert peer.callers == []
    until(lambda: "not allowed because none of user's groups are listed in AllowGroups" in gate.log(), "sshd's reason")


@pytest.mark.parametrize("command", [["id"], [SUBSYSTEM], ["flowtap-dtcp"], ["exec", "/bin/sh"], ["sftp-server"], []],
                         ids=["exec", "exec-of-its-name", "exec-of-the-bridge", "exec-of-a-shell", "exec-of-sftp", "shell"])
@pytest.mark.dtcp("1.ssh-subsystem")
def test_exec_and_shell_are_refused(gate, peer, command):
    done = run(gate.ssh(command=command), input=b"id\n")
    assert done.returncode == 1
    assert done.stdout == b""
    assert REFUSAL in done.stderr
    assert peer.callers == []


def test_the_forced_command_itself_is_refused_as_exec(gate, peer, accounts):
    forced = [line.partition(" ")[2] for line in (accounts.run / "flowtap" / "sshd_config").read_text().splitlines()
              if line.startswith("ForceCommand ")]
    done = run(gate.ssh(command=forced), input=b"hello\n")
    assert (done.returncode, done.stdout) == (1, b"") and REFUSAL in done.stderr
    assert peer.callers == []


@pytest.mark.parametrize("name", ["sftp", "flow-tap", "flow-tap-dtcp ", "FLOW-TAP-DTCP", "netconf"])
@pytest.mark.dtcp("1.ssh-subsystem")
def test_other_subsystems_are_refused(gate, peer, name):
    done = run(gate.ssh("-s", command=[name]), input=b"hello\n")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"subsystem request failed" in done.stderr
    assert peer.callers == []


def test_sftp_and_scp_are_refused(gate, peer, accounts, tmp_path):
    to_sftp = [word for word in gate.ssh() if word != HOST][1:]
    port = to_sftp.index("-p")
    to_sftp[port] = "-P"
    user = to_sftp.index("-l")
    del to_sftp[user:user + 2]
    for client in ("sftp", "scp"):
        words = [f"ft-ttp@{HOST}:/etc/passwd", str(tmp_path / "stolen")]
        done = run([client, *to_sftp, *(["-O"] if client == "scp" else []), *words])
        assert done.returncode != 0
        assert not (tmp_path / "stolen").exists()
    assert peer.callers == []


# What comes with SSH and is switched off -----------------------------------------------------------------------------


def closes_at_once(connection):
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


class Target:
    """A TCP service that nobody must reach."""

    def __enter__(self):
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        return self

    def reached(self):
        with contextlib.suppress(BlockingIOError):
            self._listener.accept()
            return True
        return False

    def __exit__(self, *_):
        self._listener.close()


def connected(port):
    with contextlib.suppress(ConnectionRefusedError):
        return socket.create_connection((HOST, port))
    return None


def test_local_forwarding_is_refused(gate):
    local = free_port()
    with Target() as target, Session(gate.ssh("-N", "-L", f"{local}:{HOST}:{target.port}")) as session:
        with until(lambda: connected(local), "the client's own listener") as connection:
            assert closes_at_once(connection)
        assert not target.reached()
        session.process.terminate()
        assert b"administratively prohibited" in session.process.stderr.read()


def test_dynamic_forwarding_is_refused(gate):
    local = free_port()
    with Target() as target, Session(gate.ssh("-N", "-D", f"{local}")) as session:
        with until(lambda: connected(local), "the client's own listener") as connection:
            connection.sendall(b"\5\1\0")
            assert connection.recv(2) == b"\5\0"
            connection.sendall(b"\5\1\0\1" + socket.inet_aton(HOST) + target.port.to_bytes(2, "big"))
            assert b"administratively prohibited" in session.process.stderr.readline()
        assert not target.reached()


def test_forwarding_to_a_unix_socket_is_refused(gate, accounts, tmp_path):
    """Else every account could speak to the control process's command-line socket."""
    with socket.socket(socket.AF_UNIX) as service:
        path = accounts.run / "flowtap" / "ctl.sock"
        service.bind(str(path))
        path.chmod(0o666)
        service.listen()
        service.setblocking(False)
        local = tmp_path / "local.sock"
        with Session(gate.ssh("-N", "-L", f"{local}:/run/flowtap/ctl.sock")):
            until(local.exists, "the client's own listener")
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(local))
                assert closes_at_once(connection)
            until(lambda: "refused streamlocal port forward" in gate.log(), "sshd's refusal")
            with pytest.raises(BlockingIOError):
                service.accept()
        path.unlink()


@pytest.mark.parametrize("kind", ["port", "unix socket"])
def test_remote_forwarding_is_refused(gate, accounts, kind):
    remote = str(free_port()) if kind == "port" else f"{accounts.run}/remote.sock"
    done = run(gate.ssh("-N", "-R", f"{remote}:{HOST}:22", settings=["ExitOnForwardFailure=yes"]))
    assert done.returncode == 255
    assert b"remote port forwarding failed" in done.stderr


def test_a_terminal_is_refused(gate, peer):
    done = run(gate.ssh("-tt", command=["tty"]))
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"PTY allocation request failed" in done.stderr
    assert peer.callers == []
    done = run(gate.subsystem("-tt"), input=b"hello\n")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"PTY allocation request failed" in done.stderr


def test_agent_x11_and_environment_are_refused(gate, peer, tmp_path):
    agent = tmp_path / "agent.sock"
    with Daemon("ssh-agent", "-D", "-a", agent, log=tmp_path / "agent.log"):
        until(agent.exists, "the agent")
        env = {**os.environ, "SSH_AUTH_SOCK": str(agent), "DISPLAY": "localhost:99"}
        command = gate.subsystem("-A", "-X", settings=["SetEnv=FLOWTAP_PLANTED=1 LC_ALL=C SSH_ORIGINAL_COMMAND=id"])
        with Session(command, env=env) as session:
            assert session.ask(b"hello\n") == b"hello\n"
            seen = environment(peer.callers[0][0])
            assert not {"SSH_AUTH_SOCK", "DISPLAY", "FLOWTAP_PLANTED", "LC_ALL"} & seen.keys()
            assert seen["SSH_ORIGINAL_COMMAND"] != "id"
            session.process.terminate()
            assert b"X11 forwarding request failed" in session.process.stderr.read()


def test_files_in_an_accounts_home_change_nothing(gate, peer, accounts, tmp_path):
    """~/.ssh/rc, ~/.ssh/environment and a command= in authorized_keys, should an account's home ever be writable."""
    ssh = accounts.directory / "home" / "ft-two" / ".ssh"
    ran = tmp_path / "ran"
    tmp_path.chmod(0o777)
    public = pathlib.Path(f"{accounts.identity('ft-two')}.pub").read_text()
    for name, text in (("rc", f"touch {accounts.directory}/home/ft-two/ran\n"), ("environment", "FLOWTAP_PLANTED=1\n"),
                       ("authorized_keys", f'environment="FLOWTAP_PLANTED=2",command="id",pty {public}')):
        (ssh / name).write_text(text)
        shutil.chown(ssh / name, accounts.uid("ft-two"), accounts.uid("ft-two"))
    ran = accounts.directory / "home" / "ft-two" / "ran"
    with Session(gate.subsystem(user="ft-two")) as session:
        assert session.ask(b"hello\n") == b"hello\n"
        assert "FLOWTAP_PLANTED" not in environment(peer.callers[0][0])
    assert not ran.exists()


def test_sshd_itself_says_that_the_rest_is_off(accounts, tmp_path):
    """What no ordinary client can try, and the defaults of another OpenSSH: the effective configuration."""
    with Gate(accounts, tmp_path, grace=None):
        done = run([*accounts.prefix, "/usr/sbin/sshd", "-T", "-f", "/run/flowtap/sshd_config"])
    effective = dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())
    expected = {
        "permittunnel": "no", "disableforwarding": "yes", "allowtcpforwarding": "no", "allowagentforwarding": "no",
        "allowstreamlocalforwarding": "no", "x11forwarding": "no", "gatewayports": "no", "permitopen": "none",
        "permitlisten": "none", "permittty": "no", "permituserrc": "no", "permituserenvironment": "no",
        "permitrootlogin": "no", "permitemptypasswords": "no", "hostbasedauthentication": "no",
        "gssapiauthentication": "no", "usepam": "yes", "logingracetime": "10", "maxauthtries": "3", "maxsessions": "1",
        "strictmodes": "yes", "allowgroups": "flowtap-operation", "usedns": "no",
    }
    assert {name: effective.get(name) for name in expected} == expected
    assert [line for line in done.stdout.decode().splitlines() if line.startswith("subsystem ")] == [
        f"subsystem {SUBSYSTEM} {effective['forcecommand'].split()[-1]}"]
    for algorithms in ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"):
        offered = effective[algorithms].split(",")
        assert offered and not [name for name in offered if "sha1" in name or "cbc" in name or "umac-64" in name or
                                name in ("ssh-rsa", "ssh-dss") or name.startswith("ssh-rsa-cert")], algorithms


def test_the_configuration_is_roots_alone(gate, accounts):
    status = (accounts.run / "flowtap" / "sshd_config").stat()
    assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o600)


# Who may connect -----------------------------------------------------------------------------------------------------


def test_the_access_list_closes_on_strangers_before_any_greeting(accounts, tmp_path):
    with Gate(accounts, tmp_path, access=["127.0.0.2/32", "127.0.1.0/24"]) as gate:
        for inside in ("127.0.0.2", "127.0.1.77"):
            with gate.connect(inside) as connection:
                assert greeting(connection).startswith(b"SSH-2.0-")
        for outside in ("127.0.0.1", "127.0.0.3", "127.0.2.1"):
            with gate.connect(outside) as connection:
                assert greeting(connection) == b""
        until(lambda: "by access list (3 since the start" in gate.log(), "the count")


@pytest.mark.dtcp("1.connection-limit")
def test_connection_limit_counts_sessions_until_their_sshd_ends(accounts, tmp_path):
    with Gate(accounts, tmp_path, connection_limit=2) as gate:
        with gate.connect() as first, gate.connect() as second:
            assert greeting(first) and greeting(second)
            with gate.connect() as third:
                assert greeting(third) == b""
            until(lambda: "1 by connection-limit (1 since the start, last from 127.0.0.1)" in gate.log(), "the count")
            first.close()
            until(lambda: len(gate.sessions()) == 1, "the end of the first session")
            with gate.connect() as fourth:
                assert greeting(fourth)


@pytest.mark.dtcp("1.rate-limit")
def test_rate_limit_is_attempts_a_minute(accounts, tmp_path):
    with Gate(accounts, tmp_path, rate_limit=3, access=["127.0.0.1/32", "127.0.0.2/32"]) as gate:
        for _ in range(5):  # strangers use up none of it
            with gate.connect("127.0.0.9") as stranger:
                assert greeting(stranger) == b""
        for _ in range(3):
            with gate.connect() as connection:
                assert greeting(connection)
        for source in ("127.0.0.1", "127.0.0.2"):
            with gate.connect(source) as connection:
                assert greeting(connection) == b""
        until(lambda: "by rate-limit (2 since the start, last from 127.0.0.2)" in gate.log(), "the count")


def test_a_flood_of_refusals_is_one_log_line_a_second(accounts, tmp_path):
    with Gate(accounts, tmp_path, access=["192.0.2.1/32"]) as gate:
        start = time.monotonic()
        for _ in range(500):
            with gate.connect() as connection:
                greeting(connection)
        until(lambda: "(500 since the start" in gate.log(), "the count")
        assert gate.log().count("refused:") <= time.monotonic() - start + 1


def test_a_silent_client_is_dropped_after_the_grace_time(accounts, tmp_path):
    """LoginGraceTime 10: no sooner, so that slow logins work, and it is sshd that ends it."""
    with Gate(accounts, tmp_path, grace=None) as gate:
        start = time.monotonic()
        with gate.connect() as connection:
            assert greeting(connection)
            assert read_all(connection) == b""
            assert 9 < time.monotonic() - start
        until(lambda: gate.sessions() == [], "the session's end")


def test_sshds_jail_is_made_again_where_another_service_removed_it(gate, accounts):
    (accounts.run / "sshd").rmdir()
    with gate.connect() as connection:
        assert greeting(connection)


def test_ended_sessions_are_reaped(gate):
    for _ in range(20):
        with gate.connect() as connection:
            assert greeting(connection)
    until(lambda: gate.sessions() == [], "the end of every sshd, zombies included")


def test_an_ipv6_client(accounts, tmp_path):
    with Gate(accounts, tmp_path, listen=["::1"], access=["::1/128"]) as gate:
        with socket.create_connection(("::1", gate.port)) as connection:
            assert greeting(connection).startswith(b"SSH-2.0-")


def test_every_address_of_both_families_is_the_default(accounts, tmp_path):
    with Gate(accounts, tmp_path) as narrow, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", narrow.port))
    config = (tmp_path / "box.toml").read_text().replace('listen = ["127.0.0.1"]\n', "")
    (tmp_path / "box.toml").write_text(config)
    with Daemon("flowtap-gate", "--config", tmp_path / "box.toml", prefix=accounts.prefix,
                log=tmp_path / "wide.log") as wide:
        wide.wait_for("ready")
        for host in ("127.0.0.1", "127.0.0.5", "::1"):
            with socket.create_connection((host, narrow.port)) as connection:
                assert greeting(connection).startswith(b"SSH-2.0-")


def test_sshd_gets_the_connection_and_nothing_else(gate):
    ours = {link for number, link in descriptors(gate.pid).items() if number > 2}
    with gate.connect() as connection:
        assert greeting(connection)
        log = {link for link in ours if link.startswith("pipe:")}
        for pid in gate.sessions():
            assert not (ours - log) & set(descriptors(pid).values())
            assert [number for number, link in descriptors(pid).items() if link in log] == [2]
            assert os.getsid(pid) == pid


def test_one_client_has_its_share_of_the_rate_limit_and_the_others_the_rest(accounts, tmp_path):
    with Gate(accounts, tmp_path, rate_limit=4, rate_limit_share=50) as gate:
        for source, admitted in (("127.0.0.1", 2), ("127.0.0.2", 1), ("127.0.0.1", 0), ("127.0.0.3", 1), ("127.0.0.4", 0)):
            for _ in range(admitted):
                with gate.connect(source) as connection:
                    assert greeting(connection)
            if source == "127.0.0.1" or not admitted:
                with gate.connect(source) as connection:
                    assert greeting(connection) == b""
        until(lambda: "by rate-limit-share (2 since the start, last from 127.0.0.1)" in gate.log() and
              "by rate-limit (1 since the start, last from 127.0.0.4)" in gate.log(), "the counts")


STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (gate|sshd)\b")


def test_every_line_of_the_log_has_a_time_sshds_too(gate, peer):
    assert run(gate.subsystem(), input=b"hello\n").returncode == 0
    assert run(gate.subsystem(user="noc")).returncode == 255
    until(lambda: "AllowGroups" in gate.log() and "Accepted publickey for ft-ttp" in gate.log(), "sshd's lines")
    assert [line for line in gate.log().splitlines() if not STAMPED.match(line)] == []
    assert "\r" not in gate.log()


def test_sessions_log_on_after_the_gate_has_ended(gate, peer):
    with Session(gate.subsystem()) as session:
        assert session.ask(b"hello\n") == b"hello\n"
        log = gate.log_process()
        gate.stop()
        with pytest.raises(ConnectionRefusedError):
            gate.connect()
        assert session.ask(b"still there\n") == b"still there\n" and not gone(log)
        session.process.stdin.close()
        assert session.process.wait() == 0
    until(lambda: "sshd: Disconnected from user ft-ttp" in gate.log(), "the session's last lines")
    until(lambda: gone(log), "the end of the log process")


def test_a_killed_log_process_is_replaced_and_harms_no_session(gate, peer):
    with Session(gate.subsystem()) as session:
        assert session.ask(b"hello\n") == b"hello\n"
        log = gate.log_process()
        os.kill(log, signal.SIGKILL)
        until(lambda: gate.log_process() != log, "a new one")
        assert session.ask(b"still there\n") == b"still there\n"
    assert run(gate.subsystem(user="officer"), input=b"hello\n").stdout == b"hello\n"
    until(lambda: "sshd: Accepted publickey for officer" in gate.log(), "the next session's lines")
    # The new one holds no listener: the port is free once the gate is gone.
    gate.stop()
    with pytest.raises(ConnectionRefusedError):
        gate.connect()


# The bridge ----------------------------------------------------------------------------------------------------------


def test_the_bridge_says_first_where_the_client_connects_from(accounts, gate, peer):
    forged = b"\x01FLOWTAP-CLIENT 203.0.113.9\n"
    done = run(gate.subsystem("-b", "127.0.0.7"), input=forged + b"hello\n")
    assert peer.prefaces == [b"\x01FLOWTAP-CLIENT 127.0.0.7\n"]
    assert done.stdout == forged + b"hello\n"  # what the client sends comes after it, as it is
    # Neither can the client set the variable that it is read from.
    run(gate.subsystem(settings=["SetEnv=SSH_CONNECTION='203.0.113.9 1 203.0.113.8 2'"]), input=b"hello\n")
    assert peer.prefaces[1:] == [b"\x01FLOWTAP-CLIENT 127.0.0.1\n"]


def test_a_bridge_without_sshd_says_that_it_does_not_know(accounts, gate, peer):
    without = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    done = run([PROGRAMS["flowtap-dtcp"], "--socket", peer.path], input=b"\x01FLOWTAP-CLIENT 203.0.113.9\n", env=without)
    assert done.returncode == 0 and peer.prefaces == [b"\x01FLOWTAP-CLIENT -\n"]


def test_the_clients_end_is_passed_on_and_answers_still_come(accounts, gate):
    answer = os.urandom(3 * MEGABYTE)
    received = []
    def serve(connection):
        received.append(read_all(connection))
        connection.sendall(answer)
    with Peer(accounts, serve):
        done = run(gate.subsystem(), input=b"request\n")
    assert received == [b"request\n"]
    assert (done.returncode, done.stdout == answer) == (0, True)


def test_the_services_end_ends_the_session(accounts, gate):
    def serve(connection):
        connection.sendall(b"bye\n")
    with Peer(accounts, serve), Session(gate.subsystem()) as session:
        assert session.process.stdout.read() == b"bye\n"
        assert session.process.wait() == 0


def test_a_client_that_vanishes_ends_the_bridge(accounts, gate):
    ended = threading.Event()
    def serve(connection):
        connection.sendall(b"here\n")
        read_all(connection)
        ended.set()
    with Peer(accounts, serve) as peer, Session(gate.subsystem()) as session:
        assert session.process.stdout.readline() == b"here\n"
        session.process.kill()
        until(ended.is_set, "the service told")
        until(lambda: gone(peer.callers[0][0]), "the bridge's end")
        until(lambda: gate.sessions() == [], "the session's end")


def test_control_not_reachable_is_an_exit_status_and_reveals_nothing(gate, accounts):
    """sshd passes on a subsystem's exit status and drops its standard error, which says the same to who runs it."""
    assert not (accounts.run / "flowtap" / "dtcp.sock").exists()
    done = run(gate.subsystem(), input=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (69, b"", b"")
    done = run([PROGRAMS["flowtap-dtcp"], "--socket", accounts.run / "flowtap" / "dtcp.sock"])
    assert (done.returncode, done.stdout) == (69, b"")
    assert done.stderr == b"flowtap: the DTCP service cannot be reached\n"


@pytest.mark.parametrize("arguments", [[], ["--socket"], ["--socket", "x", "y"], ["--socket", "x" * 108]])
def test_the_bridges_arguments(arguments):
    done = run([PROGRAMS["flowtap-dtcp"], *arguments])
    assert done.returncode == (69 if len(arguments) == 2 else 2) and done.stderr


def still(value):
    """Waits until value() stays the same for a second, and returns it."""
    last, since = value(), time.monotonic()
    def quiet():
        nonlocal last, since
        if (now := value()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 1
    until(quiet, "an end of the changes")
    return last


def idle_memory(gate, peer):
    with Session(gate.subsystem()) as session:
        assert session.ask(b"hello\n") == b"hello\n"
        return peak_memory(peer.callers[-1][0])


def test_a_slow_service_stops_the_client_and_the_bridge_does_not_grow(accounts, gate, tmp_path):
    with Peer(accounts) as peer:
        idle = idle_memory(gate, peer)
    requests = os.urandom(20 * MEGABYTE)
    (tmp_path / "requests").write_bytes(requests)
    go, received = threading.Event(), []
    def serve(connection):
        go.wait()
        received.append(read_all(connection))
    with Peer(accounts, serve) as peer, open(tmp_path / "requests", "rb") as source:
        client = subprocess.Popen(gate.subsystem(), stdin=source, stdout=subprocess.DEVNULL)
        until(lambda: peer.callers, "the bridge")
        assert still(lambda: os.lseek(source.fileno(), 0, os.SEEK_CUR)) < 10 * MEGABYTE
        memory = peak_memory(peer.callers[0][0])
        go.set()
        assert client.wait() == 0
        assert received == [requests]
        assert memory < idle + MEGABYTE


def test_a_slow_client_stops_the_service_and_the_bridge_does_not_grow(accounts, gate):
    with Peer(accounts) as peer:
        idle = idle_memory(gate, peer)
    answer = os.urandom(20 * MEGABYTE)
    sent = 0
    def serve(connection):
        nonlocal sent
        while sent < len(answer):
            sent += connection.send(answer[sent:sent + 65536])
    with Peer(accounts, serve) as peer, Session(gate.subsystem()) as session:
        until(lambda: sent, "the first of the answer")
        assert still(lambda: sent) < 10 * MEGABYTE
        assert peak_memory(peer.callers[0][0]) < idle + MEGABYTE
        assert session.process.stdout.read() == answer
