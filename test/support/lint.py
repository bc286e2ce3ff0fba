"""tools/lint: the checks behind it. Each prints what it found as file: what is wrong; the exit code counts."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 600


def tracked(*suffixes):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def in_parallel(jobs):
    """Runs argument lists two at a time; yields (label, output) of the ones that fail."""
    def run(job):
        label, command = job
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return label, done.returncode, done.stdout + done.stderr
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for label, code, output in pool.map(run, jobs):
            if code:
                yield label, output


def check_format(fix):
    command = ["clang-format-19", "-i"] if fix else ["clang-format-19", "--dry-run", "--Werror"]
    return [f"{label}: not formatted: run tools/lint --fix"
            for label, _ in in_parallel([(f, [*command, f]) for f in tracked(".h", ".cc")])]


def compile_commands():
    subprocess.run([ROOT / "tools/packaging/build", "build"], check=True, stdin=subprocess.DEVNULL)
    return json.loads((ROOT / "build" / "compile_commands.json").read_text())


def check_headers(commands):
    """Every header compiles alone, with the flags of a source of its folder."""
    flags = {}
    for entry in commands:
        source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        words = [w for w in entry["command"].split() if w.startswith(("-I", "-D", "-isystem", "-std", "-W", "-m"))
                 or w == "rte_config.h" or w == "-include"]
        words = [w for w in words if w not in ("-MD", "-MQ", "-MF") and not w.startswith("-Wl")]
        flags.setdefault(os.path.dirname(source), words)
    jobs = []
    for header in tracked(".h"):
        folder = os.path.dirname(header)
        while folder and folder not in flags:
            folder = os.path.dirname(folder)
        own = [w.replace("-I..", f"-I{ROOT}") for w in flags.get(folder, ["-std=c++23"])]
        own = [w for w in own if w != "-I."]
        jobs.append((header, ["g++", *own, f"-I{ROOT}", "-fsyntax-only", "-Wno-pragma-once-outside-header",
                              "-x", "c++", "-include", str(ROOT / header), "/dev/null"]))
    return [f"{label}: does not compile alone:\n{output}" for label, output in in_parallel(jobs)]


def check_sizes():
    problems = []
    for name in tracked(".h", ".cc", ".py"):
        lines = (ROOT / name).read_text().splitlines()
        if len(lines) > LIMIT and not any("Size:" in line for line in lines[:12]):
            problems.append(f"{name}: {len(lines)} lines, over {LIMIT}: split it, or give the reason after 'Size:' "
                            "in its head")
    return problems


def check_shell():
    scripts = [n for n in tracked("") if (ROOT / n).open("rb").read(9) == b"#!/bin/sh"]
    return [f"{label}: {output}" for label, output in in_parallel([(s, ["sh", "-n", s]) for s in scripts])]


def check_style():
    problems = []
    for name in tracked(".h", ".cc"):
        text = (ROOT / name).read_text()
        # Tests may open the namespace under test; literals have no other way in.
        if not name.startswith("test/") and re.search(r"^\s*using namespace (?!\S*literals;)", text, re.M):
            problems.append(f"{name}: using namespace")
        if name.endswith(".h") and "#pragma once" not in text:
            problems.append(f"{name}: no #pragma once")
    return problems


def options_of(program):
    done = subprocess.run([program, "--help-all" if program.name == "dtcp" else "--help"], capture_output=True,
                          text=True, check=False)
    return set(re.findall(r"--[a-z][a-z-]+", done.stdout + done.stderr))


def check_documents():
    """Options that a document spells for one of our programs exist in it."""
    sys.path.insert(0, str(ROOT / "test" / "support"))
    from daemons import PROGRAMS  # pylint: disable=import-outside-toplevel
    known = {name: options_of(path) for name, path in PROGRAMS.items() if path.exists()}
    problems = []
    for document in tracked(".md"):
        for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
            for name, options in known.items():
                match = re.search(rf"(?:^|[\s`/$]){re.escape(name)} (.*)", line)
                if not match or not options:
                    continue
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", match.group(1)):
                    if option not in options and not any(option in o for o in known.values()):
                        problems.append(f"{document}:{number}: {name} has no {option}")
    return problems


def check_tidy(commands):
    files = sorted({os.path.relpath(os.path.join(c["directory"], c["file"]), ROOT) for c in commands})
    jobs = [(f, ["clang-tidy-19", "--quiet", "-p", "build", "--extra-arg=-Wno-unknown-warning-option", f])
            for f in files if f.endswith(".cc")]
    return [f"{label}:\n{output}" for label, output in in_parallel(jobs)]


def main():
    parser = argparse.ArgumentParser(prog="tools/lint", description="Formatting, headers, sizes, shell, clang-tidy.")
    parser.add_argument("--quick", action="store_true", help="what takes seconds: not the headers alone, not clang-tidy")
    parser.add_argument("--fix", action="store_true", help="let clang-format repair the files")
    arguments = parser.parse_args()
    commands = compile_commands()
    problems = [*check_format(arguments.fix), *check_sizes(), *check_shell(), *check_style(), *check_documents()]
    if not arguments.quick:
        problems += check_headers(commands) + check_tidy(commands)
    for problem in problems:
        print(problem)
    print(f"lint: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
