"""tools/demo: a subscriber is tapped and untapped while it downloads, and every frame and copy is accounted for."""

import argparse
import json
import signal
import sys
import time

import kernel_peer
import pcaps
from daemons import BUILD, until
from kernel_lab import KernelLab
from lab import (BOX_MANAGEMENT, CONTENT_DESTINATION, CONTENT_PORT, SOURCE, SSH_PORT, SUBSCRIBER, Lab)

STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


class Phase:
    """One run of the traffic with a capture at the subscriber and a receiver at the mediation device."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.capture_file = lab.folder / f"{name}.subscriber.pcap"
        self.received_file = lab.folder / f"{name}.received.pcap"

    def __enter__(self):
        self.receiver = self.lab.receive(self.received_file)
        self.capture = self.lab.capture("subscriber", "eth0", self.capture_file, "ip", "or", "ip6")
        return self

    def traffic(self):
        for family in (4, 6):
            if not self.lab.ping(family):
                raise AssertionError(f"pings over IPv{family} were lost")
            self.lab.download(family)

    def finish(self, copies):
        """Waits for the copies that are owed, ends both observers."""
        self.ledger = self.lab.wire_ledger()
        if copies is not None:
            until(lambda: pcaps.count(self.received_file) >= copies(), f"{copies()} copies")
        self.lab.end_capture(self.capture)
        self.exit_code, self.summary = self.lab.end_receive(self.receiver)

    def __exit__(self, *_):
        self.capture.stop()
        self.receiver.stop()


def matched(lab, ids):
    """Frames matched by the taps, as the DTCP LIST tells the mediation device."""
    return sum(entry["matching_packets"] for entry in lab.taps() if entry["criteria_id"] in ids)


def add_taps(lab):
    ids = []
    for field in ("--source-address", "--dest-address"):
        for family in (4, 6):
            answer = json.loads(lab.dtcp("add", *lab.tap_options(), field, SUBSCRIBER[family], "--json").stdout)
            ids.append(answer["fields"]["criteria_id"])
    return ids


def story(lab):
    """Runs the whole demonstration; returns the rows of the table as (what, value, is it right)."""
    if lab.opener != Lab.opener:
        say(f"the far end of the tunnel is {lab.opener}")
    say("starting flowtap-dataplane, flowtap-control and flowtap-gate"
        f" ({'with' if lab.huge_pages else 'without'} huge pages)")
    lab.start_all()
    lab.serve_files()

    say("untapped: 40 pings and 2 downloads over IPv4 and IPv6")
    with Phase(lab, "before") as before:
        before.traffic()
        before.finish(None)
    say(f"   {before.ledger['sent']} frames sent into the wire so far, {before.summary['copies']} copies delivered")

    say(f"the mediation device ADDs taps on the subscriber, over SSH to port {SSH_PORT}")
    ids = add_taps(lab)
    say(f"   answered 200, CRITERIA-ID {', '.join(map(str, ids))}")

    say("tapped: the same traffic")
    with Phase(lab, "tapped") as tapped:
        tapped.traffic()
        lab.wire_ledger()
        owed = matched(lab, ids)
        tapped.finish(lambda: owed)
    say(f"   {owed} frames matched, {tapped.summary['copies']} ESP packets opened by {lab.opener}")

    say("the mediation device DELETEs the taps")
    for number in ids:
        lab.dtcp("delete", "--criteria-id", str(number), "--static")

    say("untapped again: the same traffic")
    with Phase(lab, "after") as after:
        after.traffic()
        after.finish(None)

    same, detail = pcaps.same_packets(tapped.capture_file, tapped.received_file, SUBSCRIBER.values())
    rows = [
        ("frames forwarded", f"{after.ledger['received']:,}", after.ledger["received"] > 1000),
        ("frames lost", f"{after.ledger['lost']:,}", after.ledger["lost"] == 0),
        ("frames matched", f"{owed:,}", owed > 1000),
        ("copies received", f"{tapped.summary['copies']:,}", tapped.summary["copies"] == owed),
        ("ESP sequence gaps", f"{tapped.summary['sequence']['missing']:,}", tapped.summary["sequence"]["missing"] == 0),
        ("bytes identical to the subscriber's capture", "yes" if same else f"no: {detail}", same),
        ("copies before ADD", f"{before.summary['copies']:,}", before.summary["copies"] == 0),
        ("copies after DELETE", f"{after.summary['copies']:,}", after.summary["copies"] == 0),
    ]
    if "errors" in tapped.summary:
        opened, errors = tapped.summary["esp"], after.summary["errors"]
        rows += [("ESP packets opened by the Linux kernel", f"{opened:,}", opened >= owed),
                 ("its IPsec errors", ", ".join(errors) or "none", not errors)]
    return rows


def table(rows):
    width = max(len(what) for what, _, _ in rows)
    print()
    for what, value, right in rows:
        print(f"  {what:<{width}}  {value:>14}  {'ok' if right else 'WRONG'}")
    print()


def explain(lab):
    box = " ".join(map(str, lab.box()))
    mediation = " ".join(map(str, [*lab.inside("mediation"), *lab.accounts_prefix()]))
    print(f"""It all keeps running until Ctrl-C. In another terminal, as root:

  B="{box}"
  M="{mediation}"
  BIN={BUILD}

  the NOC's view:         $B $BIN/tools/flowtapctl/flowtapctl show health --socket {lab.run_folder}/ctl.sock
                          (also: ports, workers, delivery; --json)
  a tap:                  $M $BIN/tools/dtcp/dtcp add {' '.join(lab.dtcp_options())} \\
                             {' '.join(lab.tap_options())} --source-address {SUBSCRIBER[4]}
  the taps:               $M $BIN/tools/dtcp/dtcp list {' '.join(lab.dtcp_options())}
  without our client:     $M ssh -p {SSH_PORT} -i {lab.identity()} {SOURCE}@{BOX_MANAGEMENT} -s flow-tap-dtcp
  the content:            {lab.content_command()}
  traffic:                {' '.join(map(str, lab.inside('subscriber')))} {' '.join(lab.download_command(4, '40M'))} -o /dev/null
  logs, configuration:    {lab.folder}
""", flush=True)


def main():
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="Taps a subscriber's traffic end to end in network namespaces and accounts for every frame. "
                    f"Copies go to {CONTENT_DESTINATION}:{CONTENT_PORT} through an ESP tunnel.")
    parser.add_argument("--stay", action="store_true", help="leave it running and print how to use each tool")
    parser.add_argument("--no-huge", action="store_true", help="use ordinary pages even where huge pages are free")
    parser.add_argument("--kernel-peer", action="store_true",
                        help="end the tunnel in a Linux kernel (user-mode-linux) instead of flowtap-receive")
    arguments = parser.parse_args()
    if arguments.kernel_peer and not kernel_peer.available():
        parser.error(f"--kernel-peer needs {kernel_peer.LINUX} (package user-mode-linux) and /dev/net/tun")
    kind = KernelLab if arguments.kernel_peer else Lab

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    try:
        with kind(huge_pages=False if arguments.no_huge else None) as lab:
            try:
                rows = story(lab)
            except AssertionError as error:
                print(f"\ndemo failed: {error}", file=sys.stderr)
                for log in sorted(lab.folder.glob("flowtap-*.log")):
                    print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
                return 1
            table(rows)
            if arguments.stay:
                explain(lab)
                signal.pause()
            return 0 if all(right for _, _, right in rows) else 1
    except KeyboardInterrupt:
        print("\ninterrupted: cleaned up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
