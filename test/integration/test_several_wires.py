"""Several wires in one dataplane, with frames both ways on each: all come out at the other end of their own wire, in order and
nowhere else, are counted at their own ports, and are copied to a tap on a port only where they came in there."""

import collections
import os

import pytest
from daemons import until
from dataplane import TAPS_FIRST, Box, Driver, destination, read_frames, write_frames
from scapy.all import IP, UDP, Raw
from test_copies import PLAIN, check_ledger, ether

MORE = [("c", "e"), ("f", "g")]                 # wires beside the Box's own, which is ("a", "b")
PORTS = ["a", "b", "d", "c", "e", "f", "g"]     # in the order of the configuration; d is the delivery port
PEER = {near: far for pair in [("a", "b"), *MORE] for near, far in (pair, pair[::-1])}
CORES = sorted(os.sched_getaffinity(0))[:2]


def frames(port):
    """Alike on all ports but for what tells where they come from, and of another number on each."""
    return [ether(IP(src="10.0.0.7", dst="192.0.2.1", id=i) / UDP(sport=1, dport=2) / Raw(f"{port} {i} ".encode() * (1 + i % 50)))
            for i in range(300 + 100 * PORTS.index(port))]


def tail(folder):
    text = ""
    for pair in MORE:
        for port in pair:
            text += f'[[port]]\nname = "{port}"\ndevice = "net_pcap{PORTS.index(port)},rx_pcap={folder}/{port}-in.pcap,' \
                    f'tx_pcap={folder}/{port}-out.pcap"\n'
        text += f'[[wire]]\nname = "edge-{pair[0]}"\na = "{pair[0]}"\nb = "{pair[1]}"\n'
    return text


@pytest.mark.parametrize("workers", [CORES[-1:], CORES], ids=["one-worker", "two-workers"])
def test_frames_stay_on_their_wire_and_are_counted_at_its_ports(tmp_path, workers):
    if workers == CORES and len(CORES) < 2:
        pytest.skip("two workers need two cores")
    sent = {port: frames(port) for port in PEER}
    for port in PEER:
        write_frames(tmp_path / f"{port}-in.pcap", sent[port])
    tapped = {"b": 0, "c": 1, "f": 2}  # port: slot of the tap on it
    with Box(tmp_path, sent["a"], sent["b"], wait=TAPS_FIRST, workers=workers, share_cores=True, memory=512,
             tail=tail(tmp_path)) as box:
        with Driver(box) as driver:
            driver.do("resync")
            for port, slot in tapped.items():
                driver.tap(slot, slot + 1, [destination(PLAIN, 5000 + slot)], interfaces=[[PORTS.index(port), None]])
            driver.commit()
            until(lambda: all(len(read_frames(tmp_path / f"{port}-out.pcap")) >= len(sent[PEER[port]]) for port in PEER),
                  "all frames")
            until(lambda: sum(port.get("rx-packets", 0) for port in driver.do("counters", ports=len(PORTS))["ports"])
                  == sum(map(len, sent.values())), "all frames counted")
            counters = driver.do("counters", taps=list(tapped.values()), ports=len(PORTS))
        box.stop()
    for port in PEER:
        assert box.out(port) == sent[PEER[port]], f"what came out of {port}"
        counted = counters["ports"][PORTS.index(port)]
        expected = {"rx-packets": len(sent[port]), "rx-bytes": sum(map(len, sent[port])),
                    "tx-packets": len(sent[PEER[port]]), "tx-bytes": sum(map(len, sent[PEER[port]]))}
        assert {name: counted.get(name) for name in expected} == expected and "tx-dropped" not in counted, port
    check_ledger(counters)
    copies = collections.defaultdict(list)
    for frame in box.out("d"):
        copies[int.from_bytes(frame[36:38], "big") - 5000].append(frame[42:])
    assert copies == {slot: [frame[14:] for frame in sent[port]] for port, slot in tapped.items()}
