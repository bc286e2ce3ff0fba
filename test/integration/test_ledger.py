"""More copies are owed than can leave, by every cause at once: no frame of the wire is lost for it, and what each tap
and each content destination was owed is what was delivered and what was dropped by name."""

import collections

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination, read_frames
from scapy.all import IP, UDP, Raw
from test_copies import PLAIN, SEALED, causes_of, check_ledger, ether, open_copies

NO_ROUTE = "9.9.9.9"
NO_SA = "4.4.4.4"
SECOND_TUNNEL = """
[[tunnel]]
name = "unarmed"
local = "100.100.100.100"
remote = "123.123.123.124"
sa = "{folder}/sa.toml"
[[route]]
prefix = "4.4.4.0/24"
tunnel = "unarmed"
"""
DESTINATION = """
[[destination]]
name = "{port}"
address = "{address}"
port = {port}
source-address = "1.1.1.1"
source-port = 6000
"""
BEYOND = 6  # more taps match a frame of host 7 than are told: 64 and these


def frames(count, size=200):
    """Of hosts 7, 8 and 9 by turns."""
    return [ether(IP(src=f"10.0.0.{7 + i % 3}", dst="192.0.2.1", id=i) / UDP(sport=1, dport=2) / Raw(bytes(size)))
            for i in range(count)]


def forward(box, driver, sent):
    """Waits for all frames at the other side and all that is owed settled; returns the counters of 80 taps."""
    until(lambda: len(read_frames(box.folder / "b-out.pcap")) == len(sent), "all frames")

    def settled():
        total = driver.counters()["total"]
        lost = sum(count for name, count in total.items() if name.startswith("copy-"))
        return total.get("matches", 0) and total["matches"] == total.get("copies-sent", 0) + lost
    until(settled, "every copy sent or lost")
    return driver.counters(range(80))


def run(folder, sent, task, **settings):
    """All frames through a box that `task(driver)` has tasked: none is lost, the ledger closes. Returns the counters of 80
    taps, and the box, which has stopped."""
    with Box(folder, sent, wait=TAPS_FIRST, **settings) as box:
        with Driver(box) as driver:
            driver.do("resync")
            task(driver)
            driver.commit()
            counters = forward(box, driver, sent)
        box.stop()
    assert box.out("b") == sent, "no frame of the wire is lost"
    check_ledger(counters)
    return counters, box


def check_tap(tap, matched, destinations):
    assert tap["matched-packets"] == matched
    assert tap.get("copies-sent", 0) + tap.get("copies-dropped", 0) == matched * destinations


def test_every_cause_at_once_is_counted_by_tap_and_by_destination(tmp_path):
    sent = frames(300)
    each = len(sent) // 3
    # Places in the configuration; what has no route and the last one it does not name.
    named = [(SEALED, 5000), (PLAIN, 5001), (NO_SA, 5003), (SEALED, 5004), (PLAIN, 5005)]
    to = {port: destination(address, port, account=account) for account, (address, port) in enumerate(named)}
    taps = {0: ("10.0.0.7", [to[5000]]),
            1: ("10.0.0.8", [to[5001], destination(NO_ROUTE, 5002)]),
            2: ("10.0.0.8", [to[5003]]),
            3: ("10.0.0.9", [to[5004], to[5005], destination(NO_SA, 5006)])}
    lease = 150  # of the 200 copies that want it

    def task(driver):
        driver.sa(count=lease)
        for slot, (source, destinations) in taps.items():
            driver.tap(slot, slot + 1, destinations, source=[source])

    tail = "".join(DESTINATION.format(address=address, port=port) for address, port in named)
    counters, box = run(tmp_path, sent, task, tail=SECOND_TUNNEL.format(folder=tmp_path) + tail)
    total = counters["total"]
    assert {name: count for name, count in total.items() if name.startswith("copy-")} == \
        {"copy-no-route": each, "copy-no-sa": 2 * each, "copy-no-lease": 2 * each - lease}
    delivered = collections.Counter(inner[UDP].dport for inner, _ in open_copies(box.out("d")))
    assert delivered[5000] + delivered[5004] == lease
    assert (delivered[5001], delivered[5005]) == (each, each)
    assert not {5002, 5003, 5006} & set(delivered)
    for slot, (_, destinations) in taps.items():
        tap = counters["tap"][str(slot)]
        check_tap(tap, each, len(destinations))
        assert tap.get("copies-sent", 0) == sum(delivered[each_of["dest_port"]] for each_of in destinations)
    assert causes_of(counters["tap"]["1"]) == {"copy-no-route": each}
    assert causes_of(counters["tap"]["2"]) == {"copy-no-sa": each}
    assert counters["tap"]["3"]["copy-no-sa"] == each
    accounts = counters["destinations"]
    for account, (_, port) in enumerate(named):
        assert accounts[str(account)]["copies-owed"] == each
        assert accounts[str(account)].get("copies-sent", 0) == delivered[port]
    assert causes_of(accounts["2"]) == {"copy-no-sa": each}
    assert accounts["other"] == {"copies-owed": 2 * each, "copy-no-route": each, "copy-no-sa": each}


def test_an_association_without_a_lease_seals_nothing(tmp_path):
    sent = frames(90)

    def task(driver):
        driver.sa(first=1, count=1)
        driver.tap(0, 1, [destination(SEALED)])

    counters, box = run(tmp_path, sent, task)
    assert counters["total"]["copies-sent"] == len(box.out("d")) == 1
    assert counters["total"]["copy-no-lease"] == counters["tap"]["0"]["copies-dropped"] == len(sent) - 1


def test_taps_beyond_the_most_of_one_frame_are_counted_and_cost_no_frame(tmp_path):
    sent = frames(120)
    each = len(sent) // 3
    taps = 64 + BEYOND

    def task(driver):
        for slot in range(taps):
            driver.tap(slot, slot + 1, [destination(PLAIN, 5000 + slot)], source=["10.0.0.7"])
        for slot in range(taps, taps + 5):
            driver.tap(slot, slot + 1, [destination(PLAIN, 5000 + slot)], source=["10.0.0.8"])

    counters, box = run(tmp_path, sent, task)
    total = counters["total"]
    assert total["match-overflow"] == BEYOND * each
    assert total["matches"] == total["copies-sent"] == (64 + 5) * each
    delivered = collections.Counter(int.from_bytes(frame[36:38], "big") - 5000 for frame in box.out("d"))
    for slot in range(taps + 5):
        tap = counters["tap"][str(slot)]
        assert tap.get("copies-sent", 0) == delivered[slot] == tap.get("matched-packets", 0), "each tap by itself"
    assert all(delivered[slot] == each for slot in range(taps, taps + 5)), "others are not touched"


@pytest.mark.parametrize("copy_buffers,cause", [(512, "copy-no-buffer"), (4096, "copy-tx-full")])
def test_a_stuck_delivery_port_and_many_taps_cost_no_frame(tmp_path, copy_buffers, cause):
    """Nobody empties the delivery port, a ring: 30 copies of every third frame, for two destinations of every tap."""
    sent = frames(1500)
    each = len(sent) // 3

    def task(driver):
        driver.sa()
        for slot in range(30):
            driver.tap(slot, slot + 1, [destination(SEALED, 5000 + slot), destination(PLAIN, 6000 + slot)],
                       source=["10.0.0.7"])
        driver.tap(30, 31, [destination(NO_ROUTE)], source=["10.0.0.8"])

    counters, _ = run(tmp_path, sent, task, device_d="net_ring2", copy_buffers=copy_buffers)
    total = counters["total"]
    assert total["matches"] == 61 * each
    assert total["copy-no-route"] == each
    assert total[cause] == 60 * each - total["copies-sent"] > 50 * each, "by no other cause"
    for slot in range(30):
        check_tap(counters["tap"][str(slot)], each, 2)
    check_tap(counters["tap"]["30"], each, 1)
    assert counters["ports"][2].get("tx-packets") == total["copies-sent"], "what the port took is what was sent"
