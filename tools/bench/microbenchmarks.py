"""The rows of build/test/bench's programs that tools/bench/compare sets side by side."""

import json
import subprocess


def rows_of(options, program, *arguments):
    path = options.build / "test" / "bench" / program
    if not path.exists():
        raise SystemExit(f"there is no {path}: build it by `ninja -C BUILD`, or name the build folder with --build")
    command = ["taskset", "-c", options.core, path, "--json", *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program} ended with {done.returncode}:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def find_row(rows, name, taps=None):
    """The first of the name, which is the one with the widest instructions."""
    for row in rows:
        if row["row"] == name and taps in (None, row["taps"]):
            return row
    raise SystemExit(f"no row {name} of {taps} taps was printed")
