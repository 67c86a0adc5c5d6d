"""schemathesis throws what the OpenAPI document allows, and what it forbids, at the real server."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.server import TOKEN, running

# setup would change the token that the others use.
_EXCLUDED = r"/setup$"
_EXAMPLES = "25"


def test_no_request_that_the_document_describes_breaks_the_server(tmp_path: Path) -> None:
    config = "[server]\nmax_connections_per_address = 1000\n[admin]\nbackoff_after = 0\n"
    with running(tmp_path / "server", config) as server:
        argv = [str(Path(sys.executable).with_name("schemathesis")), "run", server.url("/openapi.json")]
        argv += ["--tls-verify", str(server.certificate), "--exclude-path-regex", _EXCLUDED]
        argv += ["--header", f"Authorization: Bearer {TOKEN}", "--max-examples", _EXAMPLES, "--seed", "1"]
        argv += ["--phases", "examples,coverage,fuzzing", "--no-color"]
        argv += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
        finished = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        shown = finished.stdout + finished.stderr
        assert finished.returncode == 0, shown
        assert re.search(r"[1-9][0-9]* (passed|generated)", shown), shown
        assert server.get("/version").json == {"version": "1.0.0"}
        assert "Traceback" not in server.log.read_text()
