"""The tools that measure the packet path run, measure what their rows say, and refuse what they cannot do. Nothing here is
a matter of speed."""

import importlib.machinery
import importlib.util
import json
import os
import re
import struct
import subprocess
import types

import pytest
from daemons import BUILD, ROOT

COMPARE = ROOT / "tools" / "bench" / "compare"
TESTPMD_HUGE_PAGES = 2 * 160  # testpmd's 256 MiB, and as much again for what captures from it


def load(path):
    """A command as a module."""
    loader = importlib.machinery.SourceFileLoader(path.name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(path.name, loader))
    loader.exec_module(module)
    return module


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def rows_of(*command):
    done = run(*command)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def can_run_testpmd():
    free = int(re.search(r"HugePages_Free:\s*(\d+)", open("/proc/meminfo").read())[1])
    return os.geteuid() == 0 and (os.cpu_count() or 1) > 1 and free >= TESTPMD_HUGE_PAGES


@pytest.mark.skipif(not can_run_testpmd(), reason=f"needs root, two cores and {TESTPMD_HUGE_PAGES} huge pages")
@pytest.mark.parametrize("name, peer, tapped", [
    ("forward-60-0", "testpmd-io", 0), ("copy1-60-10000", "testpmd-io", 1), ("copy100-1514-10000", "testpmd-io", 100),
    ("pdump1-60-10000", "testpmd-pdump", 1), ("pdump100-60-10000", "testpmd-pdump", 100),
    ("seal-64-aes-256-gcm-16", "ipsec-mb", 100), ("seal-1490-3des-cbc-hmac-sha1-96", "ipsec-mb", 100),
    ("cryptodev-64", "cryptodev", 0), ("inline10-60", "sum-of-parts", 10), ("classify-10000", "rte_acl", 0),
    ("hostile-ports-candidate-10000", "clean", 0)])
def test_compare_measures_a_row(name, peer, tapped):
    (row,) = rows_of(COMPARE, "--json", "--rounds", 2, "--seconds", 0.3, "--row", name)
    assert row["row"] == name and row["rounds"] == 2
    assert row["peer"] == peer and row["tapped_percent"] == tapped
    assert row["mpps"] > 0 and row["peer_mpps"] > 0 and row["cycles"] > 0
    assert ("bare" in row) == (not peer.startswith("testpmd"))
    if name.startswith("seal"):
        assert row["ratio"] < row["bare"], "the whole path takes longer than a part of it"


def sources(path):
    content, at = path.read_bytes(), 24
    while at < len(content):
        size = struct.unpack_from("<I", content, at + 8)[0]
        yield content[at + 16 + 26:at + 16 + 30]
        at += 16 + size


@pytest.mark.parametrize("percent, expected", [(0, 0), (1, 40), (100, 4096)])
def test_the_named_share_of_compares_frames_is_tapped(tmp_path, percent, expected):
    compare = load(COMPARE)
    compare.write_traffic(tmp_path / "60.pcap", 60, percent)
    tapped = [source == bytes([10, 255, 255, 254]) for source in sources(tmp_path / "60.pcap")]
    assert len(tapped) == 4096 and sum(tapped) == expected
    # Evenly spread: the burst that has many would be the only one to pay.
    assert all(sum(tapped[i:i + 100]) == percent for i in range(0, 4000, 100))


@pytest.mark.parametrize("tapped, matches, copies, good", [
    (100, 990, 990, True), (1, 10, 10, True), (0, 0, 0, True), (100, 990, 900, False), (1, 0, 0, False), (1, 990, 990, False),
    (0, 10, 10, False)])
def test_compare_does_not_take_a_row_for_what_it_is_not(tapped, matches, copies, good):
    compare = load(COMPARE)
    counters = {"ports": [{"rx-packets": 1000}], "total": {"matches": matches, "copies-sent": copies}}
    program = types.SimpleNamespace(counters=lambda: counters)
    row = compare.Row(60, 0, tapped=tapped)
    if good:
        compare.Flowtap.check(program, row)
    else:
        with pytest.raises(SystemExit):
            compare.Flowtap.check(program, row)


def test_compare_refuses_a_row_that_is_not_there():
    done = run(COMPARE, "--row", "copy2-60-10000")
    assert done.returncode == 2 and "copy1-60-10000" in done.stderr


def bench(name, *arguments):
    return rows_of(BUILD / "test" / "bench" / name, "--json", *arguments)


def test_acl_bench_has_each_peer():
    rows = bench("acl-bench", "--taps", "0,20")
    assert {row["taps"] for row in rows} == {20}
    assert {row["row"] for row in rows} == {"acl-none", "acl-near", "acl-dest-near", "acl-dest-spread", "hash-none",
                                            "hash-spread"}
    assert all(row["cycles"] > 0 and row["build_ms"] > 0 for row in rows)
    assert {row["simd"] for row in rows if row["row"] == "acl-none"} >= {"portable"}


def test_hostile_bench_compares_with_the_clean_row_of_the_same_table():
    rows = bench("hostile-bench", "--taps", 20)
    clean = None
    for row in rows:
        table, frames = row["row"].split("-", 1)
        if frames == "clean":
            clean = (table, row["cycles"])
        assert clean[0] == table and row["ratio"] == pytest.approx(row["cycles"] / clean[1])
    assert {row["row"].split("-")[0] for row in rows} == {"hosts", "levels", "ports", "shared"}
    # What a candidate is verified for is not optimised away: none is as cheap as a frame that nobody taps.
    shared = {row["taps"]: row["ratio"] for row in rows if row["row"] == "shared-candidate"}
    assert 1000 in shared and min(shared.values()) > 1.2


def test_match_benchs_naive_peer_does_its_work():
    rows = bench("match-bench", "--taps", "0,1000", "--row", "naive")
    assert [row["taps"] for row in rows] == [0, 1000]
    assert rows[1]["cycles"] > 20 * rows[0]["cycles"]


def test_copy_bench_has_each_part_and_the_naive_way_beside_it():
    rows = {row["row"]: row["cycles"] for row in bench("copy-bench")}
    sizes = {f"copy{family}{naive}-{size}" for family in ("", "-ipv6") for naive in ("", "-naive") for size in (60, 1514)}
    assert set(rows) == sizes | {"hold-60", "hold-naive-60", "own-clean", "own-exact"}
    # What is copied is not optimised away.
    assert rows["copy-ipv6-1514"] > rows["copy-ipv6-60"] > 0


@pytest.mark.parametrize("arguments", [["--taps", "ten"], ["--taps", "10x"], ["--taps"], ["--fast"]])
@pytest.mark.parametrize("name", ["match-bench", "acl-bench", "hostile-bench", "copy-bench"])
def test_options_that_make_no_sense_are_refused(name, arguments):
    done = run(BUILD / "test" / "bench" / name, *arguments)
    assert done.returncode == 2 and f"usage: {name}" in done.stderr


def test_plot_takes_the_median_of_a_row_and_leaves_zero_taps_out():
    plot = load(ROOT / "tools" / "bench" / "plot")
    lines = [json.dumps({"row": "hash-none", "simd": "-", "taps": taps, "cycles": 5, "mpps": mpps})
             for taps, mpps in ((100, 9), (10, 5), (10, 1), (10, 2), (0, 7))]
    lines.append(json.dumps({"row": "add", "simd": "-", "taps": 100, "cycles": 5, "p99_us": 1}))
    assert plot.read_rows([*lines, ""]) == {("hash-none", "-"): {10: 2, 100: 9}}
    assert list(plot.read_rows(lines)["hash-none", "-"]) == [10, 100]


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"row": "hash-none"}'])
def test_plot_refuses_what_is_no_row(line):
    plot = load(ROOT / "tools" / "bench" / "plot")
    with pytest.raises(SystemExit, match="line 1 is no row"):
        plot.read_rows([line])
