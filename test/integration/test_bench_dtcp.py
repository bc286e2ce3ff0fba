"""tools/bench/dtcp runs the real processes and says what it has measured, in the form that it documents. Nothing here is a
matter of speed."""

import json
import os
import subprocess

import pytest
from daemons import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces")

LEVELS = (3, 10)
PROCESSES = {"client", "control", "sshd", "bridge", "manager"}


def bench(*arguments):
    return subprocess.run([ROOT / "tools" / "bench" / "dtcp", *map(str, arguments)], capture_output=True,
                          text=True, check=False)


@pytest.fixture(scope="module")
def rows():
    levels = [word for level in LEVELS for word in ("--taps", level)]
    done = bench("--json", *levels, "--samples", 5, "--adds", 20, "--rounds", 2, "--window", 4)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_row_of_each_kind_for_each_number_of_taps(rows):
    assert [(row["row"], row["taps"]) for row in rows] == [
        (f"{kind}-{taps}", taps) for taps in LEVELS for kind in ("pipelined", "single", "first-copy")]


def test_every_row_has_what_it_measured(rows):
    for row in rows:
        assert row["samples"] == (40 if row["row"].startswith("pipelined") else 5)
        assert 0 < row["p50_us"] <= row["p90_us"] <= row["p99_us"]
        assert row["adds_per_second"] > 0
        # A process that took no time was not the one that did the work.
        assert set(row["cpu_us"]) == PROCESSES and all(value > 0 for value in row["cpu_us"].values())


def test_numbers_that_make_no_sense_are_refused():
    done = bench("--samples", 0)
    assert done.returncode == 2 and "at least 1" in done.stderr
