"""ESP oracles that share no code with the project: scapy's SecurityAssociation and tshark's ESP dissector."""

import dataclasses
import hmac
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


@dataclasses.dataclass(frozen=True)
class Suite:
    """An ESP suite as scapy and the RFCs call its parts; sizes in bytes."""
    name: str
    crypt: str
    key_size: int
    salt_size: int
    iv_size: int
    alignment: int
    icv_size: int
    auth: str = "NULL"
    hash: str = ""
    auth_key_size: int = 0

    @property
    def key(self):
        """Cipher key with its salt; of AES-256-GCM it is KEY + SALT."""
        return bytes(range(1 if self.crypt == "3DES" else 0, 200))[:self.key_size] + SALT[:self.salt_size]

    @property
    def auth_key(self):
        return bytes(range(0x80, 0x80 + self.auth_key_size))

    def padding(self, length):
        """1, 2, 3, ... behind an inner packet of the length."""
        return bytes(range(1, -(length + 2) % self.alignment + 1))

    def sealed_size(self, length):
        """From the SPI to the ICV."""
        return 8 + self.iv_size + length + len(self.padding(length)) + 2 + self.icv_size


def _cbc(bits, auth_name, auth, hash_name, auth_key_size, icv_size):
    return Suite(f"aes-{bits}-cbc-hmac-{auth_name}", "AES-CBC", bits // 8, 0, 16, 16, icv_size, auth, hash_name,
                 auth_key_size)


SUITES = {suite.name: suite for suite in [
    Suite("aes-256-gcm-16", "AES-GCM", 32, 4, 8, 4, 16),
    Suite("aes-128-gcm-16", "AES-GCM", 16, 4, 8, 4, 16),
    Suite("chacha20-poly1305", "CHACHA20-POLY1305", 32, 4, 8, 4, 16),
    *(_cbc(bits, *rest) for bits in (128, 256) for rest in [
        ("sha1-96", "HMAC-SHA1-96", "sha1", 20, 12), ("sha-256-128", "SHA2-256-128", "sha256", 32, 16),
        ("sha-384-192", "SHA2-384-192", "sha384", 48, 24), ("sha-512-256", "SHA2-512-256", "sha512", 64, 32)]),
    Suite("3des-cbc-hmac-sha1-96", "3DES", 24, 0, 8, 8, 12, "HMAC-SHA1-96", "sha1", 20),
]}
GCM = SUITES["aes-256-gcm-16"]

LINKTYPE_RAW = 101


def write_sa_file(path, spi=SPI, suite=GCM, extended=False, udp=False, padded=0):
    path = pathlib.Path(path)
    lines = [f"spi = {spi:#x}", f'suite = "{suite.name}"', f'key = "{suite.key.hex()}"']
    lines += [f'authentication-key = "{suite.auth_key.hex()}"'] if suite.auth_key_size else []
    lines += ["extended-sequence-numbers = true"] if extended else []
    lines += ["udp-encapsulation = true"] if udp else []
    lines += [f"padded-length = {padded}"] if padded else []
    path.write_text("\n".join(lines) + "\n")
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
    """Seals and opens with scapy, in a tunnel between two addresses.

    scapy does not know extended sequence numbers with an HMAC: there the ICV is Python's, over what RFC 4303 section
    2.2.1 says."""

    def __init__(self, local, remote, suite=GCM, extended=False, udp=False):
        tunnel = IP(src=local, dst=remote) if "." in local else IPv6(src=local, dst=remote)
        self.suite = suite
        self.extended = extended
        self.own_icv = extended and suite.auth_key_size > 0
        authentication = {} if self.own_icv else {"auth_algo": suite.auth, "auth_key": suite.auth_key}
        self.sa = SecurityAssociation(ESP, spi=SPI, crypt_algo=suite.crypt, crypt_key=suite.key, tunnel_header=tunnel,
                                      nat_t_header=UDP(sport=4500, dport=4500) if udp else None, esn_en=extended,
                                      **authentication)

    def _icv(self, esp, sequence):
        covered = esp + (sequence >> 32).to_bytes(4, "big")
        return hmac.new(self.suite.auth_key, covered, self.suite.hash).digest()[:self.suite.icv_size]

    def open(self, packet, sequence=0):
        """The inner packet's bytes; raises when the ICV is wrong. `sequence` is for the high half of extended ones."""
        outside = ip(packet)
        self.sa.esn = sequence >> 32
        if not self.own_icv:
            return bytes(self.sa.decrypt(outside))
        esp = bytes(outside[ESP])
        assert esp[-self.suite.icv_size:] == self._icv(esp[:-self.suite.icv_size], sequence), "the ICV is right"
        outside[ESP].data = outside[ESP].data[:-self.suite.icv_size]
        return bytes(self.sa.decrypt(outside))

    def seal(self, packet, sequence, iv=None):
        """The outer packet's bytes; the IV is random unless given."""
        self.sa.esn = sequence >> 32
        # A number of 0 would be replaced, so the low half is never 0 here.
        sealed = bytes(self.sa.encrypt(packet, seq_num=sequence & 0xffff_ffff, iv=iv))
        outside = ip(sealed)
        if UDP in outside and self.sa.nat_t_header:
            outside[UDP].len = outside.len - 20  # scapy counts its own header only
            return bytes(outside)
        if not self.own_icv:
            return sealed
        icv = self._icv(bytes(outside[ESP]), sequence)
        for name in ("len", "chksum") if outside.version == 4 else ("plen",):
            outside.delfieldval(name)
        outside[ESP].data += icv
        return bytes(outside)


def copy(original, source="100.100.100.100", destination="2.2.2.2", port=7000):
    """The original packet in `raw` encapsulation, as delivery.md has it."""
    header = IP(src=source, dst=destination, ttl=255) if "." in destination else IPv6(src=source, dst=destination)
    udp = UDP(sport=50000, dport=port, chksum=0) if "." in destination else UDP(sport=50000, dport=port)
    return header / udp / Raw(original)


TSHARK_CIPHERS = {"AES-GCM": "AES-GCM with 16 octet ICV [RFC4106]", "AES-CBC": "AES-CBC [RFC3602]",
                  "3DES": "TripleDES-CBC [RFC2451]"}
TSHARK_HASHES = {"": "NULL", "sha1": "HMAC-SHA-1-96 [RFC2404]", "sha256": "HMAC-SHA-256-128 [RFC4868]",
                 "sha384": "HMAC-SHA-384-192 [RFC4868]", "sha512": "HMAC-SHA-512-256 [RFC4868]"}


def tshark_opened(path, suite=GCM):
    """What tshark, which checks the ICV, finds in each ESP packet of a pcap file: one dict of field values a packet."""
    fields = ("esp.icv_good", "esp.sequence", "esp.iv", "esp.contained_data", "esp.pad", "esp.pad_len", "esp.protocol")
    auth_key = f"0x{suite.auth_key.hex()}" if suite.auth_key_size else ""
    keys = [f'uat:esp_sa:"{version}","*","*","{SPI:#010x}","{TSHARK_CIPHERS[suite.crypt]}",'
            f'"0x{suite.key.hex()}","{TSHARK_HASHES[suite.hash]}","{auth_key}"' for version in ("IPv4", "IPv6")]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f",
               "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE",
               "-o", "ip.check_checksum:TRUE", "-e", "ip.checksum.status"]
    for key in keys:
        command += ["-o", key]
    for field in fields:
        command += ["-e", field]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(zip(("ip.checksum.status", *fields), line.split("\t"), strict=True)) for line in lines]
