"""
Runs plugins written in Python without starting Python each time: has one ready, and forks it for every call.

Stand-alone on purpose: standard library only, nothing of ours, any Python from 3.8 on. For it is started by the very
command line of the scripts that it runs (`/usr/bin/python3 -I zygote.py`), so that paths, prefix and flags are those
of a fresh start. A script is compiled once, and again when its file has changed; the standard modules that it names
are loaded by then. What a script can see is what it sees in a process of its own. Where that cannot be had, the call
is refused as `cold`, and the server starts the script as any other program.

Descriptor 3 is a SEQPACKET socket to the server; messages are words separated by NUL:

- `run ID PATH ARGUMENT...` comes with four descriptors, which the script gets as 0, 1, 2 and 3;
- `started ID PID`, before the script begins; or `cold ID WHY`, and nothing was run;
- `ended ID exit CODE` or `ended ID signal NUMBER`: it is a zombie now, so that its number is nobody else's, until
- `reap ID`;
- `ready` once; `retired WHY`: no more calls are taken. The process ends when the server closes the socket.
"""

from __future__ import annotations

FRESH = {name: value for name, value in globals().items() if name[:2] == "__"}

import sys  # noqa: E402

AT_START = frozenset(sys.modules)

import os  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
HAS_FOLDER = sys.path[:1] == [HERE]  # not with -I or -P
if not HAS_FOLDER:
    sys.path.insert(0, HERE)

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from appliance.rpc.plugins.zygote.calls import Calls
    from appliance.rpc.plugins.zygote.process import perform
    from appliance.rpc.plugins.zygote.scripts import Scripts
else:
    from calls import Calls
    from process import perform
    from scripts import Scripts


def main() -> None:
    """Serve; a forked child comes out of that, and runs its script."""
    if sys.version_info < (3, 8):  # noqa: UP036 - the Python is that of the plugins, not ours
        sys.exit("this needs Python 3.8")
    sys.path.remove(HERE)
    sys.path_importer_cache.pop(HERE, None)
    for name in ("calls", "process", "scripts", "ending"):
        sys.modules.pop(name, None)  # scripts may have modules of these names
    os.chdir("/")
    os.umask(0o077)
    calls = Calls(Scripts(AT_START, beside=HAS_FOLDER))
    task = calls.serve()
    calls.forget()
    perform(task, FRESH, beside=HAS_FOLDER)


if __name__ == "__main__":
    main()
