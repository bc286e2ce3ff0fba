"""flowtap-gate's start and stop: what becomes of sessions, and that what is missing or wrong is named."""

import os
import shutil

import pytest
from daemons import PROGRAMS
from gatelab import HOST, Gate, Peer, Session, gone, greeting, run, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sshd, mount namespaces")


def test_sessions_go_on_when_the_gate_stops(gate, peer):
    with Session(gate.subsystem()) as session:
        assert session.ask(b"one\n") == b"one\n"
        assert gate.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            gate.connect()
        assert session.ask(b"two\n") == b"two\n"
        session.process.stdin.close()
        assert session.process.wait() == 0


def test_sessions_end_with_the_gate_where_asked(accounts, tmp_path):
    with Gate(accounts, tmp_path, "--end-sessions") as gate, Peer(accounts) as peer:
        with Session(gate.subsystem()) as session:
            assert session.ask(b"one\n") == b"one\n"
            assert gate.stop() == 0
            assert session.process.wait() == 255
            until(lambda: gone(peer.callers[0][0]), "the bridge's end")
        assert "0 sessions go on" in gate.log()


def test_a_restarted_gate_takes_over_while_old_sessions_go_on(accounts, tmp_path):
    with Gate(accounts, tmp_path) as first, Peer(accounts):
        with Session(first.subsystem()) as session:
            assert session.ask(b"one\n") == b"one\n"
            first.stop()
            (tmp_path / "second").mkdir()
            with Gate(accounts, tmp_path / "second", port=first.port) as second:
                done = run(second.subsystem(), input=b"new\n")
                assert (done.returncode, done.stdout) == (0, b"new\n"), done.stderr
                assert session.ask(b"two\n") == b"two\n"


def ended(gate):
    return gate.daemon.wait(), gate.log()


def test_an_address_in_use_is_named(accounts, gate, tmp_path):
    (tmp_path / "second").mkdir()
    code, log = ended(Gate(accounts, tmp_path / "second", port=gate.port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1 port {gate.port}: another process listens there" in log


def test_an_address_that_no_interface_has_yet_does_not_stop_the_start(accounts, tmp_path):
    with Gate(accounts, tmp_path, listen=["192.0.2.55", HOST]) as gate:
        assert f"192.0.2.55 port {gate.port}, an address that no interface has yet" in gate.log()
        with gate.connect() as connection:
            assert greeting(connection)


def test_a_missing_host_key_is_a_configuration_error(accounts, tmp_path):
    code, log = ended(Gate(accounts, tmp_path, host_keys=[tmp_path / "none"]))
    assert code == 2 and str(tmp_path / "none") in log


def test_a_host_key_that_sshd_refuses_is_a_configuration_error(accounts, tmp_path):
    loose = tmp_path / "loose"
    shutil.copy(accounts.host_key, loose)
    loose.chmod(0o644)
    code, log = ended(Gate(accounts, tmp_path, host_keys=[loose]))
    assert code == 2 and "UNPROTECTED PRIVATE KEY FILE" in log and "refuses" in log


def test_a_run_dir_that_others_may_change_is_refused(accounts, tmp_path):
    run_dir = accounts.run / "flowtap"
    try:
        os.chown(run_dir, accounts.uid("flowtap-control"), 0)
        code, log = ended(Gate(accounts, tmp_path))
        assert code == 2 and "/run/flowtap" in log and "owned by root" in log
        os.chown(run_dir, 0, accounts.uid("flowtap-control"))
        run_dir.chmod(0o1775)
        with Gate(accounts, tmp_path) as gate, gate.connect() as connection:
            assert greeting(connection)
    finally:
        os.chown(run_dir, 0, 0)
        run_dir.chmod(0o755)


def test_privileges_that_are_missing_are_named(accounts):
    folder = accounts.directory / "box"
    folder.mkdir()
    code, log = ended(Gate(accounts, folder, prefix=["setpriv", "--bounding-set=-setgid,-sys_chroot"]))
    assert code == 3 and "CAP_SETGID, CAP_SYS_CHROOT missing" in log

    program = accounts.install(PROGRAMS["flowtap-gate"])
    done = run([*accounts.prefix, "setpriv", f"--reuid={accounts.uid('noc')}", "--clear-groups", program, "--config",
                folder / "box.toml"])
    assert done.returncode == 3 and b"root is missing" in done.stderr


def test_port_below_1024_without_the_capability(accounts, tmp_path):
    code, log = ended(Gate(accounts, tmp_path, prefix=["setpriv", "--bounding-set=-net_bind_service"], port=1022))
    assert code == 3 and "CAP_NET_BIND_SERVICE" in log


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--config", "x", "y"], ["--nonsense"]])
def test_wrong_arguments(arguments):
    done = run([PROGRAMS["flowtap-gate"], *arguments])
    assert done.returncode == 2 and b"--help" in done.stderr


def test_a_wrong_configuration_is_told_with_file_and_line(accounts, tmp_path):
    code, log = ended(Gate(accounts, tmp_path, connection_limit=251))
    assert code == 2 and f"{tmp_path / 'box.toml'}:" in log and "250" in log
