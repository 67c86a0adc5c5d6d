"""Undoes a change of the network after some time, unless it is told in that time that the change shall stay.

Started as `python -S -P -m appliance.host.network.undo FOLDER SECONDS`, under a job's supervisor, before the change is
made, and on its own from then on: it needs nothing of the server that started it, and imports nothing but the standard
library and `netlink`, all at its start.

`FOLDER/plan.json` holds the requests that undo the change, and is under flock while the change is being made. It is not
made before `FOLDER/armed` is there, by which this program says that it will do its work.
`FOLDER/decision` settles who was first: whoever makes that file has decided, and nobody can make it twice.
"""

import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence

from appliance.host.network.netlink import Netlink, Request, ensure

CONFIRMED, WITHDRAWN, UNDONE = "confirmed", "withdrawn", "undone"
"""Decisions: it stays, it did not come about, it is undone."""

PLAN, ARMED, DECISION = "plan.json", "armed", "decision"


def main(folder: str, seconds: float) -> int:
    """Wait, then undo unless it was decided otherwise; what cannot be undone is told on standard error."""
    wake = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, wake)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(os.path.join(folder, PLAN), "rb") as plan:
        requests = decode(plan.read())
        os.close(os.open(os.path.join(folder, ARMED), os.O_CREAT | os.O_WRONLY, 0o600))
        # Whoever ends us before the time has made his decision, or must not leave a change that nobody confirmed.
        signal.sigtimedwait(wake, seconds)
        fcntl.flock(plan, fcntl.LOCK_EX)
        try:
            if not decide(folder, UNDONE):
                return 0
        except OSError as error:  # a full disk is no reason to leave somebody locked out
            sys.stderr.write(f"cannot record it: {error}\n")
        with Netlink() as net:
            failures = ensure(net, requests)
    for failure in failures:
        sys.stderr.write(f"cannot undo: {failure}\n")
    return 1 if failures else 0


def decide(folder: str | os.PathLike[str], decision: str) -> bool:
    """Decide, and return True; False when it was decided before. Raises OSError, and nothing is decided then.

    The decision is in the name of a link's target, so that there is no file without it at any moment.
    """
    try:
        os.symlink(decision, os.path.join(folder, DECISION))
    except FileExistsError:
        return False
    return True


def decided(folder: str | os.PathLike[str]) -> str:
    """The decision; "" while there is none."""
    try:
        return os.readlink(os.path.join(folder, DECISION))
    except FileNotFoundError:
        return ""


def encode(requests: Sequence[Request]) -> bytes:
    """A plan for the network as it is now, in this namespace, since this boot."""
    steps = [[each.kind, each.flags, each.payload.hex()] for each in requests]
    return json.dumps({"network": this_network(), "requests": steps}).encode()


def decode(plan: bytes) -> list[Request]:
    """The requests of a plan; none where the network it was made for is gone. Raises ValueError."""
    content = json.loads(plan)
    if content["network"] != this_network():
        return []
    return [Request(kind, bytes.fromhex(payload), flags) for kind, flags, payload in content["requests"]]


def this_network() -> str:
    """What tells this network from that before a reboot, and from that of another container."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/net')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
