"""What is freed is given back."""

import subprocess
import sys
from pathlib import Path

RESIDENT = """
import re

def resident():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\\s+(\\d+)", file.read())[1])
"""

LARGE_BLOCKS = """
from appliance.memory import give_large_blocks_back

give_large_blocks_back()
before = resident()
body = bytes(b"x" * (30 << 20))
del body
pieces = [b"y" * (1 << 20) for _ in range(40)]
kept = [bytearray(100_000) for _ in range(5)]
del pieces
print(resident() - before)
"""

SMALL_BLOCKS = """
from appliance.memory import give_unused_back

before = resident()
blocks, kept = [], []
for number in range(1000):
    blocks.append(b"x" * 60_000)
    kept.append(b"y" * 1000)
kept.append(b"z" * 60_000)  # at the end of the heap, which else would shrink by itself
del blocks
unused = resident() - before
give_unused_back()
print(unused, resident() - before)
"""

SERVER = """
import sys
from appliance import server
from twisted.internet import reactor
from twisted.scripts.twistd import run

left = ["for the last time", "again", "once"]

def give_back():
    print("given back", left.pop(), flush=True)
    if not left:
        reactor.callFromThread(reactor.stop)

server.GIVE_BACK_INTERVAL = 0.1
server.give_unused_back = give_back
reactor.callLater(60, reactor.stop)
sys.argv = ["twistd", "-n", "--pidfile=", "appliance", "--state", sys.argv[1], "--https", "127.0.0.1:0"]
run()
"""


def numbers_of(script: str) -> list[int]:
    finished = subprocess.run([sys.executable, "-c", RESIDENT + script], capture_output=True, text=True, check=True)
    return [int(word) for word in finished.stdout.split()]


def test_large_blocks_go_back_to_the_system() -> None:
    (left,) = numbers_of(LARGE_BLOCKS)
    assert left < 10_000  # kB, of 70 MB


def test_small_blocks_go_back_when_they_are_asked_for() -> None:
    unused, left = numbers_of(SMALL_BLOCKS)
    assert unused > 40_000  # kB, of 60 MB: else there is nothing to be shown
    assert left < 10_000


def test_the_server_asks_for_them_again_and_again(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SERVER, str(tmp_path / "state")]
    finished = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert "given back for the last time" in finished.stdout, finished.stdout
