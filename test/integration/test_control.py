"""flowtap-control with the real dataplane: tasking over dtcp.sock, and what is left when either process is killed."""

import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from accounts import Accounts
from daemons import PROGRAMS, Daemon, until
from dtcp_client import Client, connect_as

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of the test's own need root")

KEYS = {"ft-ttp": b"secret of the first", "ft-two": b"another secret"}
SA_KEY = bytes(range(36))
TARGET = "10.11.12.13"


class Lab:
    """Both daemons with their own accounts. The wire carries nothing: what is tested is tasking."""

    def __init__(self):
        self.accounts = Accounts()
        self.folder = self.accounts.directory
        self.run_dir = self.folder / "run" / "flowtap"
        self.state = self.folder / "state"
        self.run_dir.mkdir(mode=0o755)
        for source, key in KEYS.items():
            self.secret(source, key)
        self.secret("sa.toml", f'spi = 0x1001\nsuite = "aes-256-gcm-16"\nkey = "{SA_KEY.hex()}"\n'.encode())
        self.config = self.folder / "flowtap.toml"
        self.config.write_text(self.configuration())
        self.daemons = {}

    def secret(self, name, content):
        path = self.folder / "keys" / name
        path.write_bytes(content)
        path.chmod(0o600)

    def configuration(self):
        ports = "".join(f'[[port]]\nname = "{name}"\ndevice = "net_null{i}"\n' for i, name in enumerate("abd"))
        sources = "".join(f"""
[[source]]
name = "{name}"
key-file = "{self.folder}/keys/{name}"
destinations = ["2.2.2.0/27"]
""" for name in KEYS)
        return f"""
[dataplane]
workers = [1]
huge-pages = false
memory-mib = 128
buffers = 2048
copy-buffers = 2048
max-taps = 1024
wait-for-control = 600
{ports}
[[wire]]
name = "edge"
a = "a"
b = "b"
[delivery]
port = "d"
next-hop-mac = "02:00:00:00:00:01"
[[tunnel]]
name = "ttp"
local = "100.100.100.100"
remote = "123.123.123.123"
sa = "{self.folder}/keys/sa.toml"
[[route]]
prefix = "2.2.2.0/27"
tunnel = "ttp"
[control]
run-dir = "{self.run_dir}"
state-dir = "{self.state}"
{sources}
"""

    def log(self, name):
        return self.folder / f"{name}.log"

    def prefix(self, _name):
        """What the daemon is started with."""
        return self.accounts.prefix

    def start(self, name, ready="ready"):
        self.log(name).unlink(missing_ok=True)
        daemon = Daemon(name, "--config", self.config, log=self.log(name), prefix=self.prefix(name))
        self.daemons[name] = daemon
        daemon.wait_for(ready)
        return daemon

    def control(self, *arguments):
        """A control process that is to end by itself."""
        return subprocess.run([*self.accounts.prefix, PROGRAMS["flowtap-control"], "--config", self.config, *arguments],
                              capture_output=True, text=True, check=False)

    def new_keys(self):
        return self.control("--new-keys")

    def start_all(self):
        self.new_keys()
        self.start("flowtap-dataplane", "")
        self.start("flowtap-control")
        self.wait_restored()

    def wait_restored(self):
        until(lambda: self.health()["control"]["state"] == "ready", "control's link to the dataplane")

    def user(self, name):
        uid = self.accounts.uid(name)
        return uid, uid, [self.accounts.uid(group) for group in self.accounts.users[name].groups]

    def client(self, name="ft-ttp", user=None, key=None):
        return Client.connect(self.run_dir / "dtcp.sock", name, key or KEYS[name], self.user(user or name))

    def ctl(self, *arguments, account=None):
        prefix = list(self.accounts.prefix)
        if account:
            # Root keeps its way into the test's folders; another account has the program copied to where it can go.
            prefix += ["setpriv", f"--reuid={account}", "--init-groups", f"--regid={account}"]
        program = self.accounts.install(PROGRAMS["flowtapctl"])
        return subprocess.run([*map(str, prefix), str(program), *arguments, "--socket", str(self.run_dir / "ctl.sock")],
                              capture_output=True, text=True, check=False)

    def show(self, what):
        done = self.ctl("show", what, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def health(self):
        return self.show("health")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for daemon in self.daemons.values():
            daemon.stop()
        self.accounts.remove()


@pytest.fixture(name="lab")
def running_lab():
    with Lab() as lab:
        lab.start_all()
        yield lab


def add(client, *more, cdest="md1"):
    given = {line.split(":")[0].lower() for line in more}
    lines = ["Flags: STATIC", f"Source-Address: {TARGET}"]
    return client.request("ADD", f"Cdest-ID: {cdest}", *(line for line in lines if line.split(":")[0].lower() not in given),
                          *more, "X-JTap-Cdest-Dest-Address: 2.2.2.1", "X-JTap-Cdest-Dest-Port: 7000",
                          "X-JTap-Cdest-Source-Address: 100.100.100.100", "X-JTap-Cdest-Source-Port: 7001")


def ids(client):
    return sorted(int(entry["CRITERIA-ID"]) for entry in client.request("LIST").entries())


def live(lab):
    return lab.health()["dataplane"].get("taps")


@pytest.mark.dtcp("5.delete-answer")
def test_an_add_is_answered_when_it_is_live_and_a_delete_when_it_is_gone(lab):
    with lab.client() as client:
        answer = add(client)
        assert answer.first_line == "DTCP/0.7 200 OK"
        assert answer.names() == ["SEQ", "CRITERIA-ID", "TIMESTAMP", "AUTHENTICATION-INFO"]
        until(lambda: live(lab) == 1, "the dataplane's count of the tap")
        entry, = client.request("LIST").entries()
        assert entry["CRITERIA-ID"] == answer["CRITERIA-ID"]
        assert entry["SOURCE-ADDRESS"] == TARGET
        answer = client.request("DELETE", f"Criteria-ID: {answer['CRITERIA-ID']}", "Flags: Static")
        assert answer.code == 200 and answer["CRITERIA-COUNT"] == "1"
        until(lambda: live(lab) == 0, "the dataplane's count without the tap")


@pytest.mark.dtcp("1.ssh-identity", "3.logged-and-counted")
def test_what_is_not_authentic_gets_no_answer_but_a_counter_and_a_line_in_the_log(lab):
    with lab.client() as client:
        client.send(client.message("NOOP", key=b"wrong"))
        client.send(client.message("NOOP", source="ft-two", key=KEYS["ft-two"]))  # right key, but another's account
        assert client.request("NOOP").code == 200, "and this is the first answer"
    counters = lab.health()["control"]["counters"]
    assert (counters["rejected-signature"], counters["rejected-source"]) == (1, 1)
    log = lab.log("flowtap-control").read_text()
    assert "authentication failed: wrong signature (account ft-ttp, source 1)" in log
    assert "another account" in log
    assert "ft-two" not in log


@pytest.mark.dtcp("9.400-form")
def test_a_malformed_request_is_answered_400_with_its_line(lab):
    with lab.client() as client:
        answer = client.request("NOOP", "this is no parameter")
        assert answer.code == 400
        assert "this is no parameter" in answer.other_lines


@pytest.mark.dtcp("2.unknown-x")
def test_unknown_extensions_are_ignored_counted_and_logged(lab):
    with lab.client() as client:
        assert client.request("NOOP", "X-Logical-System: default", "x-router-instance: secret-of-theirs").code == 200
        assert add(client, "X-RM-Circuit-Id: 3").code == 200
    assert lab.health()["control"]["counters"]["parameters-ignored"] == 3
    line = "unknown X- parameters ignored"
    until(lambda: line in lab.log("flowtap-control").read_text(), "the line in the log")
    log = lab.log("flowtap-control").read_text()
    assert sum(int(text.split()[-5]) for text in log.splitlines() if line in text) == 3
    assert "secret-of-theirs" not in log


class FarLab(Lab):
    """In a time zone half a day away, which the daemons must not care for."""

    def prefix(self, name):
        return [*super().prefix(name), "env", "TZ=FAR-12"]


@pytest.mark.dtcp("3.time")
def test_times_are_utc():
    with FarLab() as lab:
        lab.start_all()
        with lab.client() as client:
            before = datetime.datetime.now(datetime.timezone.utc)
            answer = client.request("NOOP")
            after = datetime.datetime.now(datetime.timezone.utc)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", answer["TIMESTAMP"])
        told = datetime.datetime.fromisoformat(answer["TIMESTAMP"] + "+00:00")
        assert before - datetime.timedelta(milliseconds=1) <= told <= after


@pytest.mark.dtcp("3.isolation", "8.own")
def test_two_sources_never_see_each_other(lab):
    with lab.client("ft-ttp") as one, lab.client("ft-two") as two:
        mine = add(one)["CRITERIA-ID"]
        theirs = add(two)["CRITERIA-ID"]
        assert ids(one) == [int(mine)] and ids(two) == [int(theirs)]
        assert one.request("DELETE", f"Criteria-ID: {theirs}", "Flags: Static").code == 431
        assert one.request("DELETE", "Criteria-ID: *", "Flags: Static")["CRITERIA-COUNT"] == "1"
        assert ids(two) == [int(theirs)]


def test_taps_survive_a_killed_control_and_can_be_deleted_by_the_next(lab):
    with lab.client() as client:
        wanted = sorted(int(add(client)["CRITERIA-ID"]) for _ in range(20))
    lab.daemons["flowtap-control"].stop(signal.SIGKILL)
    lab.start("flowtap-control")
    with lab.client() as client:
        assert ids(client) == wanted
        until(lambda: live(lab) == 20, "the dataplane's taps")
        fresh = int(add(client)["CRITERIA-ID"])
        assert fresh not in wanted
        assert client.request("DELETE", "Criteria-ID: *", "Flags: Static")["CRITERIA-COUNT"] == "21"
    until(lambda: live(lab) == 0, "the dataplane without taps")


@pytest.mark.dtcp("5.all-or-nothing")
def test_what_was_answered_is_there_after_kills_at_any_moment_and_nothing_else(lab):
    """Whoever asked and got no answer may find the tap whole or not at all; each answered change is a fact."""
    answered = set()
    for round_ in range(12):
        asked = 0
        with lab.client() as client:
            for _ in range(40):
                client.send(client.message("ADD", "Cdest-ID: md1", "Flags: STATIC", f"Source-Address: {TARGET}",
                                           "X-JTap-Cdest-Dest-Address: 2.2.2.1", "X-JTap-Cdest-Dest-Port: 7000",
                                           "X-JTap-Cdest-Source-Address: 100.100.100.100",
                                           "X-JTap-Cdest-Source-Port: 7001"))
                asked += 1
            time.sleep(round_ * 0.002)  # a moment of chance: nothing is concluded from it
            lab.daemons["flowtap-control"].stop(signal.SIGKILL)
            answers = 0
            try:
                while (answer := client.read()) is not None:
                    assert answer.code == 200
                    answered.add(int(answer["CRITERIA-ID"]))
                    answers += 1
            except ConnectionResetError:
                pass
        lab.start("flowtap-control")
        with lab.client() as client:
            found = set(ids(client))
            assert answered <= found, "an answered tap is gone"
            assert len(found) <= len(answered) + asked - answers
            until(lambda found=found: live(lab) == len(found), "the dataplane's taps are control's")
            if round_ % 3 == 2:
                gone = client.request("DELETE", "Criteria-ID: *", "Flags: Static")
                assert int(gone["CRITERIA-COUNT"]) == len(found)
                found = set()
            answered = found
    assert lab.health()["control"]["counters"]["taps-not-restored"] == 0


def test_a_killed_dataplane_gets_every_tap_back_before_it_forwards(lab):
    with lab.client() as client:
        wanted = sorted(int(add(client)["CRITERIA-ID"]) for _ in range(10))
        lab.daemons["flowtap-dataplane"].stop(signal.SIGKILL)
        until(lambda: not lab.health()["dataplane"]["connected"], "the death noticed")
        client.send(client.message("ADD", "Cdest-ID: md1", "Flags: STATIC", f"Source-Address: {TARGET}",
                                   "X-JTap-Cdest-Dest-Address: 2.2.2.1", "X-JTap-Cdest-Dest-Port: 7000",
                                   "X-JTap-Cdest-Source-Address: 100.100.100.100", "X-JTap-Cdest-Source-Port: 7001"))
        late = client.read()
        dataplane = lab.start("flowtap-dataplane")
        if late.code == 200:
            wanted = sorted([*wanted, int(late["CRITERIA-ID"])])
        else:
            assert late.code == 500, "a dataplane that stays away is an error, not silence"
        assert f"ready: forwarding, {len(wanted)} taps" in dataplane.output()
        lab.wait_restored()
        assert ids(client) == wanted
        assert client.request("DELETE", "Criteria-ID: *", "Flags: Static")["CRITERIA-COUNT"] == str(len(wanted))


def test_a_hung_dataplane_is_noticed_and_everything_goes_on_when_it_moves_again(lab):
    with lab.client() as client:
        first = int(add(client)["CRITERIA-ID"])
        lab.daemons["flowtap-dataplane"].signal(signal.SIGSTOP)
        until(lambda: lab.health()["control"]["state"] != "ready", "the hang noticed")
        assert any("dataplane" in alarm for alarm in lab.health()["alarms"])
        assert add(client).code == 500
        lab.daemons["flowtap-dataplane"].signal(signal.SIGCONT)
        lab.wait_restored()
        assert ids(client) == [first]
        assert add(client).code == 200


@pytest.mark.dtcp("6.timeout-total")
def test_a_timed_out_tap_ends_by_itself(lab):
    with lab.client() as client:
        assert add(client, "Flags: SendAsync", "Timeout-Total: 1").code == 200
        until(lambda: live(lab) == 0 and not ids(client), "the end of the tap")
    assert lab.health()["control"]["taps-timed-out"] == 1


def test_a_client_that_is_not_in_the_group_cannot_connect(lab):
    with pytest.raises(PermissionError):
        connect_as(lab.run_dir / "dtcp.sock", lab.user("noc"))
    with pytest.raises(PermissionError):
        connect_as(lab.run_dir / "ctl.sock", lab.user("officer"))
    assert (lab.run_dir / "dtcp.sock").stat().st_mode & 0o777 == 0o660


def test_the_process_is_an_ordinary_one_that_nobody_can_look_into(lab):
    status = pathlib.Path(f"/proc/{lab.daemons['flowtap-control'].process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    uid = str(lab.accounts.uid("flowtap-control"))
    assert fields["Uid"].split() == [uid] * 4
    assert all(int(fields[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
    assert fields["NoNewPrivs"].strip() == "1"
    limits = pathlib.Path(f"/proc/{lab.daemons['flowtap-control'].process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"
    assert lab.daemons["flowtap-control"].stop() == 0


def test_a_key_without_a_counter_record_is_refused_until_it_is_recorded(lab):
    tunnel, = lab.show("delivery")["tunnels"]
    assert tunnel["state"] == "up" and tunnel["lease-remaining"] > 0
    for daemon in lab.daemons.values():
        daemon.stop()
    shutil.rmtree(lab.state)
    lab.start("flowtap-dataplane", "")
    lab.start("flowtap-control")
    lab.wait_restored()
    tunnel, = lab.show("delivery")["tunnels"]
    assert tunnel["state"] == "refused" and "--new-keys" in tunnel["trouble"]
    assert "another flowtap-control is running" in lab.new_keys().stderr
    lab.daemons["flowtap-control"].stop()
    assert lab.new_keys().stdout == "1 new keys recorded, 0 known already\n"
    lab.start("flowtap-control")
    lab.wait_restored()
    assert lab.show("delivery")["tunnels"][0]["state"] == "up"


def test_control_may_restart_as_often_as_it_likes_without_using_up_sequence_numbers(lab):
    before = lab.show("delivery")["tunnels"][0]
    for _ in range(5):
        lab.daemons["flowtap-control"].stop(signal.SIGKILL)
        lab.start("flowtap-control")
        lab.wait_restored()
    assert lab.show("delivery")["tunnels"][0]["lease-remaining"] == before["lease-remaining"]


def test_a_record_that_was_rolled_back_is_refused_by_the_registry_that_knows_better(lab):
    saved = {name: (lab.state / name).read_bytes() for name in ("leases", "leases.generation")}
    for daemon in ("flowtap-dataplane", "flowtap-dataplane"):  # each life of the dataplane takes a block
        lab.daemons[daemon].stop(signal.SIGKILL)
        lab.start(daemon)
        lab.wait_restored()
    lab.daemons["flowtap-control"].stop(signal.SIGKILL)
    for name, content in saved.items():
        (lab.state / name).write_bytes(content)
    lab.start("flowtap-control")
    lab.wait_restored()
    assert lab.show("delivery")["tunnels"][0]["state"] == "up", "what a living dataplane has was granted for certain"
    lab.daemons["flowtap-dataplane"].stop(signal.SIGKILL)
    lab.start("flowtap-dataplane")
    lab.wait_restored()
    tunnel = lab.show("delivery")["tunnels"][0]
    assert tunnel["state"] == "refused" and "rolled back" in tunnel["trouble"]


def test_the_nocs_views_hold_nothing_of_a_target(lab):
    with lab.client() as client:
        added = add(client, cdest="secret-cdest")
        shown = "".join(lab.ctl("show", what, *form).stdout
                        for what in ("health", "ports", "workers", "delivery") for form in ((), ("--json",)))
        log = lab.log("flowtap-control").read_text()
    for identity in (TARGET, "2.2.2.1", "ft-ttp", "secret-cdest", added["CRITERIA-ID"], SA_KEY.hex(),
                     KEYS["ft-ttp"].decode()):
        assert identity not in shown
        assert identity not in log


def test_flowtapctl_says_what_is_wrong(lab):
    assert "alarms" in lab.ctl("show", "health").stdout
    assert lab.ctl("show", "health", account="noc").returncode == 0
    refused = lab.ctl("show", "health", account="officer")
    assert refused.returncode == 3 and '"flowtap"' in refused.stderr
    wrong = lab.ctl("show", "taps")
    assert wrong.returncode == 2 and "show health" in wrong.stderr
    lab.daemons["flowtap-control"].stop()
    absent = lab.ctl("show", "health")
    assert absent.returncode == 1 and "not running" in absent.stderr


def test_a_client_that_does_not_read_is_dropped_and_nobody_else_notices(lab):
    with lab.client() as slow, lab.client() as other:
        slow.connection.setblocking(False)
        noop = b"".join(slow.message("NOOP") for _ in range(50))
        stalled = 0
        while stalled < 20:
            try:
                slow.connection.send(noop)
                stalled = 0
            except BlockingIOError:
                stalled += 1
                assert other.request("NOOP").code == 200
        until(lambda: lab.health()["control"]["counters"]["clients-dropped"] == 1, "the end of the slow client")
        assert other.request("NOOP").code == 200


def test_bad_configuration_and_missing_groups_are_told_apart_by_exit_codes():
    with Lab() as lab:
        def run(prefix):
            return subprocess.run([*map(str, prefix), PROGRAMS["flowtap-control"], "--config", lab.config],
                                  capture_output=True, text=True, check=False)
        nowhere = run([])
        assert nowhere.returncode == 3
        assert "flowtap" in nowhere.stderr and ("useradd" in nowhere.stderr or "groupadd" in nowhere.stderr)
        lab.config.write_text(lab.configuration().replace("[control]", "[control]\nnonsense = 1"))
        wrong = run(lab.accounts.prefix)
        assert wrong.returncode == 2 and "nonsense" in wrong.stderr and "flowtap.toml:" in wrong.stderr
        lab.config.write_text(lab.configuration())
        (lab.folder / "keys" / "ft-two").unlink()
        missing = run(lab.accounts.prefix)
        assert missing.returncode == 2 and "keys/ft-two" in missing.stderr


def test_a_legacy_suite_is_warned_of_and_a_weak_key_is_refused_where_it_stands():
    parts = ["0123456789abcdef", "23456789abcdef01", "456789abcdef0123"]
    with Lab() as lab:
        def write_sa(key):
            lab.secret("sa.toml", f'''spi = 0x1001
suite = "3des-cbc-hmac-sha1-96"
key = "{key}"
authentication-key = "{bytes(range(20)).hex()}"
'''.encode())
        write_sa(parts[0] + parts[0] + parts[2])
        weak = lab.control()
        assert weak.returncode == 2
        assert f"{lab.folder}/keys/sa.toml:3:7: a weak 3DES key: its first and second part are the same" in weak.stderr
        write_sa("".join(parts))
        lab.start_all()
        log = lab.log("flowtap-control").read_text()
        assert 'tunnel "ttp"' in log and "3des-cbc-hmac-sha1-96 is a legacy suite" in log
        assert lab.show("delivery")["tunnels"][0]["state"] == "up"
        for said in (weak.stdout + weak.stderr, log, lab.log("flowtap-dataplane").read_text()):
            assert not any(part in said for part in parts)


def test_with_extended_sequence_numbers_every_life_of_the_dataplane_takes_the_next_wide_lease():
    with Lab() as lab:
        lab.secret("sa.toml", f'''spi = 0x1001
suite = "aes-256-cbc-hmac-sha-256-128"
key = "{SA_KEY[:32].hex()}"
authentication-key = "{SA_KEY[4:].hex()}"
extended-sequence-numbers = true
'''.encode())
        lab.start_all()
        end, block = (1 << 64) - 1, 1 << 28
        for first in (1, block, 2 * block):
            if first != 1:
                lab.daemons["flowtap-dataplane"].stop(signal.SIGKILL)
                lab.start("flowtap-dataplane")
                lab.wait_restored()

            def left():
                tunnel, = lab.show("delivery")["tunnels"]
                return tunnel["state"], tunnel["lease-remaining"], tunnel["sequence-remaining"]
            wanted = ("up", block - first % block, end - first)
            until(lambda: left() == wanted, f"the lease from {first} on")


@pytest.mark.dtcp("5.refresh-answer")
def test_a_refreshed_tap_outlives_its_first_timeout_and_a_killed_control(lab):
    with lab.client() as client:
        kept = add(client, "Flags: SendAsync", "Timeout-Total: 10")["CRITERIA-ID"]
        add(client, "Flags: SendAsync", "Timeout-Total: 3")
        answer = client.request("REFRESH", f"Criteria-ID: {kept}", "Timeout-Total: 3600")
        assert answer.code == 200 and answer["CRITERIA-COUNT"] == "1"
    lab.daemons["flowtap-control"].stop(signal.SIGKILL)
    lab.start("flowtap-control")
    with lab.client() as client:
        until(lambda: ids(client) == [int(kept)], "the end of the tap that was not refreshed")
        entry, = client.request("LIST").entries()
        assert entry["TIMEOUT-TOTAL"] == "3600" and int(entry["REMAINING-TOTAL"]) > 1800
        assert entry["NUM-REFRESH"] == "1"


def test_a_session_that_is_never_authentic_is_delayed_and_an_alarm_and_nobody_else_notices(lab):
    with lab.client() as client, lab.client() as other:
        for _ in range(3):
            client.send(client.message("NOOP", key=b"wrong"))
        until(lambda: any("authentication fails repeatedly" in alarm for alarm in lab.health()["alarms"]), "the alarm")
        client.send(client.message("NOOP"))
        assert other.request("NOOP").code == 200
        assert client.read().code == 200, "it is heard in the end"
        assert not any("authentication" in alarm for alarm in lab.health()["alarms"])
    assert "authentication fails repeatedly" in lab.log("flowtap-control").read_text()
