"""A program of test/integration at the far ends of links, which does what it is told: a JSON object a line, and one for an answer."""

import json
import subprocess

from daemons import BUILD


class LinkProgram:
    """Use as a context manager. `links`: the names of its interfaces."""

    def __init__(self, name, wires, *links):
        self._name = name
        self.process = subprocess.Popen([*wires.prefix, str(BUILD / "test" / "integration" / name), *links],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{self._name} ended at {what}"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
