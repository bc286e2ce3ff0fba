"""tools/test: builds the project, runs every test, prints a summary for a person; --sanitizers adds a build.

The tests themselves are Meson's; each leaves a JUnit file, and a test program that dies before it can write one
counts as a failure. A program of UNSTABLE_SUITES that failed runs once more, alone: these drive several processes in
real time, and a machine that stops one of them for seconds is not a fault of the product. Only what fails twice counts
as failed; what passed only then is printed as UNSTABLE, with its first failure, to be looked into. The last line is
`tests: N passed, N failed, N skipped`; the exit code is 1 if any failed.
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
UNSTABLE_SUITES = {"integration", "e2e", "bench"}

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


@dataclasses.dataclass
class Findings:
    """What went wrong or was left out, each as (what, text)."""
    failures: list = dataclasses.field(default_factory=list)
    unstable: list = dataclasses.field(default_factory=list)
    skips: list = dataclasses.field(default_factory=list)


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


def run_programs(run, suite, names, long_runs):
    """Runs the suite, or only `names` of it. Per program: its name, Tally, failures and skips as (what, text)."""
    junit = ROOT / run.folder / "junit" / suite
    shutil.rmtree(junit, ignore_errors=True)
    junit.mkdir(parents=True)
    environment = {**os.environ, **SANITIZER_ENVIRONMENT, "FLOWTAP_JUNIT_DIR": str(junit)}
    if long_runs:
        environment["FLOWTAP_LONG"] = "1"
    log = ROOT / run.folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    # No time limits: a busy machine is slow, not wrong.
    command = ["meson", "test", "-C", run.folder, "--no-rebuild", "--suite", suite, "--timeout-multiplier", "0", *names]
    subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    for program in [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []:
        name = program["name"].split(" / ")[-1]
        yield name, *judge(program, f"{run.label} {name}", junit / f"{name}.xml")


def judge(program, label, report):
    """What a program's own report says, and its exit where there is none."""
    tally, failures, skips = Tally(), [], []
    if report.exists():
        try:
            for case, outcome, text in cases(report):
                setattr(tally, outcome, getattr(tally, outcome) + 1)
                if outcome == "failed":
                    failures.append((f"{label}: {case}", text))
                elif outcome == "skipped":
                    skips.append((f"{label}: {case}", text))
        except ElementTree.ParseError as error:
            print(f"   {report}: {error}")
    good = program["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
    if not good and tally.failed == 0:
        tally.failed += 1
        failures.append((f"{label}: {program['result']}",
                         (program.get("stdout") or "")[-6000:] + (program.get("stderr") or "")[-6000:]))
    elif good and tally.passed + tally.skipped == 0:
        tally.passed += 1
    return tally, failures, skips


def run_suite(run, suite, long_runs, findings):
    total = Tally()
    started = time.monotonic()
    for name, tally, failures, skips in list(run_programs(run, suite, run.programs, long_runs)):
        if failures and suite in UNSTABLE_SUITES:
            print(f"   {name} failed; once more, alone", flush=True)
            again = list(run_programs(run, suite, [name], long_runs))
            if len(again) == 1 and not again[0][2]:
                findings.unstable += failures
                _, tally, failures, skips = again[0]
        findings.failures += failures
        findings.skips += skips
        total.add(tally)
    total.seconds = time.monotonic() - started
    return total


def run_lint(findings):
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
        findings.failures.append(("tools/lint --quick", done.stdout + done.stderr))
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
    findings, rows, total = Findings(), [], Tally()
    for run in RUNS[:1] if arguments.plain else RUNS:
        if run.label in ON_REQUEST and not arguments.sanitizers:
            continue
        suites = [suite for suite in run.suites if not arguments.suite or suite in arguments.suite]
        if not suites:
            continue
        build(run)
        for suite in suites:
            print(f"-- running {suite} ({run.purpose})", flush=True)
            tally = run_suite(run, suite, arguments.long, findings)
            if tally.passed + tally.failed + tally.skipped:
                rows.append((run.label, suite, tally))
                total.add(tally)
    if not arguments.suite:
        rows.append(("", "lint", run_lint(findings)))
        total.add(rows[-1][2])

    for name, text in findings.failures:
        print(f"\nFAILED {name}\n{text.strip()}")
    for name, text in findings.unstable:
        print(f"\nUNSTABLE (passed when run again) {name}\n{text.strip()}")
    for name, text in findings.skips:
        print(f"\nskipped {name}: {text.strip()}")
    print(f"\n{'build':<12}{'suite':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for label, suite, tally in rows:
        print(f"{label:<12}{suite:<14}{tally.passed:>8}{tally.failed:>8}{tally.skipped:>9}{tally.seconds:>9.0f}")
    print(f"\ntests: {total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
