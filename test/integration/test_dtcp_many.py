"""dtcp's batch, session, watch, retries and UDP: what is sent when, sent again and told, against a Python peer behind a real
gate and sshd, or on a UDP socket."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from daemons import PATIENCE, PROGRAMS, ROOT, until
from dtcp_service import KEY, TIME, Client, Request, Service, message, ok
from gatelab import HOST, Gate, free_port, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sshd, mount namespaces")


@pytest.fixture(scope="module")
def gate(accounts, tmp_path_factory):
    with Gate(accounts, tmp_path_factory.mktemp("gate"), rate_limit=250, rate_limit_share=100) as running:
        yield running


@pytest.fixture
def dtcp(gate, tmp_path):
    return Client(gate, tmp_path)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def added(request):
    return ok(request, f"CRITERIA-ID: {1000 + request.seq}")


def batch(folder, *requests):
    path = folder / "orders"
    path.write_text("\n".join(requests) + "\n")
    return path


# Batch ---------------------------------------------------------------------------------------------------------------


def test_a_batch_is_sent_in_order_and_every_answer_is_told_with_its_line(accounts, dtcp, tmp_path):
    path = batch(tmp_path, "# orders of today", "add --cdest md1 --source-address 10.0.0.1 --static", "",
                 "delete --criteria-id '1-9,!5'   # some", 'noop --parameter "X-Note: a \\"b\\""', "list --dtcp-version 0.8")
    with Service(accounts, lambda request: ok(request, "CRITERIA-COUNT: 8") if request.lines[0].startswith("DELETE")
                 else added(request)) as service:
        text = dtcp("batch", path)
        objects = dtcp("batch", path, "--json")
    assert (text.returncode, text.stderr) == (0, b"")
    assert text.stdout.decode().splitlines() == ["2: added: criteria-id 1001", "4: deleted: 8", "5: 200 OK", *list_text(1004),
                                                 "4 requests: 4 done"]
    assert [request.lines for request in service.requests[:4]] == [
        ["ADD DTCP/0.7", "CDEST-ID: md1", "SOURCE-ADDRESS: 10.0.0.1", "Flags: Static", "CSOURCE-ID: ft-ttp", "SEQ: 1"],
        ["DELETE DTCP/0.7", "CRITERIA-ID: 1-9,!5", "CSOURCE-ID: ft-ttp", "SEQ: 2"],
        ["NOOP DTCP/0.7", 'X-Note: a "b"', "CSOURCE-ID: ft-ttp", "SEQ: 3"],
        ["LIST DTCP/0.8", "CSOURCE-ID: ft-ttp", "SEQ: 4"]]
    told = lines(objects)
    assert [(each["line"], each["command"], each["outcome"]) for each in told[:4]] == [
        (2, "add", "done"), (4, "delete", "done"), (5, "noop", "done"), (6, "list", "done")]
    assert told[4] == {"summary": {"requests": 4, "done": 4, "not-sent": 0}}
    # The numbers went on over the runs, with none used twice.
    assert [request.seq for request in service.requests] == list(range(1, 9))


def list_text(number):
    return [f"6: criteria-id: {number}", "  timestamp: 2026-02-13 16:00:02.802", "1 tap"]


def test_wrong_lines_are_all_named_and_nothing_is_sent(accounts, dtcp, tmp_path):
    path = batch(tmp_path, "noop", "ad --cdest x", "noop --nonsense", 'add "', "noop --seq -1", "noop --csource other", "list")
    with Service(accounts, ok) as service:
        done = dtcp("batch", path)
        objects = dtcp("batch", path, "--json")
    assert done.returncode == objects.returncode == 2 and done.stdout == b"" and service.callers == []
    told = done.stderr.decode().splitlines()
    assert [line.split(": ")[1] for line in told] == [f"{path}:{number}" for number in (2, 3, 4, 5, 6)]
    assert [(each["line"], each["outcome"]) for each in lines(objects)] == [(number, "arguments") for number in (2, 3, 4, 5, 6)]


def test_a_batch_stops_at_the_first_failure_unless_told_otherwise(accounts, dtcp, tmp_path):
    def answer(request):
        return message("DTCP/0.7 432 IMPROPER FILTER", f"SEQ: {request.seq}", TIME) if "PRIORITY: 7" in request.lines \
            else added(request)
    path = batch(tmp_path, *(f"add --priority {place}" for place in range(1, 21)))
    with Service(accounts, answer) as service:
        stopped = dtcp("batch", path, "--pipeline", "3")
        sent = len(service.requests)
        whole = dtcp("batch", path, "--keep-going", "--json")
    assert stopped.returncode == whole.returncode == 4
    assert f"dtcp: {path}:7: the server answers 432 IMPROPER FILTER".encode() in stopped.stderr
    # What was under way was still answered, and nothing was begun after.
    assert 7 <= sent <= 9
    assert stopped.stdout.decode().splitlines()[-1] == f"20 requests: {sent - 1} done, 1 refused, {20 - sent} not sent"
    assert len(service.requests) == sent + 20
    assert lines(whole)[-1] == {"summary": {"requests": 20, "done": 19, "refused": 1, "not-sent": 0}}


@pytest.mark.parametrize("window", [1, 5])
def test_no_more_requests_are_under_way_than_the_pipeline_has(accounts, dtcp, tmp_path, window):
    seen = []
    def talk(connection):
        buffered, answered = b"", 0
        while len(seen) < 5 * window:
            while buffered.count(b"\r\n\r\n") - answered < window:
                buffered += connection.recv(65536)
            connection.settimeout(0.3)  # more would come now, if it were to come
            try:
                buffered += connection.recv(65536)
            except TimeoutError:
                pass
            connection.settimeout(None)
            waiting = [Request(raw + b"\r\n\r\n") for raw in buffered.split(b"\r\n\r\n")[answered:-1]]
            seen.append(len(waiting))
            for request in waiting:
                connection.sendall(ok(request))
            answered += len(waiting)
            if answered == 3 * window:
                break
    path = batch(tmp_path, *["noop"] * (3 * window))
    with Service(accounts, None, talk=talk):
        assert dtcp("batch", path, "--pipeline", str(window)).returncode == 0
    assert seen == [window] * 3


def test_large_answers_and_many_requests_do_not_block_one_another(accounts, dtcp, tmp_path):
    """The peer takes no request while its answers are not taken: a client that writes first and reads then would hang."""
    filler = "x" * 60_000
    path = batch(tmp_path, *["noop --parameter 'X-Note: " + filler + "'"] * 100)
    with Service(accounts, lambda request: message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", f"X-NOTE: {filler}", TIME)) as service:
        done = dtcp("batch", path, "--pipeline", "1024")
    assert done.returncode == 0 and done.stdout.endswith(b"100 requests: 100 done\n") and len(service.requests) == 100


def test_a_request_that_is_passed_over_has_no_answer_and_the_next_has_its_own(accounts, dtcp, tmp_path):
    """As a server does with a signature, source or number that it refuses."""
    path = batch(tmp_path, "add --priority 1", "add --priority 2", "add --priority 3")
    with Service(accounts, lambda request: None if request.seq == 2 else added(request)):
        done = dtcp("batch", path, "--keep-going", "--json")
    told = lines(done)
    assert done.returncode == 9
    assert [(each["line"], each["outcome"]) for each in told[:3]] == [(1, "done"), (2, "no-answer"), (3, "done")]
    assert told[2]["fields"]["criteria_id"] == 1003 and "refuses" in told[1]["error"]


def test_a_batch_of_standard_input_and_what_is_printed_of_it(dtcp, tmp_path):
    words = [PROGRAMS["dtcp"], "batch", "-", "--csource", "ft-ttp", "--key-file", dtcp.key, "--state-dir", tmp_path / "state"]
    done = run([*words, "--print"], input=b"noop\nadd --cdest md1\n")
    messages = [Request(raw + b"\r\n\r\n") for raw in done.stdout.split(b"\r\n\r\n")[:-1]]
    assert [each.lines[0] for each in messages] == ["NOOP DTCP/0.7", "ADD DTCP/0.7"] and done.returncode == 0
    assert dtcp("batch", tmp_path / "absent").returncode == 1


# Session and watch ---------------------------------------------------------------------------------------------------


class Typed:
    """dtcp with pipes."""

    def __init__(self, words):
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        return self.process.stdout.readline().decode().rstrip("\n")

    def end(self):
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def test_a_session_answers_each_line_as_it_comes_over_one_connection(accounts, dtcp):
    with Service(accounts, added) as service, Typed(dtcp.words("session")) as session:
        for place in range(1, 4):
            session.type(f"add --cdest md{place}")
            assert session.line() == f"{place}: added: criteria-id {1000 + place}"
        session.type("nonsense")
        session.type("noop")
        assert session.line() == "5: 200 OK"
        assert session.end() == 2
        assert b"dtcp: standard input:4: " in session.process.stderr.read()
        assert len(service.callers) == 1 and len(service.requests) == 4


def test_a_last_line_without_its_end_counts_and_answers_are_waited_for(accounts, dtcp):
    with Service(accounts, added):
        done = run(dtcp.words("session", "--json"), input=b"noop\nadd --cdest md1")
    assert done.returncode == 0 and [each["command"] for each in lines(done)] == ["noop", "add"]


def test_watch_prints_notifications_until_a_signal(accounts, dtcp):
    go = threading.Event()
    def talk(connection):
        request = Request(connection.recv(65536))
        connection.sendall(ok(request))
        go.wait()
        connection.sendall(message("DTCP/0.8 131 NOOP", TIME))
        connection.sendall(message("DTCP/0.8 390 TIMEOUT", "CRITERIA-ID: 7", TIME))
        connection.recv(1)
    for more, expected in (([], ["200 OK", "notification 131 NOOP at 2026-02-13 16:00:02.802",
                                 "notification 390 TIMEOUT at 2026-02-13 16:00:02.802; CRITERIA-ID: 7"]),
                           (["--json"], [200, 131, 7])):
        go.clear()
        with Service(accounts, None, talk=talk), Typed(dtcp.words("noop", "--watch", *more)) as watching:
            told = [watching.line()]
            go.set()
            told += [watching.line(), watching.line()]
            if more:
                told = [json.loads(line) for line in told]
                told = [told[0]["code"], told[1]["notification"]["code"], told[2]["notification"]["fields"]["criteria_id"]]
            assert told == expected
            watching.process.send_signal(signal.SIGTERM)
            assert watching.process.wait(PATIENCE) == 0


def test_a_watch_ends_with_its_time_or_with_the_session(accounts, dtcp):
    with Service(accounts, ok):
        start = time.monotonic()
        assert dtcp("noop", "--watch", "--watch-time", "0.5").returncode == 0
        assert time.monotonic() - start >= 0.5
    def talk(connection):
        connection.sendall(ok(Request(connection.recv(65536))))
    with Service(accounts, None, talk=talk):
        done = dtcp("noop", "--watch")
    assert (done.returncode, done.stdout) == (9, b"200 OK\n")


# Retries -------------------------------------------------------------------------------------------------------------


class Flaky:
    """Ends the first sessions after so many requests each, without an answer to the last."""

    def __init__(self, *after):
        self.after = list(after)
        self.requests = []
        self.lock = threading.Lock()

    def __call__(self, connection):
        with self.lock:
            left = self.after.pop(0) if self.after else None
        buffered = b""
        while data := connection.recv(65536):
            buffered += data
            while b"\r\n\r\n" in buffered:
                raw, _, buffered = buffered.partition(b"\r\n\r\n")
                request = Request(raw + b"\r\n\r\n")
                self.requests.append(request)
                if left is not None:
                    left -= 1
                    if left <= 0:
                        return
                connection.sendall(added(request))


def test_what_changes_nothing_is_sent_again_with_a_new_number(accounts, dtcp):
    flaky = Flaky(1, 1)
    with Service(accounts, None, talk=flaky) as service:
        done = dtcp("noop", "--retries", "3", "--retry-delay", "0.05")
        assert done.returncode == 0 and done.stderr.count(b"connecting again") == 2
        assert [request.seq for request in flaky.requests] == [1, 2, 3] and len(service.callers) == 3
    with Service(accounts, None, talk=Flaky(1, 1, 1)):
        assert dtcp("list", "--retries", "2", "--retry-delay", "0.05").returncode == 9


def test_what_may_have_been_done_is_never_sent_again(accounts, dtcp, tmp_path):
    flaky = Flaky(1)
    with Service(accounts, None, talk=flaky):
        assert dtcp("add", "--cdest", "md1", "--retries", "3", "--retry-delay", "0.05").returncode == 9
        assert len(flaky.requests) == 1
    # In a batch the others go on, each once: of those under way when the connection broke nobody knows.
    flaky = Flaky(3)
    path = batch(tmp_path, *(f"add --priority {place}" for place in range(1, 31)))
    with Service(accounts, None, talk=flaky):
        done = dtcp("batch", path, "--keep-going", "--pipeline", "4", "--retries", "3", "--retry-delay", "0.05", "--json")
    told = lines(done)
    by_line = {each["line"]: each["outcome"] for each in told[:-1]}
    unknown = [line for line, outcome in by_line.items() if outcome == "no-answer"]
    assert 3 in unknown and set(unknown) <= {3, 4, 5, 6} and sorted(by_line) == list(range(1, 31))
    assert {outcome for line, outcome in by_line.items() if line not in unknown} == {"done"}
    priorities = [request.field("PRIORITY") for request in flaky.requests]
    assert len(set(priorities)) == len(priorities)


def test_a_service_that_comes_late_is_waited_for(accounts, dtcp):
    words = dtcp.words("add", "--retries", "1000", "--retry-delay", "0.2")
    with subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE) as client:
        told = client.stderr.readline()
        while told and b"is not running; connecting again" not in told:
            told = client.stderr.readline()
        assert told
        with Service(accounts, ok) as service:
            client.communicate()
    assert client.returncode == 0
    assert len(service.requests) == 1


def test_a_refused_login_is_not_tried_again(accounts, gate, dtcp):
    done = dtcp("noop", "--retries", "5", identity=accounts.identity("ft-two"))
    assert done.returncode == 7 and b"again" not in done.stderr


# UDP -----------------------------------------------------------------------------------------------------------------


class UdpService:
    """Answers each datagram with the datagrams of answer(request)."""

    def __init__(self, answer):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.port = self.socket.getsockname()[1]
        self.answer = answer
        self.requests = []
        self.peers = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except OSError:
                return
            if data == b"end":
                return
            self.peers.append(peer)
            self.requests.append(Request(data))
            for datagram in self.answer(self.requests[-1]):
                self.socket.sendto(datagram, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", (HOST, self.port))
        self.socket.close()


class UdpClient:
    def __init__(self, folder):
        self.folder = folder
        self.key = folder / "source.key"
        self.key.write_bytes(KEY + b"\n")
        self.key.chmod(0o600)

    def words(self, command, port, *more):
        return [PROGRAMS["dtcp"], command, "--udp", "--host", HOST, "--port", str(port), "--csource", "ft-ttp", "--key-file",
                self.key, "--state-dir", self.folder / "state", *more]

    def __call__(self, command, port, *more, input=b""):
        return run(self.words(command, port, *more), input=input)


@pytest.fixture
def udp(tmp_path):
    return UdpClient(tmp_path)


def test_a_request_over_udp_is_one_datagram_and_numbers_go_on(udp, tmp_path):
    with UdpService(lambda request: [added(request)]) as service:
        for _ in range(2):
            done = udp("add", service.port, "--cdest", "md1")
        many = udp("batch", service.port, batch(tmp_path, *["noop"] * 20), "--json")
        after = udp("noop", service.port)
    assert done.stdout == b"added: criteria-id 1002\n" and many.returncode == after.returncode == 0
    assert [request.seq for request in service.requests] == list(range(1, 24))


def test_a_number_is_on_disk_before_it_is_sent(udp):
    kept = []
    def answer(request):
        kept.append((request.seq, int((udp.folder / "state" / "ft-ttp.seq").read_text())))
        return [ok(request)]
    with UdpService(answer) as service:
        assert udp("session", service.port, input=b"noop\n" * 5).returncode == 0
    assert all(seq <= last for seq, last in kept) and len(kept) == 5


def test_what_is_not_authentic_is_ignored_over_udp(udp):
    def answer(request):
        return [b"nonsense", b"\r\n\r\n", message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", "CRITERIA-ID: 1", TIME, key=b"other"),
                added(request)[:-4], b"", added(request)]
    with UdpService(answer) as service:
        assert udp("add", service.port).stdout == b"added: criteria-id 1001\n"
    # They come within half a second; where they did not, there is more time the next time.
    for patience in (0.5, 5, 50):
        with UdpService(lambda request: answer(request)[:3]) as service:
            done = udp("add", service.port, "--answer-timeout", str(patience))
        assert done.returncode == 9
        if b"2 datagrams that are not authentic" in done.stderr:
            return
    raise AssertionError(done.stderr)


def test_a_list_over_udp_is_whole_whatever_the_order_of_its_datagrams(udp):
    def parts(request, count):
        return [message("DTCP/0.7 200 OK", f"SEQ: {request.seq}", TIME, f"CRITERIA-ID: {100 + place}", f"CRITERIA-NUM: {place}",
                        f"CRITERIA-COUNT: {count}") for place in range(1, count + 1)]
    with UdpService(lambda request: [parts(request, 9)[place] for place in (8, 0, 2, 2, 1, 3, 8, 7, 6, 5, 4)]) as service:
        done = udp("list", service.port, "--json")
    assert [entry["criteria_num"] for entry in json.loads(done.stdout)["entries"]] == list(range(1, 10))
    with UdpService(lambda request: parts(request, 9)[:8]) as service:
        assert udp("list", service.port, "--answer-timeout", "0.5").returncode == 9


def test_a_lost_datagram_is_sent_again_only_if_that_changes_nothing(udp):
    with UdpService(lambda request: [] if request.seq < 3 else [ok(request)]) as service:
        done = udp("noop", service.port, "--retries", "1000", "--answer-timeout", "0.3")
        numbers = [request.seq for request in service.requests]
        # More than three, where an answer took its time.
        assert done.returncode == 0 and len(numbers) >= 3 and numbers == list(range(1, len(numbers) + 1))
    with UdpService(lambda request: []) as service:
        assert udp("add", service.port, "--retries", "5", "--answer-timeout", "0.3").returncode == 9
        until(lambda: service.requests, "the request")
        assert len(service.requests) == 1


def test_notifications_come_to_the_local_port(udp):
    local = free_port()
    with UdpService(lambda request: [ok(request), message("DTCP/0.7 599 RESTART", "ALERT-INFO: why", TIME)]) as service:
        with Typed(udp.words("noop", service.port, "--local-port", str(local), "--watch", "--json")) as watching:
            told = [json.loads(watching.line()) for _ in range(2)]
            watching.process.send_signal(signal.SIGTERM)
            assert watching.process.wait(PATIENCE) == 0
    assert service.peers[0][1] == local
    assert [each.get("code") or each["notification"]["code"] for each in told] == [200, 599]


def test_nobody_at_the_udp_port_is_no_connection(udp):
    assert udp("noop", free_port()).returncode == 3


@pytest.mark.parametrize("more", [["--identity", "x"], ["--accept-new"], ["--pipeline", "65"], ["--watch-time", "1"]])
def test_options_that_udp_has_not_or_that_need_another(udp, more):
    done = udp("noop", 1, *more)
    assert done.returncode == 2 and done.stderr


# The manual ----------------------------------------------------------------------------------------------------------


def test_the_manual_has_every_option_and_no_other():
    help_text = run([PROGRAMS["dtcp"], "--help-all"]).stdout.decode()
    manual = (ROOT / "tools" / "dtcp" / "dtcp.1").read_text().replace("\\-", "-")
    options = r"--[a-z][a-z-]*"
    # An option begins its line in the help, after its short form if it has one.
    known = set(re.findall(rf"^\s+(?:-\w,)?({options})", help_text, re.MULTILINE))
    assert len(known) > 50
    assert set(re.findall(options, manual)) == known
    commands = re.findall(r"^  (\w+)\s", run([PROGRAMS["dtcp"], "--help"]).stdout.decode().partition("Subcommands:")[2]
                          .partition("Exit codes")[0], re.MULTILINE)
    assert sorted(commands) == sorted(["add", "delete", "refresh", "list", "noop", "enable", "disable", "batch", "session"])
    for command in commands:
        assert re.search(rf"^\.BI?R? .*\b{command}\b", manual, re.MULTILINE), command


def test_the_readmes_lines_are_requests(tmp_path, udp):
    """Each example of the README that is one request is taken by the command line as it stands."""
    text = (ROOT / "tools" / "dtcp" / "README.md").read_text()
    block = text.partition("```sh\n")[2].partition("```")[0].replace("\\\n", " ")
    examples = [line for line in block.splitlines() if line.startswith("dtcp ") and '"$@"' in line and " batch " not in line]
    assert len(examples) >= 5
    for line in examples:
        command = line.partition(" |")[0].replace('"$@"', f"--csource x --key-file {udp.key} --print --seq 1").split()[1:]
        command = [word for word in command if word not in ("--watch", "--json") or command[0] != "session"]
        if command[0] != "session":
            assert run([PROGRAMS["dtcp"], *command]).stdout.endswith(b"\r\n\r\n"), line
