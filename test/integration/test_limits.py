"""Notifications of what happens to copies, with both real daemons and frames that come at a known rate: a destination
beyond its soft limit (580), beyond its hard one (680), and copies that cannot leave (598)."""

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
import time

import pytest

from daemons import until
from dtcp_udp import Peer
from scapy.all import IP, UDP, Ether, Raw
from test_control import KEYS
from test_udp import UdpLab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

LENGTH = 1000  # of each IP packet
WINDOW = 10  # seconds of an average


def host(number):
    return f"10.11.12.{number}"


def frame(number):
    packet = IP(src=host(number), dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(bytes(LENGTH - 28))
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)


class Feed:
    """A network namespace in which a link leads into the wire's port a."""

    def __init__(self):
        self.name = f"ft-limits-{secrets.token_hex(3)}"
        self.prefix = ["nsenter", f"--net=/run/netns/{self.name}", "--"]
        self._ip("netns", "add", self.name)
        self._ip("-n", self.name, "link", "add", "wire-a", "type", "veth", "peer", "name", "feed")
        for interface in ("wire-a", "feed"):
            subprocess.run([*self.prefix, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1"], check=True)
            self._ip("-n", self.name, "link", "set", interface, "up")
        opened = []
        # A namespace is the thread's that has entered it, and a socket stays in the one that it was made in.
        maker = threading.Thread(target=lambda: opened.append(self._open()))
        maker.start()
        maker.join()
        self.socket, = opened

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True)

    def _open(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.name}", "rb") as namespace:
            if libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        made.bind(("feed", 0))
        return made

    def send(self, number, count=1):
        data = frame(number)
        for _ in range(count):
            self.socket.send(data)

    @contextlib.contextmanager
    def rates(self, bits):
        """{host: bit/s}, all the time that the block takes; yields {host: frames sent}, which is final after the block."""
        stop = threading.Event()
        sent = dict.fromkeys(bits, 0)

        def run():
            start = time.monotonic()
            while not stop.wait(0.02):
                for number, rate in bits.items():
                    owed = int((time.monotonic() - start) * rate / 8 / LENGTH)
                    self.send(number, owed - sent[number])
                    sent[number] = owed
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield sent
        finally:
            stop.set()
            thread.join()

    def close(self):
        self.socket.close()
        self._ip("netns", "delete", self.name)


class LimitsLab(UdpLab):
    """Both sources are notified, each by its own peer; the wire's port a is fed."""

    def __init__(self, limits="", delivery="net_null2"):
        self.limits = limits
        self.delivery = delivery
        self.other_peer = Peer(KEYS["ft-two"])
        self.feed = Feed()
        super().__init__()

    def configuration(self):
        text = super().configuration().replace('"net_null0"', '"net_af_packet0,iface=wire-a"')
        text = text.replace('"net_null2"', f'"{self.delivery}"').replace("notify-sessions = true", "")
        return text.replace('name = "ft-two"', f'name = "ft-two"\nnotify = ["127.0.0.1:{self.other_peer.port}"]') + f"""
[[destination]]
name = "limited"
address = "2.2.2.1"
port = 7000
source-address = "100.100.100.100"
source-port = 7001
{self.limits}
"""

    def prefix(self, name):
        return [*(self.feed.prefix if name == "flowtap-dataplane" else ()), *super().prefix(name)]

    def forwarding(self):
        until(lambda: self.health()["dataplane"].get("state") == "forwarding", "the dataplane forwarding")
        for peer in (self.peer, self.other_peer):
            peer.expect(599)

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.other_peer.close()
        self.feed.close()


def add(client, number, cdest, *more):
    answer = client.request("ADD", f"Cdest-ID: {cdest}", f"Source-Address: {host(number)}", "Flags: Static", *more,
                            "X-JTap-Cdest-Dest-Address: 2.2.2.1", "X-JTap-Cdest-Dest-Port: 7000",
                            "X-JTap-Cdest-Source-Address: 100.100.100.100", "X-JTap-Cdest-Source-Port: 7001")
    assert answer.code == 200, answer.raw
    return answer["CRITERIA-ID"]


def listed(client):
    return {entry["CRITERIA-ID"]: entry for entry in client.request("LIST").entries()}


@pytest.mark.dtcp("9.580", "9.580-fields")
def test_a_passed_soft_limit_is_told_once_to_every_source_with_criteria_there():
    soft, rate = 200_000, 800_000
    with LimitsLab(f"soft-limit = {soft}\nhard-limit = 2_000_000") as lab:
        lab.start_all()
        lab.forwarding()
        with lab.client() as one, lab.client("ft-two") as two, lab.feed.rates({1: rate}):
            start = time.monotonic()
            loaded = add(one, 1, "md1")
            add(two, 9, "md9")  # hears of it though it carries nothing
            for peer, cdest in ((lab.peer, "md1"), (lab.other_peer, "md9")):
                notice = peer.expect(580)
                assert notice["CDEST-ID"] == cdest
                assert (notice["ALERT-BANDWIDTH"], notice["MAX-BANDWIDTH"]) == (str(soft), "2000000")
                average = int(notice["AVERAGE-BANDWIDTH"])
                assert soft < average < rate
            # An average of 10 s: at this rate no sooner than after a quarter of them. One look a second, one late sender.
            assert time.monotonic() - start > WINDOW * soft / rate - 1.5
            assert lab.peer.read(2) is None and lab.other_peer.read(0.1) is None
            assert list(listed(one)) == [loaded] and len(listed(two)) == 1


@pytest.mark.dtcp("3.isolation-notifications", "9.680", "9.680-fields")
def test_beyond_the_hard_limit_criteria_go_until_it_is_kept_and_each_source_hears_of_its_own():
    slow, fast = 120_000, 800_000
    with LimitsLab("hard-limit = 500_000") as lab:
        lab.start_all()
        lab.forwarding()
        with lab.client() as one, lab.client("ft-two") as two:
            important = add(one, 1, "md1", "Priority: 5")
            older = add(one, 2, "md1")
            newer = add(one, 3, "md1")
            other_important = add(two, 4, "md9", "Priority: 5")
            newest = add(two, 5, "md9")
            silent = add(two, 6, "md9")
            with lab.feed.rates({1: slow, 2: fast, 3: fast, 4: slow, 5: fast}):
                notice = lab.other_peer.expect(680)
                assert (notice["CDEST-ID"], notice["CRITERIA-ID"]) == ("md9", newest)
                gone = []
                while len(gone) < 2:
                    notice = lab.peer.expect(680)
                    assert notice["CDEST-ID"] == "md1"
                    gone += notice["CRITERIA-ID"].split(",")
                    # Told when it is so.
                    assert not set(gone) & set(listed(one))
                assert sorted(gone) == sorted([newer, older])
                assert len(notice["CRITERIA-ID"].split(",")) == 2 or gone == [newer, older], "the newest first"
                assert set(listed(one)) == {important} and set(listed(two)) == {other_important, silent}
                # What is left is within the limit, and goes on.
                before = int(listed(one)[important]["MATCHING-PACKETS"])
                assert lab.peer.read(2) is None and lab.other_peer.read(0.1) is None
                assert int(listed(one)[important]["MATCHING-PACKETS"]) > before
        until(lambda: lab.health()["dataplane"].get("taps") == 3, "the dataplane's taps")
        assert lab.counters()["taps-purged"] == 3


def dropped(peer, cdest, criterion, packets):
    """Reads 598s until they tell of so many packets; returns the sum of their bytes and how many there were."""
    seen = size = notices = 0
    while seen < packets:
        notice = peer.expect(598)
        assert (notice["CDEST-ID"], notice["CRITERIA-ID"]) == (cdest, criterion)
        seen += int(notice["DROPPED-PACKETS"])
        size += int(notice["DROPPED-BYTES"])
        notices += 1
    assert seen == packets
    return size, notices


@pytest.mark.dtcp("9.598", "9.598-fields")
def test_lost_copies_are_told_to_their_source_while_they_are_lost_and_all_of_them():
    """The tunnel has no association: its key is not recorded yet. When the operator has done that, copies leave."""
    with LimitsLab() as lab:
        lab.start("flowtap-dataplane", "")
        lab.start("flowtap-control")
        lab.wait_restored()
        lab.forwarding()
        with lab.client() as one, lab.client("ft-two") as two:
            criterion = add(one, 1, "md1")
            add(two, 9, "md9")
            lab.feed.send(1, 50)
            assert dropped(lab.peer, "md1", criterion, 50)[0] == 50 * LENGTH
            start = time.monotonic()
            told = []
            with lab.feed.rates({1: 400_000}) as sent:
                told += [lab.peer.expect(598), lab.peer.expect(598)]
                assert time.monotonic() - start > 0.5, "once a second"
            lost = 50 + sent[1]
            while (told_of := 50 + sum(int(notice["DROPPED-PACKETS"]) for notice in told)) < lost:
                told.append(lab.peer.expect(598))
            # Each tells what was lost since the one before, and together they tell all.
            assert told_of == lost == int(listed(one)[criterion]["MATCHING-PACKETS"])
            assert all(int(notice["DROPPED-PACKETS"]) > 0 for notice in told)
            assert lab.other_peer.read(0.1) is None, "nobody else is told"
            account = lab.show("delivery")["destinations"][0]
            assert (account["name"], account["owed"], account["sent"]) == ("limited", lost, 0)
            assert account["lost"] == {"copy-no-sa": lost}
        lab.daemons["flowtap-control"].stop()
        lab.new_keys()
        lab.start("flowtap-control")
        lab.wait_restored()
        with lab.client() as one:
            lab.feed.send(1, 100)
            until(lambda: int(listed(one)[criterion]["MATCHING-PACKETS"]) == lost + 100, "the matches")
            notice = lab.peer.read(2.5)
            assert notice is None, (notice.raw, lab.show("delivery"), lost)


@pytest.mark.dtcp("9.598")
def test_copies_that_a_full_delivery_port_loses_are_told():
    """A ring that nobody empties stands for a port whose link is full."""
    with LimitsLab(delivery="net_ring2") as lab:
        lab.start_all()
        lab.forwarding()
        with lab.client() as one:
            criterion = add(one, 1, "md1")
            for round_ in range(1, 61):
                lab.feed.send(1, 100)
                # No faster than they are taken: the kernel must lose none of them.
                until(lambda wanted=100 * round_: int(listed(one)[criterion]["MATCHING-PACKETS"]) == wanted, "the matches")

            def settled():
                copies = lab.show("delivery")["copies"]
                lost = sum(copies["lost"].values())
                return copies["sent"] + lost == 6000 and lost
            lost = until(settled, "every copy sent or lost")
            told = size = 0
            while told < lost:
                notice = lab.peer.expect(598)
                assert notice["CRITERIA-ID"] == criterion
                told += int(notice["DROPPED-PACKETS"])
                size += int(notice["DROPPED-BYTES"])
        assert told == lost > 1000 and size == told * LENGTH


def test_taps_beyond_those_that_one_frame_can_match_are_an_alarm():
    most = 64
    with LimitsLab() as lab:
        lab.start_all()
        lab.forwarding()
        with lab.client() as one:
            for _ in range(most + 2):
                add(one, 1, "md1")
            assert lab.health()["alarms"] == []
            lab.feed.send(1, 3)
            alarm = until(lambda: lab.health()["alarms"], "the alarm")
            until(lambda: lab.show("delivery")["copies"]["owed"] == 3 * most, "the copies")
            assert sum(int(entry["MATCHING-PACKETS"]) for entry in listed(one).values()) == 3 * most
            alarm, = lab.health()["alarms"]
            assert alarm.startswith("6 matches were left out")
