"""
The supervisor, killing itself with SIGKILL before or after one of its steps.

Run in its place; `die-at`, three folders above the job's, names the step: `before record`, `after
write_exit`…
"""

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

SUPERVISOR = Path(__file__).resolve().parents[2] / "appliance" / "process" / "supervisor.py"


def main() -> None:
    when, name = (Path(sys.argv[1]).parents[2] / "die-at").read_text().split()
    names = runpy.run_path(str(SUPERVISOR))
    function = names[name]

    def dying(*arguments: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    scope = names["main"].__globals__
    scope.update(names)
    scope[name] = dying
    scope["main"](sys.argv[1])


main()
