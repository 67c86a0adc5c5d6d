"""Starts the double, and tells it what to do otherwise than by its API."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kubernetes import kubeconfig, pki
from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.identity import TOKENS
from tests.support.server import ROOT

_BY_NAME = {name: token for token, name in TOKENS.items()}


@dataclass
class Double(Cluster):
    """A double. `stop` and `start` may alternate; the port stays, the objects do not."""

    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        argv = [sys.executable, "-m", "tests.support.kubernetes", str(self.folder), str(self.port)]
        with (self.folder / "double.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("listening at "), (self.folder / "double.log").read_text()
        self.port = int(said.split()[-1])

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.communicate(timeout=60)
            self.process = None

    @property
    def complaints(self) -> str:
        """What it has written that it should not have: tracebacks."""
        return (self.folder / "double.log").read_text()

    def state(self) -> Any:
        """`open`: how many streams of each kind (watch, log, exec) are open; `heard`: the last requests."""
        return self.must(self.request("GET", "/double/state"))

    def compact(self) -> None:
        """Forget old versions: continue tokens expire, and watches from before get 410."""
        self.must(self.request("POST", "/double/compact"))

    def sever(self) -> None:
        """Cut all streams."""
        self.must(self.request("POST", "/double/sever"))

    def fail(self, code: int, reason: str, message: str, *, times: int = 1, after: int = 0) -> None:
        """Answer the next requests, `after` some more, with a failure."""
        wanted = {"code": code, "reason": reason, "message": message, "times": times, "after": after}
        self.must(self.request("POST", "/double/fail", wanted))

    def put(self, kind: tuple[str, str, str], documents: Sequence[Mapping[str, Any]]) -> None:
        """Put objects in, as they are, past all rules: group, version and plural of their kind."""
        self.must(self.request("POST", "/double/put", {"kind": list(kind), "documents": list(documents)}))


@contextlib.contextmanager
def double(folder: Path) -> Iterator[Double]:
    """A double that runs, with its kubeconfigs in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pki.write(folder)
    found = Double("double", folder, 0, folder / "ca.crt", _BY_NAME)
    found.start()
    try:
        write_kubeconfigs(found)
        yield found
    finally:
        found.stop()


def write_kubeconfigs(found: Double) -> None:
    """One for each user."""
    server = f"https://127.0.0.1:{found.port}"
    by_certificate = kubeconfig.certificate(found.folder / "admin.crt", found.folder / "admin.key")
    kubeconfig.write(found.kubeconfig("admin"), server, found.authority, by_certificate)
    for name, user in (("admin-token", "admin"), ("viewer", "viewer"), ("nobody", "nobody")):
        kubeconfig.write(found.kubeconfig(name), server, found.authority, {"token": _BY_NAME[user]})
    other = found.folder / "other-ca.crt"
    kubeconfig.write(found.kubeconfig("broken-ca"), server, other, {"token": _BY_NAME["admin"]})
