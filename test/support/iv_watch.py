"""What leaves a delivery port, and whether an IV was among it twice (test/integration/iv_watch.cc)."""

import json
import subprocess

from daemons import BUILD

PROGRAM = BUILD / "test" / "integration" / "iv-watch"


class IvWatch:
    """Looks at the far end of link `letter` of `wires` from now on."""

    def __init__(self, wires, letter):
        self.process = subprocess.Popen([*wires.prefix, str(PROGRAM), f"feed-{letter}", f"wire-{letter}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.settle()  # it looks from here on

    def _do(self, what):
        self.process.stdin.write(json.dumps({"do": what}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"iv-watch ended at {what}"
        told = json.loads(line)
        assert not told["repeated"], f"{told['repeated']} packets with an IV that had been used, the first [SPI, IV]: {told['repeats']}"
        assert not told["wrong"], told["wrong"]
        told["sas"] = {int(spi): sa for spi, sa in told["sas"].items()}
        return told

    def marks(self):
        """What it has seen so far; fails if an IV was used twice."""
        return self._do("marks")

    def settle(self):
        """The same, of everything that was sent into the link before."""
        return self._do("settle")

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
