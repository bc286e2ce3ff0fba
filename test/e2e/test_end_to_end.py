"""The whole appliance in network namespaces, with real traffic: what the demonstration claims, and more."""

import collections
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import demo
import kernel_peer
import pcaps
from daemons import ROOT, until
from dtcp_client import Message, sign
from kernel_lab import KernelLab
from lab import (BOX_MANAGEMENT, CONTENT_DESTINATION, CONTENT_PORT, SERVER, SOURCE, SOURCE_KEY, SPI, SSH_PORT,
                 SUBSCRIBER, TUNNEL_LOCAL, TUNNEL_REMOTE, Lab)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture(name="lab")
def running_lab():
    with Lab() as lab:
        lab.start_all()
        lab.serve_files()
        yield lab


@pytest.mark.parametrize("huge_pages", [None, False], ids=["huge pages where free", "ordinary pages"])
def test_the_demonstration_keeps_what_its_table_claims(huge_pages):
    with Lab(huge_pages=huge_pages) as lab:
        rows = demo.story(lab)
    assert len(rows) == 8
    assert not [row for row in rows if not row[2]]


@pytest.mark.skipif(not os.environ.get("FLOWTAP_LONG") or not kernel_peer.available(),
                    reason="for tools/test --long, with user-mode-linux and /dev/net/tun")
def test_a_linux_kernel_opens_what_the_demonstration_sends():
    with KernelLab() as lab:
        rows = demo.story(lab)
    assert len(rows) == 10
    assert not [row for row in rows if not row[2]]


def openssh(lab, data, seconds_open=3.0):
    """A plain OpenSSH client; its standard input stays open long enough for every answer."""
    command = [*lab.inside("mediation"), *lab.accounts_prefix(), "ssh", "-T", "-o", "StrictHostKeyChecking=no", "-o",
               "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-p", str(SSH_PORT),
               "-i", str(lab.identity()), f"{SOURCE}@{BOX_MANAGEMENT}", "-s", "flow-tap-dtcp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        answer, errors = client.communicate(data)
    assert client.returncode == 0, errors.decode()
    return answer


def hand_made_add(seq, *filters, key=SOURCE_KEY):
    lines = ["ADD DTCP/0.7", *filters, "Cdest-ID: md1", "Priority: 2", "Flags: STATIC",
             f"X-JTap-Cdest-Dest-Address: {CONTENT_DESTINATION}", f"X-JTap-Cdest-Dest-Port: {CONTENT_PORT}",
             f"X-JTap-Cdest-Source-Address: {TUNNEL_LOCAL}", "X-JTap-Cdest-Source-Port: 40000",
             "X-JTap-Cdest-TTL: 255", f"Csource-ID: {SOURCE}", f"Seq: {seq}"]
    return sign("".join(line + "\r\n" for line in lines).encode(), key)


def esp_inner_packets(lab, path):
    """The original packets in a capture of ESP, opened by scapy, which shares no code with us."""
    from scapy.layers.inet import IP, UDP  # pylint: disable=import-outside-toplevel
    from scapy.layers.ipsec import ESP, SecurityAssociation  # pylint: disable=import-outside-toplevel
    association = SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=lab.sa_key,
                                      tunnel_header=IP(src=TUNNEL_LOCAL, dst=TUNNEL_REMOTE))
    for link, frame in pcaps.packets(path):
        packet = pcaps.layer3(link, frame)
        if packet is None or packet[0] >> 4 != 4 or packet[9] != 50:
            continue
        inner = association.decrypt(IP(bytes(packet)))
        assert inner[IP].src == TUNNEL_LOCAL and inner[IP].dst == CONTENT_DESTINATION
        assert inner[UDP].sport == 40000 and inner[UDP].dport == CONTENT_PORT and inner[IP].ttl == 255
        yield bytes(inner[UDP].payload)


@pytest.mark.dtcp("1.ssh-client", "7.cdest-dest", "7.cdest-source")
def test_a_plain_openssh_client_adds_a_tap_and_scapy_opens_what_it_copies(lab):
    answer = Message.parse(openssh(lab, hand_made_add(1, f"Source-Address: {SUBSCRIBER[4]}", "Protocol: 6",
                                                      "Dest-Port: 80")))
    assert answer.first_line == "DTCP/0.7 200 OK"
    assert answer.verified(SOURCE_KEY)
    assert answer["SEQ"] == "1"
    assert int(answer["CRITERIA-ID"]) > 0
    assert list(answer.names()) == ["SEQ", "CRITERIA-ID", "TIMESTAMP", "AUTHENTICATION-INFO"]

    esp, at_subscriber = lab.folder / "esp.pcap", lab.folder / "subscriber.pcap"
    mediation = lab.capture("mediation", "eth0", esp, "ip", "proto", "50")
    subscriber = lab.capture("subscriber", "eth0", at_subscriber, "ip", "and", "src", SUBSCRIBER[4], "and", "tcp",
                             "dst", "port", "80")
    assert lab.ping(4)
    lab.download(4)
    lab.download(6)
    lab.wire_ledger()
    lab.end_capture(subscriber)
    captured = [bytes(pcaps.layer3(link, frame)) for link, frame in pcaps.packets(at_subscriber)]
    assert len(captured) > 20  # far fewer than segments: many are acknowledged at once
    until(lambda: pcaps.count(esp) >= len(captured), "the copies")
    lab.end_capture(mediation)
    assert collections.Counter(esp_inner_packets(lab, esp)) == collections.Counter(captured)


@pytest.mark.dtcp("3.silent-signature")
def test_a_wrong_signature_gets_no_answer_and_makes_no_tap(lab):
    forged = hand_made_add(1, f"Source-Address: {SUBSCRIBER[4]}", key=b"not the key")
    good = sign(f"NOOP DTCP/0.7\r\nCsource-ID: {SOURCE}\r\nSeq: 2\r\n".encode(), SOURCE_KEY)
    answers = openssh(lab, forged + good)
    assert answers.startswith(b"DTCP/0.7 200"), "the only answer is the one to the good request"
    assert answers.count(b"DTCP/0.7") == 1
    assert Message.parse(answers)["SEQ"] == "2"
    log = (lab.folder / "flowtap-control.log").read_text()
    assert "authentication" in log.lower()
    assert lab.taps() == []


@pytest.mark.dtcp("9.400-form")
def test_a_malformed_request_is_answered_400_with_its_line(lab):
    wrong = sign(f"NOOP DTCP/0.7\r\nthis is no parameter\r\nCsource-ID: {SOURCE}\r\nSeq: 1\r\n".encode(), SOURCE_KEY)
    answer = openssh(lab, wrong)
    assert answer.startswith(b"DTCP/0.7 400")
    assert b"this is no parameter" in answer


def test_killing_control_loses_no_frame_and_stops_no_copy(lab):
    for field in ("--source-address", "--dest-address"):
        lab.dtcp("add", *lab.tap_options(), field, SUBSCRIBER[4])
    received, at_subscriber = lab.folder / "received.pcap", lab.folder / "subscriber.pcap"
    receiver = lab.receive(received)
    capture = lab.capture("subscriber", "eth0", at_subscriber, "ip")

    command = [*lab.inside("subscriber"), *lab.download_command(4, "2M")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as download:
        data = download.stdout.read(1_000_000)
        lab.daemons["flowtap-control"].stop(signal.SIGKILL)
        copies_at_death = pcaps.count(received)
        data += download.stdout.read()
    assert download.returncode == 0
    assert hashlib.sha256(data).digest() == hashlib.sha256((lab.folder / "www" / "data").read_bytes()).digest()

    assert lab.wire_ledger()["lost"] == 0
    lab.end_capture(capture)
    expected = sum(1 for link, frame in pcaps.packets(at_subscriber)
                   if SUBSCRIBER[4] in map(str, pcaps.addresses(pcaps.layer3(link, frame))))
    until(lambda: pcaps.count(received) >= expected, "the copies made while control was dead")
    assert pcaps.count(received) > copies_at_death
    code, summary = lab.end_receive(receiver)
    assert (code, summary["sequence"]["missing"]) == (0, 0)
    assert pcaps.same_packets(at_subscriber, received, [SUBSCRIBER[4]]) == (True, "0 missing, 0 that were not captured")

    # A new control process finds the taps as they were, and can end them.
    lab.start("flowtap-control")
    until(lambda: lab.ctl("health", check=False).get("dataplane", {}).get("state") == "forwarding", "the link")
    entries = lab.taps()
    assert len(entries) == 2
    assert all(entry["matching_packets"] > 0 for entry in entries)
    for entry in entries:
        lab.dtcp("delete", "--criteria-id", str(entry["criteria_id"]), "--static")
    assert lab.taps() == []


def test_the_dataplane_restarts_with_every_tap_before_its_first_frame(lab):
    for field in ("--source-address", "--dest-address"):
        lab.dtcp("add", *lab.tap_options(), field, SUBSCRIBER[4])
    lab.daemons["flowtap-dataplane"].stop(signal.SIGKILL)
    # Every frame that reaches the subscriber from now on has crossed the new dataplane.
    esp, at_subscriber = lab.folder / "esp.pcap", lab.folder / "subscriber.pcap"
    mediation = lab.capture("mediation", "eth0", esp, "ip", "proto", "50")
    subscriber = lab.capture("subscriber", "eth0", at_subscriber, "ip", "and", "src", SERVER[4])
    lab.start("flowtap-dataplane")
    until(lambda: lab.download(4, check=False), "a download through the new dataplane")
    lab.wire_ledger()
    lab.end_capture(subscriber)
    captured = [bytes(pcaps.layer3(link, frame)) for link, frame in pcaps.packets(at_subscriber)]
    assert len(captured) > 20  # far fewer than segments: many are acknowledged at once
    until(lambda: pcaps.count(esp) >= len(captured), "the copies")
    lab.end_capture(mediation)
    copies = [packet for packet in esp_inner_packets(lab, esp)
              if str(pcaps.addresses(packet)[0]) == SERVER[4]]
    assert collections.Counter(copies) == collections.Counter(captured)
    # Sequence numbers, which are the IVs, went on: none of the first life was used again.
    assert lab.lowest_iv(esp) >= 1 << 24


def test_neither_the_noc_nor_the_logs_see_who_is_tapped(lab):
    lab.dtcp("add", *lab.tap_options(), "--source-address", SUBSCRIBER[4], "--intercept-id", "0x00000abc00000def",
             check=False)
    lab.dtcp("add", *lab.tap_options(), "--dest-address", SUBSCRIBER[6])
    lab.download(4)
    lab.download(6)
    shown = "".join(json.dumps(lab.ctl(what)) for what in ("health", "ports", "workers", "delivery"))
    logs = "".join(path.read_text(errors="replace") for path in lab.folder.glob("flowtap-*.log"))
    for secret in (SUBSCRIBER[4], SUBSCRIBER[6], CONTENT_DESTINATION, "md1", lab.sa_key.hex(), SOURCE_KEY.decode()):
        assert secret not in shown, f"{secret} in the NOC's view"
        assert secret not in logs, f"{secret} in a log"


def test_an_interrupted_demonstration_leaves_nothing_behind():
    def traces():
        namespaces = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
        return {line.split()[0] for line in namespaces.splitlines()} | \
               {path.name for path in pathlib.Path("/tmp").glob("ft-*")}
    before = traces()
    with subprocess.Popen([sys.executable, "-B", ROOT / "test/support/demo.py"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "test/support")}) as process:
        for line in process.stdout:
            if "tapped: the same traffic" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert traces() <= before
