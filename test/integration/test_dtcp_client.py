"""dtcp, the mediation device's client, through a real gate and sshd to a Python peer that checks each request's bytes and
answers as it likes: what the client sends, believes, prints, and how it exits."""

import concurrent.futures
import json
import os
import pathlib
import socket
import stat
import subprocess

import pytest
from daemons import PROGRAMS
from dtcp_service import KEY, TIME, Client, Request, Service, message, ok
from gatelab import HOST, Gate, free_port, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sshd, mount namespaces")

@pytest.fixture
def dtcp(gate, tmp_path):
    return Client(gate, tmp_path)


# Requests and answers ------------------------------------------------------------------------------------------------


def test_add_sends_every_option_as_its_parameter_and_tells_the_id(accounts, dtcp):
    with Service(accounts, lambda request: ok(request, "CRITERIA-ID: 18446744073709551615")) as service:
        options = {
            "cdest": "cd1,cd2", "source-address": "10.0.0.0/8,!10.1.2.3", "dest-address": "*-192.0.2.9", "protocol": "6,17",
            "source-port": "1024-*", "dest-port": "!53", "icmp-type": "8", "icmp-code": "0", "timeout-idle": "600",
            "timeout-total": "86400", "timeout-packets": "18446744073709551615", "timeout-bytes": "1", "priority": "2",
            "action": "Copy", "cdest-address": "192.0.2.1,192.0.2.2", "cdest-port": "9,10",
            "cdest-source-address": "192.0.2.3,192.0.2.3", "cdest-source-port": "7,8", "cdest-ttl": "64,65",
            "ip-version": "ipv6", "intercept-id": "0x0123456789abcdef", "vrf": "blue", "input-interface": "xe-0/0/0.7",
            "output-interface": "xe-0/0/1", "filter-family": "ccc", "interface-id": "xe-0/0/2", "user-name": "a@b",
            "session-id": "s1", "ip-addr": "192.0.2.9",
        }
        done = dtcp("add", *(word for name, value in options.items() for word in (f"--{name}", value)), "--static",
                    "--send-async", "--parameter", "X-Other:  blue", "--parameter", "X-Note: a:b", "--seq", "7")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"added: criteria-id 18446744073709551615\n", b"")
    special = {"cdest": "CDEST-ID", "cdest-address": "X-JTAP-CDEST-DEST-ADDRESS", "cdest-port": "X-JTAP-CDEST-DEST-PORT",
               "cdest-source-address": "X-JTAP-CDEST-SOURCE-ADDRESS", "cdest-source-port": "X-JTAP-CDEST-SOURCE-PORT",
               "cdest-ttl": "X-JTAP-CDEST-TTL", "ip-version": "X-JTAP-IP-VERSION", "intercept-id": "X-MD-INTERCEPT-ID",
               "vrf": "X-JTAP-VRF-NAME", "input-interface": "X-JTAP-INPUT-INTERFACE",
               "output-interface": "X-JTAP-OUTPUT-INTERFACE", "filter-family": "X-JTAP-FILTER-FAMILY",
               "interface-id": "X-INTERFACE-ID", "user-name": "X-USERNAME", "session-id": "X-ACT-SESS-ID", "ip-addr": "X-IP-ADDR"}
    assert service.requests[0].lines == [
        "ADD DTCP/0.7", *(f"{special.get(name, name.upper())}: {value}" for name, value in options.items()),
        "Flags: Static,SendAsync", "X-Other: blue", "X-Note: a:b", "CSOURCE-ID: ft-ttp", "SEQ: 7"]


@pytest.mark.parametrize("words, lines", [
    (["delete", "--criteria-id", "1-5,!3", "--static"], ["DELETE DTCP/0.7", "CRITERIA-ID: 1-5,!3", "Flags: Static"]),
    (["delete", "--cdest", "cd1"], ["DELETE DTCP/0.7", "CDEST-ID: cd1"]),
    (["refresh", "--criteria-id", "7", "--timeout-idle", "0", "--timeout-bytes", "9"],
     ["REFRESH DTCP/0.7", "CRITERIA-ID: 7", "TIMEOUT-IDLE: 0", "TIMEOUT-BYTES: 9"]),
    (["refresh", "--cdest", "cd1", "--timeout-total", "5", "--timeout-packets", "6"],
     ["REFRESH DTCP/0.7", "CDEST-ID: cd1", "TIMEOUT-TOTAL: 5", "TIMEOUT-PACKETS: 6"]),
    (["enable", "--criteria-id", "*", "--drop-policy", "voip", "--static"],
     ["ENABLE DTCP/0.7", "CRITERIA-ID: *", "X-DROP-POLICY: voip", "Flags: Static"]),
    (["disable", "--criteria-id", "3", "--drop-policy", "voip"],
     ["DISABLE DTCP/0.7", "CRITERIA-ID: 3", "X-DROP-POLICY: voip"]),
    (["list"], ["LIST DTCP/0.7"]),
    (["list", "--cdest", "cd1", "--flags", "Stats"], ["LIST DTCP/0.7", "CDEST-ID: cd1", "Flags: Stats"]),
    (["noop", "--dtcp-version", "0.6"], ["NOOP DTCP/0.6"]),
    (["noop", "--dtcp-version", "0.8", "--send-async"], ["NOOP DTCP/0.8", "Flags: SendAsync"]),
])
def test_the_other_requests(accounts, dtcp, words, lines):
    with Service(accounts, lambda request: ok(request, "CRITERIA-COUNT: 2")) as service:
        done = dtcp(*words)
    assert done.returncode == 0, done.stderr
    assert service.requests[0].lines == [*lines, "CSOURCE-ID: ft-ttp", "SEQ: 1"]
    assert done.stdout == {"delete": b"deleted: 2\n", "refresh": b"refreshed: 2\n", "enable": b"changed: 2\n",
                           "disable": b"changed: 2\n", "list": b"0 taps\n", "noop": b"200 OK\n"}[words[0]]


def test_no_value_can_add_a_line(dtcp):
    words = [PROGRAMS["dtcp"], "add", "--print", "--seq", "1", "--key-file", dtcp.key, "--csource", "\u00e9\r\nFlags: x",
             "--cdest", "a\nb", "--parameter", "X-A:\r\n\r\nADD DTCP/0.7"]
    assert Request(run(words).stdout).lines == ["ADD DTCP/0.7", "CDEST-ID: a\\010b", "X-A: \\013\\010\\013\\010ADD DTCP/0.7",
                                                "CSOURCE-ID: \u00e9\\013\\010Flags: x", "SEQ: 1"]


ENTRIES = [[f"CRITERIA-ID: {100 + place}", "CSOURCE-ID: ft-ttp", "CDEST-ID: cd\\0441", f"{TIME}",
            "SOURCE-ADDRESS: 10.0.0.1", "MATCHING-PACKETS: 18446744073709551615", f"CRITERIA-NUM: {place}",
            "CRITERIA-COUNT: 3"] for place in (1, 2, 3)]


def in_parts(request):
    head = ["DTCP/0.7 200 OK", f"SEQ: {request.seq}", TIME]
    return message(*head, *ENTRIES[0], *ENTRIES[1]) + message(*head, *ENTRIES[2])


def in_one(request):
    return message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", TIME, *(line for entry in ENTRIES for line in entry))


@pytest.mark.parametrize("answer", [in_parts, in_one])
def test_list_shows_every_entry_of_every_part(accounts, dtcp, answer):
    with Service(accounts, answer):
        text = dtcp("list")
        object_ = dtcp("list", "--json")
    assert text.returncode == object_.returncode == 0
    assert text.stdout.decode().count("criteria-id: ") == 3 and text.stdout.endswith(b"3 taps\n")
    shown = json.loads(object_.stdout)
    assert shown["outcome"] == "done" and shown["code"] == 200 and "criteria_id" not in shown["fields"]
    assert [entry["criteria_id"] for entry in shown["entries"]] == [101, 102, 103]
    assert shown["entries"][0]["matching_packets"] == 2**64 - 1
    assert shown["entries"][0]["cdest_id"] == "cd,1"


def test_a_long_list_in_small_pieces(accounts, dtcp):
    count = 3000
    def answer(request):
        lines = [line for place in range(1, count + 1) for line in (
            f"CRITERIA-ID: {place}", f"SOURCE-ADDRESS: 10.0.{place // 256}.{place % 256}", f"CRITERIA-NUM: {place}",
            f"CRITERIA-COUNT: {count}")]
        return message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", TIME, *lines)
    with Service(accounts, answer):
        done = dtcp("list", "--json")
    assert [entry["criteria_num"] for entry in json.loads(done.stdout)["entries"]] == list(range(1, count + 1))


@pytest.mark.parametrize("status, code", [
    ("400 BAD REQUEST", 4), ("430 UNKNOWN CDEST", 4), ("432 IMPROPER FILTER", 4), ("901 JTAP-FAILURE", 4),
    ("500 INTERNAL ERROR", 6), ("501 NOT IMPLEMENTED", 6), ("505 VERSION", 6), ("550 TOO MANY CRITERIA", 6)])
def test_a_refusal_has_its_exit_code_and_shows_the_line(accounts, dtcp, status, code):
    def answer(request):
        return message(f"DTCP/0.7 {status}", f"SEQ: {request.seq}", "DEST-PORT: 99999", TIME)
    with Service(accounts, answer):
        text = dtcp("add", "--dest-port", "99999")
        object_ = dtcp("add", "--dest-port", "99999", "--json")
    assert (text.returncode, text.stdout) == (code, b"")
    assert text.stderr == f"dtcp: the server answers {status}; DEST-PORT: 99999\n".encode()
    shown = json.loads(object_.stdout)
    assert object_.returncode == code and shown["code"] == int(status[:3])
    assert shown["outcome"] == {4: "refused", 6: "server-failure"}[code]


def test_a_refusal_without_a_sequence_number_is_the_answer(accounts, dtcp):
    with Service(accounts, lambda request: message("DTCP/0.7 400 BAD REQUEST", "ADD DTCP", TIME)):
        done = dtcp("add")
    assert done.returncode == 4 and b"; ADD DTCP\n" in done.stderr


# What is not believed ------------------------------------------------------------------------------------------------


def unsigned(request):
    return ok(request, "CRITERIA-ID: 1").partition(b"AUTHENTICATION-INFO")[0] + b"\r\n"


def changed(request):
    return ok(request, "CRITERIA-ID: 1").replace(b"CRITERIA-ID: 1", b"CRITERIA-ID: 2")


@pytest.mark.parametrize("answer", [
    lambda request: message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", TIME, key=b"another"), unsigned, changed,
    lambda request: request.raw, lambda request: b"Welcome to flowtap\r\n\r\n",
    lambda request: message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", "CDEST-ID: \x1b[2J")],
    ids=["another-key", "unsigned", "changed", "reflected", "no-dtcp", "terminal-escapes"])
def test_an_answer_that_is_not_authentic_is_an_error(accounts, dtcp, answer):
    with Service(accounts, answer):
        done = dtcp("add")
        assert (done.returncode, done.stdout) == (5, b"") and b"not authentic" in done.stderr
        assert b"\x1b" not in done.stderr
        assert json.loads(dtcp("add", "--json").stdout)["outcome"] == "not-authentic"


def test_answers_to_other_requests_and_notifications_are_not_the_answer(accounts, dtcp):
    def answer(request):
        return (message("DTCP/0.7 131 NOOP", TIME) +
                message("DTCP/0.7 200 OK", f"SEQ: {request.seq - 1}", "CRITERIA-ID: 1", TIME) +
                message("DTCP/0.7 200 OK", "CRITERIA-ID: 2", TIME) + ok(request, "CRITERIA-ID: 3"))
    with Service(accounts, answer):
        text = dtcp("add")
        object_ = dtcp("add", "--json")
    assert text.stdout == b"added: criteria-id 3\n" and b"notification 131" in text.stderr
    shown = json.loads(object_.stdout)
    assert shown["fields"]["criteria_id"] == 3 and [note["code"] for note in shown["notifications"]] == [131]


def test_no_answer(accounts, dtcp):
    # Half a second is plenty for the request to reach the service; where it was not, there is more the next time.
    for patience in (0.5, 5, 50):
        with Service(accounts, lambda request: None) as service:
            done = dtcp("add", answer_timeout=patience)
            assert (done.returncode, done.stdout) == (9, b"")
            assert b"never answers a wrong key" in done.stderr
            if service.requests:
                break
    assert len(service.requests) == 1
    with Service(accounts, lambda request: b""):
        assert dtcp("add").returncode == 9
    with Service(accounts, lambda request: ok(request)[:-4]) as service:
        assert dtcp("add", answer_timeout=0.5).returncode == 9


def test_control_not_running_is_no_connection(dtcp):
    done = dtcp("noop")
    assert done.returncode == 3 and b"DTCP service is not running" in done.stderr


# Connecting ----------------------------------------------------------------------------------------------------------


def other_host_key(folder, kind="ed25519"):
    path = folder / f"other-{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return " ".join(pathlib.Path(f"{path}.pub").read_text().split()[:2])


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("more", [[], ["--accept-new"]])
def test_a_changed_host_key_is_refused_before_anything_is_sent(accounts, gate, dtcp, tmp_path, kind, more):
    known = tmp_path / "known"
    line = f"[{HOST}]:{gate.port} {other_host_key(tmp_path, kind)}\n"
    known.write_text(line)
    with Service(accounts, ok) as service:
        done = dtcp("noop", *more, known_hosts=known)
    assert done.returncode == 8 and b"IS NOT THE KNOWN ONE" in done.stderr
    assert known.read_text() == line
    assert service.callers == [] and "Accepted" not in gate.log()
    assert not (tmp_path / "state").exists()


def test_an_unknown_host_key_is_refused_unless_new_ones_are_accepted(accounts, gate, dtcp, tmp_path):
    known = tmp_path / "folder" / "known"
    fingerprint = run(["ssh-keygen", "-lf", f"{accounts.host_key}.pub"]).stdout.split()[1]
    with Service(accounts, ok) as service:
        done = dtcp("noop", known_hosts=known)
        assert done.returncode == 8 and fingerprint in done.stderr
        assert service.callers == [] and not known.exists()
        assert dtcp("noop", "--accept-new", known_hosts=known).returncode == 0
        assert known.read_text() == accounts.known_hosts(HOST, gate.port).read_text()
        assert dtcp("noop", known_hosts=known).returncode == 0
        # What was written is what OpenSSH's client reads.
        assert run(["ssh-keygen", "-F", f"[{HOST}]:{gate.port}", "-f", known]).returncode == 0


def test_hashed_known_hosts_are_understood(accounts, gate, dtcp, tmp_path):
    known = tmp_path / "known"
    known.write_text(accounts.known_hosts(HOST, gate.port).read_text())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert HOST not in known.read_text()
    with Service(accounts, ok):
        assert dtcp("noop", known_hosts=known).returncode == 0


def test_logins_that_are_refused(accounts, gate, dtcp, tmp_path):
    password = tmp_path / "password"
    password.write_text("a wrong one\n")
    password.chmod(0o600)
    with Service(accounts, ok) as service:
        for more, options in ((["--user", "noc"], {"identity": accounts.identity("noc")}),
                              (["--user", "nobody-of-that-name"], {}), ([], {"identity": accounts.identity("ft-two")}),
                              (["--password-file", password], {"identity": ""})):
            done = dtcp("noop", *more, **options)
            assert done.returncode == 7, done.stderr
            assert b"refuses the login" in done.stderr and b"a wrong one" not in done.stderr
        assert service.callers == []


def test_a_password_logs_in(accounts, gate, dtcp, tmp_path):
    password = tmp_path / "password"
    password.write_text(accounts.passwords["ft-ttp"] + "\n")
    password.chmod(0o600)
    with Service(accounts, ok) as service:
        done = dtcp("noop", "--password-file", password, identity="")
        assert done.returncode == 0, done.stderr
        assert service.callers[0][1] == accounts.uid("ft-ttp")


def test_keyboard_interactive_logs_in_where_passwords_are_off(accounts, gate, dtcp, tmp_path):
    """As behind PAM modules that ask their own questions: sshd with the password method switched off."""
    config = accounts.run / "flowtap" / "sshd_config"
    config.write_text(config.read_text().replace("PasswordAuthentication yes", "PasswordAuthentication no"))
    password = tmp_path / "password"
    password.write_text(accounts.passwords["ft-ttp"] + "\n")
    password.chmod(0o600)
    with Service(accounts, ok):
        done = dtcp("noop", "--password-file", password, identity="")
        assert done.returncode == 0, done.stderr
    assert "Accepted keyboard-interactive/pam for ft-ttp" in gate.log()


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_identities_with_a_passphrase(accounts, dtcp, tmp_path, kind):
    identity = tmp_path / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "pass phrase", "-f", identity], check=True)
    keys = accounts.directory / "home" / "ft-ttp" / ".ssh" / "authorized_keys"
    with keys.open("a") as file:
        file.write(pathlib.Path(f"{identity}.pub").read_text())
    phrase = tmp_path / "phrase"
    phrase.write_text("pass phrase\n")
    phrase.chmod(0o600)
    with Service(accounts, ok):
        done = dtcp("noop", "--passphrase-file", phrase, identity=identity)
        assert done.returncode == 0, done.stderr
        assert dtcp("noop", identity=identity).returncode == 1


def test_no_connection(accounts, dtcp, tmp_path):
    with socket.create_server((HOST, 0)) as silent:
        done = dtcp("noop", connect_timeout=0.5, port=silent.getsockname()[1])
        assert done.returncode == 3 and b"no SSH greeting" in done.stderr
    done = dtcp("noop", port=free_port())
    assert done.returncode == 3 and b"Connection refused" in done.stderr
    done = dtcp("noop", host="nowhere.invalid")
    assert done.returncode == 3 and b"nowhere.invalid" in done.stderr
    assert json.loads(dtcp("noop", "--json", port=free_port()).stdout)["outcome"] == "no-connection"


def test_the_gates_refusal_is_no_connection(accounts, tmp_path):
    (tmp_path / "closed").mkdir()
    with Gate(accounts, tmp_path / "closed", access=["127.0.0.2/32"]) as gate:
        done = Client(gate, tmp_path)("noop")
    assert done.returncode == 3 and b"access list, connection-limit or rate-limit refuses this client" in done.stderr


def test_an_ipv6_server(accounts, tmp_path):
    (tmp_path / "six").mkdir()
    with Gate(accounts, tmp_path / "six", listen=["::1"]) as gate, Service(accounts, ok):
        client = Client(gate, tmp_path)
        known = tmp_path / "known"
        assert client("noop", "--accept-new", host="::1", known_hosts=known).returncode == 0
        assert known.read_text().startswith(f"[::1]:{gate.port} ssh-ed25519 ")
        assert client("noop", host="::1", known_hosts=known).returncode == 0


# The client's own ----------------------------------------------------------------------------------------------------


def test_sequence_numbers_go_on_over_runs(accounts, dtcp, tmp_path):
    with Service(accounts, ok) as service:
        for more, csource in (([], "ft-ttp"), ([], "ft-ttp"), (["--seq", "99"], "ft-ttp"), ([], "ft-ttp"),
                              (["--user", "ft-ttp"], "ft/../two")):
            assert dtcp("noop", *more, csource=csource).returncode == 0
    assert [request.seq for request in service.requests] == [1, 2, 99, 3, 1]
    kept = sorted((tmp_path / "state").iterdir())
    assert [path.name for path in kept] == ["ft%2F%2E%2E%2Ftwo.seq", "ft-ttp.seq"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_no_two_processes_take_the_same_number(dtcp):
    def take(_):
        printed = dtcp("noop", "--print").stdout
        return Request(printed).seq
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(64))) == list(range(1, 65))


def test_a_spoilt_state_file_is_not_guessed_at(dtcp, tmp_path):
    (tmp_path / "state").mkdir()
    for spoilt in ("nonsense\n", "12", "-1\n", "99999999999999999999999\n"):
        (tmp_path / "state" / "ft-ttp.seq").write_text(spoilt)
        done = dtcp("noop", "--print")
        assert done.returncode == 1 and b"--seq N" in done.stderr
        assert (tmp_path / "state" / "ft-ttp.seq").read_text() == spoilt


def test_a_printed_request_is_what_ssh_can_send(accounts, gate, dtcp):
    printed = dtcp("delete", "--criteria-id", "2", "--print").stdout
    with Service(accounts, lambda request: ok(request, "CRITERIA-COUNT: 1")) as service:
        done = run(gate.subsystem(), input=printed)
    assert service.requests[0].raw == printed
    assert b"CRITERIA-COUNT: 1" in done.stdout


def test_keys_that_others_can_read_are_refused(dtcp, tmp_path):
    dtcp.key.chmod(0o644)
    done = dtcp("noop", "--print")
    assert done.returncode == 1 and str(dtcp.key).encode() in done.stderr and KEY not in done.stderr
    dtcp.key.unlink()
    assert dtcp("noop", "--print").returncode == 1


@pytest.mark.parametrize("words", [
    [], ["tap"], ["add"], ["noop", "--csource", "x"], ["noop", "--csource", "x", "--key-file", "k"],
    ["noop", "--csource", "x", "--key-file", "k", "--host", "h"],
    ["noop", "--csource", "x", "--key-file", "k", "--host", "h", "--identity", "i", "--password-file", "p"],
    ["noop", "--csource", "x", "--key-file", "k", "--print", "--dtcp-version", "7"],
    ["noop", "--csource", "x", "--key-file", "k", "--print", "--seq", "-1"],
    ["noop", "--csource", "x", "--key-file", "k", "--print", "--port", "65536"],
    ["list", "--csource", "x", "--key-file", "k", "--print", "--flags", "All"],
    ["add", "--csource", "x", "--key-file", "k", "--print", "--parameter", "no colon"]])
def test_wrong_arguments(words):
    done = run([PROGRAMS["dtcp"], *words])
    assert done.returncode == 2 and done.stdout == b"" and done.stderr


@pytest.mark.parametrize("command", ["add", "delete", "refresh", "list", "noop", "enable", "disable", "batch", "session"])
def test_help_tells_the_exit_codes(command):
    done = run([PROGRAMS["dtcp"], command, "--help"])
    assert done.returncode == 0
    for code in range(10):
        assert f"\n  {code}  ".encode() in done.stdout
