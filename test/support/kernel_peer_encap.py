"""Runs beside the other kernel: as long as it lives, the kernel takes ESP out of UDP at port 4500 of the addresses.

usage: kernel_peer_encap.py ADDRESS...
What an IKE daemon does there: it owns the socket, and the kernel keeps for itself what is ESP.
"""

import signal
import socket
import sys

UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2  # linux/udp.h

sockets = []
for address in sys.argv[1:]:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 4500))
    made.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    sockets.append(made)
print("listening", flush=True)
signal.pause()
