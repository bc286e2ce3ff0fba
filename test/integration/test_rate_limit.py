"""A destination's rate-limit: its copies never go beyond burst-size + rate * time, over all workers together; what is beyond is
counted, and neither another destination's copies nor a frame on its way is lost for it.

Time is an upper bound, taken from before the dataplane started (its bucket is full then) to after the counters were read: the
limit has to hold whatever the machine does meanwhile."""

import json
import os
import subprocess
import time

import pytest
from daemons import PROGRAMS, until
from dataplane import TAPS_FIRST, Box, Driver, destination
from scapy.all import IP, UDP, IPv6, Raw
from test_copies import SEALED, check_ledger, ether
from test_workers import CORES, TwoWorkers, exchange, rest
from wires import Wires

BURST = 131_072
SLOW = 8              # bit/s: time adds next to nothing
LENGTH = 1000         # of each original
COPY = LENGTH + 28    # what is counted: the copy's IP packet, with its UDP header
BATCH = BURST // 8    # what all workers have in hand at most; as much is kept back, so a full bucket is BURST - BATCH

root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def config(rate, burst=BURST):
    """The first destination is the limited one: account 0."""
    return "".join(f"""
[[destination]]
name = "to-{port}"
address = "{SEALED}"
port = {port}
source-address = "1.1.1.1"
source-port = 6000
{limit}
""" for port, limit in ((5001, f"rate-limit = {rate}\nburst-size = {burst}"), (5002, "")))


LIMITED, FREE = destination(SEALED, 5001, account=0), destination(SEALED, 5002, account=1)


def original(i, length=LENGTH):
    return IP(src="10.0.0.7", dst="192.0.2.1", id=i & 0xFFFF) / UDP(sport=i % 40 + 1, dport=53) / Raw(bytes(length - 28))


class Since:
    """Bytes that may have passed by now."""

    def __init__(self, rate):
        self.rate = rate
        self.start = time.monotonic()

    def most(self):
        return BURST - BATCH + self.rate / 8 * (time.monotonic() - self.start)


def received(box, name="d-out0.pcap"):
    """{port: copies}, as flowtap-receive opens them."""
    done = subprocess.run([PROGRAMS["flowtap-receive"], "--sa", box.folder / "sa.toml", "--read", box.folder / name, "--json"],
                          capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["refused"] == 0
    return {item["port"]: item["packets"] for item in report["destinations"]}


def check_limited(counters, most, frames):
    """Of taps 0, to both destinations, and 1, to the limited one; returns copies that passed the limit."""
    check_ledger(counters)
    both, one = counters["tap"]["0"], counters["tap"]["1"]
    total = counters["total"]
    assert {name: count for name, count in total.items() if name.startswith("copy-")} == \
        {"copy-rate-limited": both["copies-dropped"] + one["copies-dropped"]}
    for tap in (both, one):
        assert tap["matched-packets"] == frames
        assert tap["copy-rate-limited"] == tap["copies-dropped"]
    assert total["matches"] == 3 * frames == total["copies-sent"] + total["copy-rate-limited"]
    passed = total["copies-sent"] - frames  # the free destination's are all there
    assert passed == 2 * frames - total["copy-rate-limited"]
    assert passed * COPY <= most
    return passed


def install(driver):
    driver.do("resync")
    driver.sa()
    driver.tap(0, 1, [LIMITED, FREE], source=["10.0.0.7"])
    driver.tap(1, 2, [LIMITED], protocol=[17])
    driver.commit()


def test_beyond_the_burst_copies_are_dropped_and_counted_and_nobody_else_loses_any(tmp_path):
    frames = [ether(original(i)) for i in range(600)]
    since = Since(SLOW)
    with Box(tmp_path, frames, wait=TAPS_FIRST, tail=config(SLOW)) as box:
        with Driver(box) as driver:
            install(driver)
            box.wait_ready()
            until(lambda: driver.counters()["total"].get("matches") == 3 * len(frames), "all copies decided")
            counters = driver.counters([0, 1])
            most = since.most()
    passed = check_limited(counters, most, len(frames))
    # What is left of the full bucket is less than a copy.
    assert passed * COPY > BURST - BATCH - 1 - COPY
    assert received(box) == {5001: passed, 5002: len(frames)}
    assert box.out("b") == frames


@root
def test_after_the_burst_the_rate_goes_on(tmp_path):
    rate = 800_000  # a copy in 10 ms
    frames = [ether(original(i)) for i in range(16)]
    since = Since(rate)
    with Wires("ab") as wires, \
         Box(tmp_path, wait=TAPS_FIRST, tail=config(rate), device_a="net_af_packet0,iface=wire-a",
             device_b="net_af_packet1,iface=wire-b", prefix=wires.prefix) as box:
        with Driver(box) as driver:
            install(driver)
            box.wait_ready()
            sent = 0

            def beyond():
                nonlocal sent
                exchange(wires, {"a": frames})
                sent += len(frames)
                total = rest(driver, sent)["total"]
                return (total["copies-sent"] - sent) * COPY > 1.5 * BURST and "copy-rate-limited" in total
            until(beyond, "half as much as the burst again")
            counters = driver.counters([0, 1])
            most = since.most()
    passed = check_limited(counters, most, sent)
    assert received(box) == {5001: passed, 5002: sent}


@root
@pytest.mark.skipif(len(CORES) < 2, reason="two workers need two cores")
def test_two_workers_share_one_limit(tmp_path):
    frames = [ether(IP(src="10.0.0.7", dst=f"192.0.2.{flow}") / UDP(sport=flow + 1, dport=53) / Raw(bytes(LENGTH - 28)))
              for _ in range(16) for flow in range(40)]
    since = Since(SLOW)
    with Wires("ab") as wires, TwoWorkers(tmp_path, wires, tail=config(SLOW)) as box:
        with Driver(box) as driver:
            install(driver)
            box.wait_ready()
            got = exchange(wires, {"a": frames})
            rest(driver, len(frames))
            counters = driver.counters([0, 1])
            most = since.most()
    assert len(got["b"]) == len(frames)
    assert all(worker["busy_cycles"] > 0 for worker in counters["workers"])
    passed = check_limited(counters, most, len(frames))
    assert passed * COPY > BURST - 2 * BATCH - 3 * COPY  # kept back, and at most as much in hands
    assert sum(received(box, f"d-out{queue}.pcap").get(5001, 0) for queue in range(2)) == passed


def test_of_a_copy_in_pieces_every_header_counts(tmp_path):
    """Two packets each, over IPv6 with 48 bytes of headers; the bytes are those that left."""
    tail = config(SLOW).replace(SEALED, "2001:db8:3::1").replace("1.1.1.1", "2001:db8::1")
    frames = [ether(IPv6(src="2001:db8::7", dst="2001:db8:1::1") / UDP(sport=1, dport=2) / Raw(bytes(1400 - 48)))] * 150
    since = Since(SLOW)
    with Box(tmp_path, frames, wait=TAPS_FIRST, tail=tail, delivery_mtu=1280) as box:
        with Driver(box) as driver:
            driver.do("resync")
            driver.tap(0, 1, [destination("2001:db8:3::1", 5001, "2001:db8::1", account=0)], family=6)
            driver.commit()
            box.wait_ready()
            until(lambda: driver.counters()["total"].get("matches") == len(frames), "all copies decided")
            counters = driver.counters([0])
            most = since.most()
    check_ledger(counters)
    left = sum(len(frame) - 14 for frame in box.out("d"))
    assert left <= most
    assert left > BURST - BATCH - 1 - left / counters["total"]["copies-sent"]
    assert counters["tap"]["0"]["copy-rate-limited"] == len(frames) - counters["total"]["copies-sent"] > 0
