"""tools/test: builds the project, runs every test, prints a summary for a person; --sanitizers adds two more builds.

The tests themselves are Meson's; each leaves a JUnit file, and a test program that dies before it can write one
counts as a failure. The last line is `tests: N passed, N failed, N skipped`; the exit code is 1 if any failed.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Label, build folder, its Meson options, the suites run there, what it is for.
RUNS = [
    ("plain", "build", [], ["unit", "fuzz", "integration", "e2e", "bench"], "as shipped"),
    ("asan+ubsan", "build-asan",
     ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1", "-Dsanitized_only=true"],
     ["unit", "fuzz"], "AddressSanitizer and UndefinedBehaviorSanitizer"),
    ("tsan", "build-tsan",
     ["-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1", "-Dsanitized_only=true"],
     ["unit"], "ThreadSanitizer"),
]

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


def build(folder, options):
    print(f"-- building {folder}", flush=True)
    subprocess.run([ROOT / "tools/packaging/build", folder, *options], check=True, stdin=subprocess.DEVNULL)


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


def run_suite(label, folder, suite, long_runs, failures, skips):
    junit = ROOT / folder / "junit" / suite
    shutil.rmtree(junit, ignore_errors=True)
    junit.mkdir(parents=True)
    environment = {**os.environ, **SANITIZER_ENVIRONMENT, "FLOWTAP_JUNIT_DIR": str(junit)}
    if long_runs:
        environment["FLOWTAP_LONG"] = "1"
    log = ROOT / folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    # No time limits: a busy machine is slow, not wrong.
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--suite", suite, "--timeout-multiplier", "0"]
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


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description="Builds and runs every test.")
    parser.add_argument("--suite", action="append", help="only this suite (unit, fuzz, integration, e2e, bench)")
    parser.add_argument("--sanitizers", action="store_true",
                        help="unit tests and corpora also with ASan+UBSan and with TSan (two more builds)")
    parser.add_argument("--long", action="store_true", help="the long runs as well (hours)")
    arguments = parser.parse_args()

    if os.geteuid() != 0:
        print("note: not root: the tests that need network namespaces or raw sockets will be counted as skipped")
    failures, skips, rows, total = [], [], [], Tally()
    for label, folder, options, suites, purpose in RUNS:
        if label != "plain" and not arguments.sanitizers:
            continue
        build(folder, options)
        for suite in suites:
            if arguments.suite and suite not in arguments.suite:
                continue
            print(f"-- running {suite} ({purpose})", flush=True)
            tally = run_suite(label, folder, suite, arguments.long, failures, skips)
            if tally.passed + tally.failed + tally.skipped:
                rows.append((label, suite, tally))
                total.add(tally)

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
