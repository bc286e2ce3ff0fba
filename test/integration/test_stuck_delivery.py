"""Copies that cannot leave never hold a frame up: from a source that does not wait for the worker, at a rate that it can do,
every frame crosses while every copy is lost, and every copy is counted under its cause."""

import os

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination
from test_copies import PLAIN, SEALED, check_ledger
from wire_load import RING, WireLoad, device
from wires import Wires

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

# Of the highest rate: the rest is for what copies cost without harm, and for a machine that has more to do by now.
SHARE = 0.25
FRAMES = 2 * RING   # each way: a worker that is held up loses all that the ring does not keep


@pytest.mark.parametrize("copy_buffers,cause", [(530, "copy-no-buffer"), (4096, "copy-tx-full")])
def test_frames_that_do_not_wait_all_cross_while_no_copy_can_leave(tmp_path, copy_buffers, cause):
    """Nobody empties the delivery port, a ring: after some copies it, or the pool, is used up for good."""
    with Wires("ab") as wires, \
         Box(tmp_path, wait=TAPS_FIRST, device_a=device("a"), device_b=device("b"), device_d="net_ring2",
             copy_buffers=copy_buffers, prefix=wires.prefix) as box:
        with Driver(box) as driver, WireLoad(wires) as load:
            driver.do("resync")
            driver.sa()
            driver.commit()
            box.wait_ready()
            pace = int(load.search() * SHARE)
            before = load.drain()
            driver.tap(0, 1, [destination(SEALED), destination(PLAIN, 5001)])  # every frame, twice
            driver.commit()
            load.pace(pace)
            load.wait(FRAMES)
            end = load.drain()
            until(lambda: sum(port.get("rx-packets", 0) for port in driver.counters()["ports"]) == sum(end["received"]),
                  "all frames counted")
            counters = driver.counters([0])
        box.stop()
    frames = sum(end["sent"]) - sum(before["sent"])
    assert end["lost"] == before["lost"], f"frames lost at {pace} a second each way, {frames} sent"
    assert all("tx-dropped" not in port for port in counters["ports"][:2])
    check_ledger(counters)
    total = counters["total"]
    assert total["matched-packets"] == counters["tap"]["0"]["matched-packets"] == frames
    assert total["matches"] == 2 * frames
    assert total["copies-sent"] == counters["ports"][2]["tx-packets"] < 4096, "the port is stuck"
    lost = {name: count for name, count in total.items() if name.startswith("copy-")}
    assert lost == {cause: 2 * frames - total["copies-sent"]}, "by no other cause"
    assert counters["tap"]["0"]["copies-dropped"] == lost[cause]
