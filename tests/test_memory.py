"""What is freed is given back."""

import subprocess
import sys

CHILD = """
import re
from appliance.memory import give_large_blocks_back

def resident():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\\s+(\\d+)", file.read())[1])

give_large_blocks_back()
before = resident()
body = bytes(b"x" * (30 << 20))
del body
pieces = [b"y" * (1 << 20) for _ in range(40)]
kept = [bytearray(100_000) for _ in range(5)]
del pieces
print(resident() - before)
"""


def test_large_blocks_go_back_to_the_system() -> None:
    finished = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert int(finished.stdout) < 10_000  # kB, of 70 MB
