"""What leaves a delivery port, and whether an IV was among it twice (test/integration/iv_watch.cc)."""

from link_program import LinkProgram


class IvWatch(LinkProgram):
    """Looks at the far end of link `letter` of `wires` from now on."""

    def __init__(self, wires, letter):
        super().__init__("iv-watch", wires, f"feed-{letter}", f"wire-{letter}")
        self.settle()  # it looks from here on

    def _told(self, what):
        told = self.do(what)
        assert not told["repeated"], f"{told['repeated']} packets with an IV that had been used, the first [SPI, IV]: {told['repeats']}"
        assert not told["wrong"], told["wrong"]
        told["sas"] = {int(spi): sa for spi, sa in told["sas"].items()}
        return told

    def marks(self):
        """What it has seen so far; fails if an IV was used twice."""
        return self._told("marks")

    def settle(self):
        """The same, of everything that was sent into the link before."""
        return self._told("settle")
