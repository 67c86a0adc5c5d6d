"""
A server with programs that shall not outlive it, which kills itself with SIGKILL at a named moment.

Run as a program: `remains_server.py FOLDER MOMENT SCRIPT...`. Starts each SCRIPT with sh in FOLDER and writes the pid
of the one who waits for its end to `FOLDER/waiting`. MOMENT is `expected`, `spawned` (of the first script), or
`running`: when each script has made the file `ready-N`, N counting from 0.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor

from appliance.process.pipes import pipe_from_child
from appliance.process.remains import Remains
from appliance.process.spawn import spawn

reactor: Any = global_reactor


def main(folder: Path, moment: str, *scripts: str) -> None:
    def die_at(here: str) -> None:
        if here == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    os.chdir(folder)
    remains = Remains(reactor, len(scripts))
    remains.start()
    assert remains._child is not None
    (folder / "waiting").write_text(str(remains._child.pid))
    rows = []
    for script in scripts:
        row = remains.row()
        rows.append(row)
        entry = row.__enter__()
        output = pipe_from_child()
        entry.expect(output.theirs)
        die_at("expected")
        descriptors = {0: output.theirs, 1: output.theirs, 2: output.theirs}
        leader = spawn(reactor, ["/bin/sh", "-c", script], env=dict(os.environ), descriptors=descriptors)
        os.close(output.theirs)
        die_at("spawned")
        entry.started(leader.pid)
    while not all((folder / f"ready-{number}").exists() for number in range(len(scripts))):
        time.sleep(0.01)
    die_at("running")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
