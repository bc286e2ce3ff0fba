"""tools/test: builds the project, runs every test, prints a summary for a person; --sanitizers adds a build.

The tests themselves are Meson's; each leaves a JUnit file, and a test program that dies before it can write one
counts as a failure. The last line is `tests: N passed, N failed, N skipped`; the exit code is 1 if any failed.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]

SANITIZED = ["-Db_lundef=false", "-Doptimization=1", "-Dsanitized_only=true"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One build of the project and the suites run there."""
    label: str
    folder: str
    purpose: str
    suites: list
    options: list = dataclasses.field(default_factory=list)
    programs: dict = dataclasses.field(default_factory=dict)  # test: its build target; empty: all


RUNS = [
    Run("plain", "build", "as shipped", ["unit", "exact", "model", "fuzz", "integration", "e2e", "bench"]),
    Run("asan+ubsan", "build-asan", "AddressSanitizer and UndefinedBehaviorSanitizer", ["unit", "fuzz"],
        ["-Db_sanitize=address,undefined", *SANITIZED]),
    # What threads share: the rings, the tap table, the counter blocks of an SA.
    Run("tsan", "build-tsan", "ThreadSanitizer", ["unit"], ["-Db_sanitize=thread", *SANITIZED],
        {"unit-lib": "test/unit/lib/unit-lib", "unit-match": "test/unit/dataplane/match/unit-match",
         "unit-crypto": "test/unit/crypto/unit-crypto"}),
]
ON_REQUEST = {"asan+ubsan"}  # its build takes longer than all the rest

SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.seconds = 0.0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds


def build(run):
    print(f"-- building {run.folder}", flush=True)
    subprocess.run([ROOT / "tools/packaging/build", run.folder, *run.options, "--", *run.programs.values()],
                   check=True, stdin=subprocess.DEVNULL)


def cases(path):
    """Each case of a JUnit file: name, outcome, text."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname') or ''} {case.get('name')}".strip()
        bad = case.find("failure")
        bad = bad if bad is not None else case.find("error")
        if bad is not None:
            yield name, "failed", (bad.get("message") or "") + "\n" + (bad.text or "")
        elif case.find("skipped") is not None:
            yield name, "skipped", case.find("skipped").get("message") or ""
        else:
            yield name, "passed", ""


def run_suite(run, suite, long_runs, failures, skips):
    label = run.label
    junit = ROOT / run.folder / "junit" / suite
    shutil.rmtree(junit, ignore_errors=True)
    junit.mkdir(parents=True)
    environment = {**os.environ, **SANITIZER_ENVIRONMENT, "FLOWTAP_JUNIT_DIR": str(junit)}
    if long_runs:
        environment["FLOWTAP_LONG"] = "1"
    log = ROOT / run.folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    # No time limits: a busy machine is slow, not wrong.
    command = ["meson", "test", "-C", run.folder, "--no-rebuild", "--suite", suite, "--timeout-multiplier", "0",
               *run.programs]
    subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    tally = Tally()
    tally.seconds = time.monotonic() - started
    programs = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for program in programs:
        name = program["name"].split(" / ")[-1]
        report = junit / f"{name}.xml"
        counts = Tally()
        if report.exists():
            try:
                for case, outcome, text in cases(report):
                    setattr(counts, outcome, getattr(counts, outcome) + 1)
                    if outcome == "failed":
                        failures.append((f"{label} {name}: {case}", text))
                    elif outcome == "skipped":
                        skips.append((f"{label} {name}: {case}", text))
            except ElementTree.ParseError as error:
                print(f"   {report}: {error}")
        good = program["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
        if not good and counts.failed == 0:
            counts.failed += 1
            failures.append((f"{label} {name}: {program['result']}",
                             (program.get("stdout") or "")[-6000:] + (program.get("stderr") or "")[-6000:]))
        elif good and counts.passed + counts.skipped == 0:
            counts.passed += 1
        tally.add(counts)
    return tally


def run_lint(failures):
    """The checks of tools/lint that take seconds."""
    tally = Tally()
    started = time.monotonic()
    command = [sys.executable, ROOT / "test/support/lint.py", "--quick"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    tally.seconds = time.monotonic() - started
    if done.returncode == 0:
        tally.passed = 1
    else:
        tally.failed = 1
        failures.append(("tools/lint --quick", done.stdout + done.stderr))
    return tally


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description="Builds and runs every test.")
    parser.add_argument("--suite", action="append", choices=RUNS[0].suites, help="only this suite")
    parser.add_argument("--plain", action="store_true", help="only the build that is shipped, without TSan")
    parser.add_argument("--sanitizers", action="store_true",
                        help="all unit tests and corpora also with ASan+UBSan (one more build)")
    parser.add_argument("--long", action="store_true", help="the long runs as well (hours)")
    arguments = parser.parse_args()

    if os.geteuid() != 0:
        print("note: not root: the tests that need network namespaces or raw sockets will be counted as skipped")
    failures, skips, rows, total = [], [], [], Tally()
    for run in RUNS[:1] if arguments.plain else RUNS:
        if run.label in ON_REQUEST and not arguments.sanitizers:
            continue
        suites = [suite for suite in run.suites if not arguments.suite or suite in arguments.suite]
        if not suites:
            continue
        build(run)
        for suite in suites:
            print(f"-- running {suite} ({run.purpose})", flush=True)
            tally = run_suite(run, suite, arguments.long, failures, skips)
            if tally.passed + tally.failed + tally.skipped:
                rows.append((run.label, suite, tally))
                total.add(tally)
    if not arguments.suite:
        rows.append(("", "lint", run_lint(failures)))
        total.add(rows[-1][2])

    for name, text in failures:
        print(f"\nFAILED {name}\n{text.strip()}")
    for name, text in skips:
        print(f"\nskipped {name}: {text.strip()}")
    print(f"\n{'build':<12}{'suite':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for label, suite, tally in rows:
        print(f"{label:<12}{suite:<14}{tally.passed:>8}{tally.failed:>8}{tally.skipped:>9}{tally.seconds:>9.0f}")
    print(f"\ntests: {total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
