"""Frames at a rate that waits for nobody, through a wire on links of the kernel (test/integration/wire_load.cc)."""

from daemons import until
from link_program import LinkProgram

RING = 8192                         # frames that the kernel keeps for a port whose worker is off its core
TRIAL = 2 * RING                    # frames, each way, in which a rate that is too high has to show
HIGHEST = 2_000_000                 # frames a second: more than a socket takes


def device(letter):
    """For Box: the port of Wires' link `letter`."""
    return f"net_af_packet{ord(letter) - ord('a')},iface=wire-{letter},framecnt={RING}"


class WireLoad(LinkProgram):
    """One load at a time, on the far ends of links a and b of `wires`."""

    def __init__(self, wires):
        super().__init__("wire-load", wires, "feed-a", "feed-b")

    def pace(self, pps):
        self.do("pace", pps=pps)

    def aim(self, first, count, every):
        """Every `every`th frame is one of those hosts; returns the serial numbers, each way, from which that is so."""
        return self.do("aim", first=first, count=count, every=every)["from"]

    def marks(self):
        told = self.do("marks")
        assert not told["wrong"], told["wrong"]
        return told

    def drain(self):
        """No more frames: returns when all that were sent have come out or are lost."""
        told = self.do("drain")
        assert not told["wrong"], told["wrong"]
        assert all(sent == received + lost for sent, received, lost in zip(told["sent"], told["received"], told["lost"]))
        return told

    def wait(self, frames):
        """Until all that have been sent by now, and that many more, have come out each way; returns the last marks, with the
        latency of all that time."""
        start = self.marks()
        latency = start["latency"]

        def came():
            nonlocal latency
            told = self.marks()
            latency = told["latency"] = max(latency, told["latency"])
            return all(came + lost >= then + frames
                       for came, lost, then in zip(told["received"], told["lost"], start["sent"])) and told
        return until(came, f"{frames} frames each way")

    def _try(self, pps):
        """Sends at that rate; returns the rate that came of it, and whether the worker kept up with it."""
        before = self.drain()
        self.pace(pps)

        def sent():
            told = self.marks()
            return all(now >= then + TRIAL for now, then in zip(told["sent"], before["sent"])) and told
        end = until(sent, "a trial")
        behind = max(sent - received - lost for sent, received, lost in zip(end["sent"], end["received"], end["lost"]))
        return end["pps"], self.drain()["lost"] == before["lost"] and behind < RING // 8

    def search(self):
        """A rate, in frames a second each way, near the highest that crosses without loss: what this machine can now."""
        rate = HIGHEST
        while True:
            came, kept_up = self._try(rate)
            if kept_up:
                return came
            rate = int(min(rate, came) * 0.85)
            assert rate, "no rate crosses without loss"
