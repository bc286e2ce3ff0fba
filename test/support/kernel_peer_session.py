"""Runs beside the other kernel: one DTCP session over that kernel's own ssh, which asks one thing after the other.

usage: kernel_peer_session.py REQUESTS PACE CSOURCE KEY SSH-ARGUMENT...
REQUESTS is a file with a JSON array a line: the method and its lines. The file goN has to be there before the N-th, counted
from 0, is asked, where N is a multiple of PACE. KEY is in hexadecimal digits. For each answer, whose signature has to be
right, a line says its code and how many criteria it names. The session stays open until SIGTERM.
"""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

from dtcp_client import Client


def main():
    requests, pace, source, key, *arguments = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    here, there = socket.socketpair()
    with subprocess.Popen(["ssh", *arguments], stdin=there, stdout=there,
                          preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])) as ssh:
        there.close()
        with Client(here, source, bytes.fromhex(key)) as client, open(requests, encoding="ascii") as lines:
            for number, line in enumerate(lines):
                while number % int(pace) == 0 and not pathlib.Path(f"go{number}").exists():
                    time.sleep(0.01)
                answer = client.request(*json.loads(line))
                print(answer.code, len(answer.entries()), flush=True)
            signal.sigwait([signal.SIGTERM])
        ssh.wait()
    print("ended", flush=True)


main()
