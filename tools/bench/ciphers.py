"""What sealing is compared with: IPsec-MB for packets that lie ready (esp-bench's row `raw`: no ESP, no copy), and DPDK's
cryptodev over the same library (dpdk-test-crypto-perf)."""

import re
import shutil
import subprocess

from microbenchmarks import rows_of

ETHERNET = 14
ENCAPSULATION = 28  # IPv4 and UDP in front of the original packet


def esp_rows(options, suite, frame_bytes):
    """(cycles a packet, Mpps) of esp-bench's rows, for originals that come in frames of this size."""
    rows = rows_of(options, "esp-bench", "--suite", suite, "--original", frame_bytes - ETHERNET)
    return {row["row"]: (row["cycles"], row["mpps"]) for row in rows}


class Cryptodev:
    """AES-256-GCM by DPDK's driver of the library that we call ourselves."""

    OPERATIONS = 400_000

    def __init__(self, frame_bytes):
        self.text_bytes = frame_bytes - ETHERNET + ENCAPSULATION

    def command(self, core):
        return ["dpdk-test-crypto-perf", "--in-memory", "--no-pci", "--no-telemetry", "-m128", f"--lcores=0@{core - 1},1@{core}",
                "--main-lcore=0", "--vdev", "crypto_aesni_gcm0", "--", "--devtype", "crypto_aesni_gcm", "--ptest", "throughput",
                "--optype", "aead", "--aead-algo", "aes-gcm", "--aead-op", "encrypt", "--aead-key-sz", "32", "--aead-iv-sz", "12",
                "--aead-aad-sz", "8", "--digest-sz", "16", "--buffer-sz", str(self.text_bytes), "--burst-sz", "32",
                "--total-ops", str(self.OPERATIONS), "--pool-sz", "8192", "--silent"]

    def measure(self, core):
        """(cycles an operation, millions of them a second)."""
        if shutil.which(self.command(core)[0]) is None:
            raise SystemExit("dpdk-test-crypto-perf is missing: install the package dpdk-dev")
        done = subprocess.run(self.command(core), capture_output=True, text=True, check=False)
        return self.read(done.stdout)

    def read(self, said):
        # The line's columns: lcore, size, burst, enqueued, dequeued, two failures, MOps, Gbps, cycles.
        line = re.search(rf"^\s*\d+\s+{self.text_bytes}\s+32\s+(\d+)\s+(\d+)\s+\d+\s+\d+\s+([\d.]+)\s+[\d.]+\s+([\d.]+)\s*$", said,
                         re.MULTILINE)
        if not line or int(line[2]) != self.OPERATIONS:
            raise SystemExit(f"dpdk-test-crypto-perf has not measured; it says:\n{said}")
        return float(line[4]), float(line[3])
