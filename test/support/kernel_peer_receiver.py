"""Runs beside the other kernel: what arrives at UDP ports goes into pcap files of raw IP packets, one a port.

usage: kernel_peer_receiver.py ADDRESS PORT:FILE...
The datagram's payload is the packet. A file is whole up to its last flush, which follows every quiet moment.
"""

import selectors
import signal
import socket
import struct
import sys


def listen(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 30)  # SO_RCVBUFFORCE: bursts wait here, not in the delivery link
    sock.bind((address, port))
    sock.setblocking(False)
    return sock


def main():
    selector = selectors.DefaultSelector()
    files = []
    for word in sys.argv[2:]:
        port, name = word.split(":")
        output = open(name, "wb", buffering=1 << 20)
        output.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        output.flush()
        files.append(output)
        selector.register(listen(sys.argv[1], int(port)), selectors.EVENT_READ, output)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    print("listening", flush=True)
    while True:
        events = selector.select(0.02)
        if not events:
            if stopped:
                break
            for output in files:
                output.flush()
        for key, _ in events:
            try:
                while True:
                    data = key.fileobj.recv(65536)
                    key.data.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
            except BlockingIOError:
                pass
    for output in files:
        output.close()
    print("finished", flush=True)


main()
