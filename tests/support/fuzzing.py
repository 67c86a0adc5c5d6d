"""schemathesis throws what a document of ours allows, and what it forbids, at a server."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.server import Server

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance")


def throw(
    server: Server,
    folder: Path,
    document: str,
    token: str,
    *,
    only: str = "",
    without: str = "",
    examples: int = 25,
    hooks: str = "",
    checks: Sequence[str] = CHECKS,
) -> None:
    """Run schemathesis over the paths of a document of the server's that match `only` and do not match `without`.

    In a folder of its own: it keeps what it has learned. `hooks` is a module of its hooks.
    """
    folder = Path(tempfile.mkdtemp(dir=folder))
    argv = [*server.prefix, str(Path(sys.executable).with_name("schemathesis")), "run", server.base + document]
    argv += ["--tls-verify", str(server.certificate)]
    argv += ["--include-path-regex", only] if only else []
    argv += ["--exclude-path-regex", without] if without else []
    argv += ["--header", f"Authorization: Bearer {token}", "--max-examples", str(examples), "--seed", "1"]
    argv += ["--phases", "examples,coverage,fuzzing", "--no-color", "--checks", ",".join(checks)]
    environment = {**os.environ, **({"SCHEMATHESIS_HOOKS": hooks} if hooks else {})}
    finished = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    shown = finished.stdout + finished.stderr
    assert finished.returncode == 0, shown
    assert re.search(r"[1-9][0-9]* (passed|generated)", shown), shown
    assert "Traceback" not in server.log.read_text()
