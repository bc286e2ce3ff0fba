"""DTCP over UDP and notifications, with both real daemons: numbers, replays over restarts, LIST in datagrams."""

import contextlib
import os
import signal
import socket

import pytest

from daemons import until
from dtcp_udp import Peer, UdpClient, free_port
from test_control import KEYS, TARGET, Lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts of the test's own need root")

TOP = (1 << 64) - 1
IPV6_MTU = 24  # linux/in6.h; Python's socket does not name it
ADD = (f"Source-Address: {TARGET}", "Cdest-ID: md1", "X-JTap-Cdest-Dest-Address: 2.2.2.1",
       "X-JTap-Cdest-Dest-Port: 7000", "X-JTap-Cdest-Source-Address: 100.100.100.100", "X-JTap-Cdest-Source-Port: 7001")
STATIC = (*ADD, "Flags: Static")


class UdpLab(Lab):
    def __init__(self):
        self.port = free_port()
        self.peer = Peer(KEYS["ft-ttp"])
        super().__init__()

    def configuration(self):
        # The first source only.
        return super().configuration().replace('name = "ft-ttp"', f'''name = "ft-ttp"
udp = true
notify = ["127.0.0.1:{self.peer.port}"]
notify-sessions = true''', 1) + f"""
[udp]
listen = ["0.0.0.0", "::1"]
ports = [{self.port}]
"""

    def udp(self, source="ft-ttp", sequence=0, address="127.0.0.1", key=None):
        return UdpClient((address, self.port), source, key or KEYS[source], sequence)

    def counters(self):
        return self.health()["control"]["counters"]

    def restart(self):
        self.daemons["flowtap-control"].stop(signal.SIGKILL)
        self.start("flowtap-control")
        self.wait_restored()

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.peer.close()


@pytest.fixture(name="lab")
def running_lab():
    with UdpLab() as lab:
        lab.start_all()
        yield lab


def count(lab):
    return lab.health()["dataplane"].get("taps")


@pytest.mark.dtcp("1.udp-identity", "1.udp-reply")
def test_every_request_works_over_udp_and_the_answer_comes_from_the_address_it_went_to(lab):
    for number, address in enumerate(("127.0.0.1", "127.0.0.2", "::1")):
        with lab.udp(address=address, sequence=number * 10) as client:
            assert client.request("NOOP").first_line == "DTCP/0.7 200 OK"
            added = client.request("ADD", *STATIC)
            assert added.code == 200
            listed = client.request("LIST")
            assert [entry["CRITERIA-ID"] for entry in listed.entries()] == [added["CRITERIA-ID"]]
            assert listed.entries()[0]["CSOURCE-ADDRESS"] == ("::1" if address == "::1" else "127.0.0.1")
            until(lambda: count(lab) == 1, "the dataplane's tap")
            assert client.request("DELETE", f"Criteria-ID: {added['CRITERIA-ID']}", "Flags: Static")["CRITERIA-COUNT"] == "1"
            until(lambda: count(lab) == 0, "the dataplane without the tap")


@pytest.mark.dtcp("1.udp-seq-durable", "3.silent-sequence", "3.seq-seen")
def test_of_10_000_replayed_messages_none_is_accepted_or_answered_before_or_after_a_crash(lab):
    with lab.udp() as client:
        recorded = []
        for _ in range(100):
            recorded.append(client.message("ADD", *STATIC))
            client.send(recorded[-1])
            assert client.read()[0].code == 200
        until(lambda: count(lab) == 100, "the dataplane's taps")
        before = lab.counters()["rejected-sequence"]
        sent = 0
        for round_ in range(100):
            for data in recorded:
                client.send(data)
                sent += 1
            # No faster than they are counted: the kernel must lose none of them.
            until(lambda wanted=before + sent: lab.counters()["rejected-sequence"] == wanted, "the counter of replays")
            if round_ == 49:
                assert client.quiet()
                lab.restart()
                before, sent = lab.counters()["rejected-sequence"], 0
        assert client.quiet()
        assert count(lab) == 100
        assert client.request("DELETE", "Criteria-ID: *", "Flags: Static")["CRITERIA-COUNT"] == "100"


@pytest.mark.dtcp("1.udp-off", "3.silent-source", "3.logged-and-counted", "3.seq-authentic-only")
def test_what_is_not_authentic_gets_no_answer_but_a_counter_and_a_line_in_the_log(lab):
    with lab.udp() as client:
        client.send(client.message("NOOP", key=b"wrong"))
        client.send(client.message("NOOP", source="nobody"))
        client.send(client.message("NOOP", source="ft-two", key=KEYS["ft-two"]))  # may not use UDP
        client.send(b"\x00" * 5000)
        assert client.quiet()
        assert client.request("NOOP", sequence=1).code == 200, "and no number was used up"
    counters = lab.counters()
    assert (counters["rejected-signature"], counters["rejected-source"], counters["datagrams"]) == (1, 3, 5)
    log = lab.log("flowtap-control").read_text()
    assert "wrong signature (account udp, source 1)" in log
    assert "may not use UDP (account udp, source 2)" in log
    assert "ft-t" not in log.replace("ft-ttp/", "")


@pytest.mark.dtcp("8.udp-size", "8.udp-whole")
def test_a_list_comes_in_messages_of_at_most_1400_bytes_each_whole(lab):
    with lab.udp() as client:
        wanted = sorted(int(client.request("ADD", *STATIC)["CRITERIA-ID"]) for _ in range(30))
        client.send(client.message("LIST"))
        entries = []
        messages = 0
        while len(entries) < len(wanted):
            message, _ = client.read()
            assert len(message.raw) <= 1400
            assert message["SEQ"] == str(client.sequence)
            entries += message.entries()
            messages += 1
        assert messages > 1
        assert sorted(int(entry["CRITERIA-ID"]) for entry in entries) == wanted
        assert [int(entry["CRITERIA-NUM"]) for entry in entries] == list(range(1, 31))
        assert client.quiet()


@pytest.mark.dtcp("3.logged-and-counted")
def test_replays_are_logged_with_their_reason(lab):
    with lab.udp() as client:
        assert client.request("NOOP", sequence=1000).code == 200
        client.send(client.message("NOOP", sequence=1000))
        client.send(client.message("NOOP", sequence=1257))
        assert client.quiet()
    assert lab.counters()["rejected-sequence"] == 2
    log = lab.log("flowtap-control").read_text()
    assert "sequence number seen before (account udp, source 1)" in log
    assert "sequence number outside the window (account udp, source 1)" in log


@pytest.mark.dtcp("1.udp-max-message")
def test_a_message_in_fragments_is_taken_whole(lab):
    with lab.udp(address="::1") as client:
        client.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU, 1280)
        for size in (1_300, 30_000, 65_000):
            assert client.request("NOOP", "X-Note: " + "n" * (size - 150)).code == 200
            padded = client.message("NOOP", "X-Note: " + "n" * (size - 150))
            client.send(padded[:100] + b"m" + padded[101:])
            assert client.quiet(), "the last fragment counts as the first does"


@pytest.mark.dtcp("3.seq-wrap-told", "9.130")
def test_numbers_survive_a_crash_and_pass_zero_with_a_notification(lab):
    assert lab.peer.expect(599)["ALERT-INFO"]
    with lab.udp() as client:
        assert client.request("NOOP", sequence=TOP - 3).code == 200
        lab.restart()
        client.send(client.message("NOOP", sequence=TOP - 3))
        client.send(client.message("NOOP", sequence=300))
        assert client.quiet()
        assert client.request("NOOP", sequence=2).code == 200
        lab.peer.expect(599)
        lab.peer.expect(130)
    line = "sequence numbers have passed zero (account udp, source 1)"
    until(lambda: line in lab.log("flowtap-control").read_text(), "the line in the log")


@pytest.mark.dtcp("3.signed-notifications", "3.notification-no-seq", "5.noop-async", "9.131",
                  "9.notify-udp", "9.notify-sessions")
def test_a_noop_with_sendasync_is_notified_on_udp_and_to_sessions_that_are_the_source(lab):
    lab.peer.expect(599)
    with lab.client() as session, lab.client("ft-two") as other, lab.udp() as client:
        assert session.request("NOOP").code == 200
        assert other.request("NOOP").code == 200
        assert client.request("NOOP", "Flags: SendAsync").code == 200
        assert lab.peer.expect(131).first_line.startswith("DTCP/0.7 131")
        notice = session.read()
        assert notice.code == 131 and "SEQ" not in notice
        assert session.request("NOOP").code == 200
        assert other.request("NOOP").code == 200


@pytest.mark.dtcp("9.599")
def test_criteria_that_a_restart_has_lost_are_told_and_those_that_it_kept_are_not(lab):
    lab.peer.expect(599)
    with lab.udp() as client:
        assert client.request("ADD", *STATIC).code == 200
        lab.restart()
        assert lab.peer.read(0.5) is None
        for daemon in ("flowtap-control", "flowtap-dataplane"):
            lab.daemons[daemon].stop(signal.SIGKILL)
        lab.start("flowtap-dataplane", "")
        lab.start("flowtap-control")
        lab.wait_restored()
        lab.peer.expect(599)
        assert client.request("LIST").entries() == []


@pytest.mark.dtcp("6.timeout-told", "9.390")
def test_a_timeout_is_notified_where_the_add_asked_for_it(lab):
    lab.peer.expect(599)
    with lab.udp() as client:
        assert client.request("ADD", *ADD, "Timeout-Total: 1").code == 200
        added = client.request("ADD", *ADD, "Timeout-Total: 1", "Timeout-Idle: 100", "Flags: SendAsync")
        notice = lab.peer.expect(390)
        assert notice["CRITERIA-ID"] == added["CRITERIA-ID"]
        assert (notice["TIMEOUT-TOTAL"], notice["REMAINING-TOTAL"], notice["TIMEOUT-IDLE"]) == ("1", "0", "100")
        assert lab.peer.read(1.5) is None, "the other one was not to be told"


def test_a_key_without_a_record_is_refused_until_the_operator_says_that_it_is_new():
    with UdpLab() as lab, contextlib.ExitStack() as stack:
        lab.start("flowtap-dataplane", "")
        lab.start("flowtap-control")
        client = stack.enter_context(lab.udp())
        client.send(client.message("NOOP", sequence=1))
        assert client.quiet()
        assert "no good sequence record" in lab.log("flowtap-control").read_text()
        lab.daemons["flowtap-control"].stop()
        assert "1 new keys of UDP sources recorded" in lab.new_keys().stdout
        lab.start("flowtap-control")
        lab.wait_restored()
        assert client.request("NOOP", sequence=1).code == 200


@pytest.mark.dtcp("3.seq-reset")
def test_the_operator_can_reset_the_numbers_of_a_source(lab):
    with lab.udp() as client:
        assert client.request("NOOP", sequence=1 << 40).code == 200
        lab.daemons["flowtap-control"].stop()
        done = lab.control("--reset-sequence", "ft-ttp", "--after", "10")
        assert done.returncode == 0, done.stderr
        assert lab.control("--reset-sequence", "ft-two").returncode == 2
        lab.start("flowtap-control")
        lab.wait_restored()
        client.send(client.message("NOOP", sequence=10))
        assert client.quiet()
        assert client.request("NOOP", sequence=11).code == 200


@pytest.mark.dtcp("3.juniper-never-on-udp")
def test_the_well_known_key_is_refused_for_udp():
    with UdpLab() as lab:
        lab.secret("ft-ttp", b"Juniper\n")
        done = lab.control()
        assert done.returncode == 2
        assert "the well-known key proves nothing on UDP" in done.stderr
