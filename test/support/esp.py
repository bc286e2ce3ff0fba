"""ESP oracles that share no code with the project: scapy's SecurityAssociation and tshark's ESP dissector."""

import pathlib
import subprocess

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw
from scapy.utils import RawPcapReader, RawPcapWriter

SPI = 0x1001
KEY = bytes(range(32))
SALT = bytes.fromhex("a0a1a2a3")

LINKTYPE_RAW = 101


def write_sa_file(path, spi=SPI, key=KEY + SALT, suite="aes-256-gcm-16"):
    path = pathlib.Path(path)
    path.write_text(f'spi = {spi:#x}\nsuite = "{suite}"\nkey = "{key.hex()}"\n')
    path.chmod(0o600)
    return path


def write_packets(path, packets, linktype=LINKTYPE_RAW):
    writer = RawPcapWriter(str(path), linktype=linktype)
    writer.write_header(None)
    for packet in packets:
        writer.write_packet(packet)
    writer.close()
    return path


def read_packets(path):
    reader = RawPcapReader(str(path))
    packets = [data for data, _ in reader]
    reader.close()
    return packets


def ip(data):
    """Bytes as the IP packet that they are."""
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


class Scapy:
    """Seals and opens with scapy, in a tunnel between two addresses."""

    def __init__(self, local, remote):
        tunnel = IP(src=local, dst=remote) if "." in local else IPv6(src=local, dst=remote)
        self.sa = SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=KEY + SALT, tunnel_header=tunnel)

    def open(self, packet):
        """The inner packet's bytes; raises when the ICV is wrong."""
        return bytes(self.sa.decrypt(ip(packet)))

    def seal(self, packet, sequence, iv=None):
        """The outer packet's bytes; the IV is random unless given."""
        return bytes(self.sa.encrypt(packet, seq_num=sequence, iv=iv))


def copy(original, source="100.100.100.100", destination="2.2.2.2", port=7000):
    """The original packet in `raw` encapsulation, as delivery.md has it."""
    header = IP(src=source, dst=destination, ttl=255) if "." in destination else IPv6(src=source, dst=destination)
    udp = UDP(sport=50000, dport=port, chksum=0) if "." in destination else UDP(sport=50000, dport=port)
    return header / udp / Raw(original)


def tshark_opened(path):
    """What tshark, which checks the ICV, finds in each ESP packet of a pcap file: one dict of field values a packet."""
    fields = ("esp.icv_good", "esp.sequence", "esp.iv", "esp.contained_data", "esp.pad", "esp.pad_len", "esp.protocol")
    keys = [f'uat:esp_sa:"{version}","*","*","{SPI:#010x}","AES-GCM with 16 octet ICV [RFC4106]",'
            f'"0x{(KEY + SALT).hex()}","NULL",""' for version in ("IPv4", "IPv6")]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f",
               "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE",
               "-o", "ip.check_checksum:TRUE", "-e", "ip.checksum.status"]
    for key in keys:
        command += ["-o", key]
    for field in fields:
        command += ["-e", field]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(zip(("ip.checksum.status", *fields), line.split("\t"), strict=True)) for line in lines]
