"""Stopping the admin scripts at named points, and killing them, their supervisor and the server there.

The vendor's wrapper of this module runs our own scripts with a search path in which some programs are doubles that
wait, and a Python whose os.rename can wait. A double whose script was killed does nothing.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import alive, wait_for
from tests.support.server import Server
from tests.support.vendor import DEFAULT_SCRIPT, wrapper

PROGRAMS = ("date", "openssl", "sync", "chmod")

_DOUBLE = """#!/bin/sh
if [ -e "{folder}/point" ] && [ "$(cat "{folder}/point")" = "$(basename "$0")" ]; then
    echo >>"{folder}/calls"
    if {condition}; then
        touch "{folder}/here"
        while [ ! -e "{folder}/go" ]; do
            kill -0 "$(cat "{folder}/script")" 2>/dev/null || exit 1
            sleep 0.02
        done
        touch "{folder}/passed"
    fi
fi
exec {real} "$@"
"""
_PYTHON = """#!/bin/sh
exec {python} {folder}/driver.py "$@"
"""
_DRIVER = """import os, runpy, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
real, calls = os.rename, 0

def rename(*arguments, **options):
    global calls
    calls += 1
    if os.path.exists(f"{folder}/rename") and open(f"{folder}/rename").read() == str(calls):
        open(f"{folder}/here", "w").close()
        while not os.path.exists(f"{folder}/go"):
            time.sleep(0.02)
        open(f"{folder}/passed", "w").close()
    return real(*arguments, **options)

os.rename = rename
sys.argv = [argument for argument in sys.argv[1:] if argument not in ("-I", "-S")]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Stage:
    """The doubles of one server, and the point at which the next script shall wait."""

    server: Server
    folder: Path

    @classmethod
    def set(cls, server: Server) -> "Stage":
        """Install wrapper and doubles."""
        folder = server.folder / "stage"
        folder.mkdir()
        status = server.admin / "etc" / "status_update.json"
        condition = (
            f'{{ [ -e "{folder}/number" ] && [ "$(wc -l <"{folder}/calls")" -eq "$(cat "{folder}/number")" ]; }} ||'
            f' {{ [ -e "{folder}/percentage" ] && grep -q ":$(cat "{folder}/percentage")}}" "{status}"; }}'
        )
        for name in PROGRAMS:
            text = _DOUBLE.format(folder=folder, condition=condition, real=shutil.which(name))
            _program(folder / name, text)
        _program(folder / "python", _PYTHON.format(python=sys.executable, folder=folder))
        (folder / "driver.py").write_text(_DRIVER)
        text = f'echo $$ >"{folder}/script"\nPATH="{folder}:$PATH" APPLIANCE_PYTHON="{folder}/python"\n'
        wrapper(server, text + "export PATH APPLIANCE_PYTHON\n" + DEFAULT_SCRIPT)
        return cls(server, folder)

    def at(self, program: str, *, number: int | None = None, percentage: int | None = None) -> None:
        """Wait at the n-th call of a program (`rename`: of os.rename in our tool), or at its first at a percentage."""
        self.clear()
        if program == "rename":
            (self.folder / "rename").write_text(str(number))
            return
        for name, value in (("number", number), ("percentage", percentage)):
            if value is not None:
                (self.folder / name).write_text(str(value))
        (self.folder / "point").write_text(program)

    def reached(self) -> None:
        """Block until the script waits."""
        wait_for((self.folder / "here").exists, "the script at its point")

    def go(self) -> None:
        """Let it go on."""
        (self.folder / "go").touch()

    def release(self) -> None:
        """Let it go on, and block until it does."""
        self.go()
        wait_for((self.folder / "passed").exists, "the script to go on")

    def clear(self) -> None:
        """No point any more."""
        for name in ("go", "here", "passed", "point", "calls", "number", "percentage", "rename"):
            (self.folder / name).unlink(missing_ok=True)

    # -- who dies

    def kill_script(self, kind: str) -> None:
        """kill -9 of the script alone."""
        _kill(self._marks(kind)["child_pid"])

    def kill_server(self, kind: str) -> None:
        """kill -9 of the server alone; the script goes on waiting."""
        self.server.kill()
        assert alive(self._marks(kind)["child_pid"])

    def kill_all(self, kind: str) -> None:
        """What a power cut does: nothing of ours lives any more."""
        marks = self._marks(kind)
        self.server.kill()
        _kill(marks["pid"])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(marks["child_pid"], signal.SIGKILL)
        wait_for(lambda: not alive(marks["pid"]) and not alive(marks["child_pid"]), "the end of all processes")

    def _marks(self, kind: str) -> dict[str, int]:
        folder = max((self.server.state / "jobs" / kind).iterdir())
        marks: dict[str, int] = json.loads((folder / "process.json").read_text())
        return marks


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
