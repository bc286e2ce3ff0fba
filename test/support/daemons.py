"""Starting and stopping the project's processes from tests: no timing assumptions, no process left behind."""

import os
import pathlib
from signal import SIGTERM
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FLOWTAP_BUILD", ROOT / "build"))
SHARED = ROOT.parent / "shared"

PROGRAMS = {
    "flowtap-dataplane": BUILD / "dataplane" / "flowtap-dataplane",
    "flowtap-control": BUILD / "control" / "flowtap-control",
    "flowtap-gate": BUILD / "control" / "ssh" / "flowtap-gate",
    "flowtap-dtcp": BUILD / "control" / "ssh" / "flowtap-dtcp",
    "dtcp": BUILD / "tools" / "dtcp" / "dtcp",
    "flowtapctl": BUILD / "tools" / "flowtapctl" / "flowtapctl",
    "flowtap-receive": BUILD / "tools" / "receive" / "flowtap-receive",
}

# Seconds after which a wait counts as a hang; never a measure of speed: a machine may be slow, and stand still at times.
PATIENCE = 600.0


def until(condition, what):
    """Waits until condition() is true; its value is returned. Fails by saying what never came."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.02)


class Daemon:
    """One process of the project; its output goes to a file, and it ends with the `with` block."""

    def __init__(self, name, *arguments, log, prefix=(), env=None):
        self.name = name
        self.log = pathlib.Path(log)
        program = PROGRAMS.get(name, name)
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [*map(str, prefix), str(program), *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)

    def output(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, text):
        """Waits until the text stands in the output; fails at once if the process ends before."""
        def seen():
            if text in self.output():
                return True
            if self.process.poll() is not None and text not in self.output():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.output()}")
            return False
        until(seen, f"{text!r} from {self.name}; its output:\n{self.output()[-4000:]}")
        return self

    def wait(self):
        return self.process.wait(PATIENCE)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=SIGTERM):
        """Ends the process and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
