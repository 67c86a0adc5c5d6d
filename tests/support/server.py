"""The real server as a process of its own, and curl as a person would type it."""

import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "yourtoken"
API = "/api/v1/admin"
_START_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What curl saw: status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class Server:
    """One server over one state directory; `start` and `kill` may alternate."""

    folder: Path
    config: str = ""
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)
    insecure: bool = False  # for tests that change the certificate to one of another name
    prefix: tuple[str, ...] = ()  # command in whose world the server and curl run
    address: str = "127.0.0.1"
    hurry: dict[str, float] = field(default_factory=dict)
    """Constants of the server, by their full names, that are less here: seconds that it would wait in vain."""

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.folder / "state"

    @property
    def admin(self) -> Path:
        """The admin directory."""
        return self.state / "admin"

    @property
    def log(self) -> Path:
        """What the server printed, over all its starts."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, *arguments: str) -> None:
        """Start and wait until it serves. The port stays the same over restarts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "appliance.toml"
        settings.write_text(self.config)
        begin = self.log.stat().st_size if self.log.exists() else 0
        argv = [*self.prefix, sys.executable, "-c", "; ".join([*starmap(_set, self.hurry.items()), _RUN])]
        argv += ["-n", "--pidfile=", "appliance"]
        argv += ["--config", str(settings), "--state", str(self.state), "--https", f"{self.address}:{self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.port = int(self.wait_for_line(r"Serving https://[^/]*:(\d+)/", begin)[1])

    def wait_for_line(self, pattern: str, begin: int = 0) -> "re.Match[str]":
        """Wait until the log, from byte `begin` on, has a match."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            text = self.log.read_bytes()[begin:].decode("utf-8", "replace")
            found = re.search(pattern, text)
            if found:
                return found
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{text}")
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log.read_text()}")

    def stop(self) -> int:
        """End it in good order and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(60)
        self.process = None
        return code

    def url(self, path: str) -> str:
        """The address of an admin path such as `/version?token=…`."""
        return f"{self.base}{API}{path}"

    @property
    def base(self) -> str:
        """Scheme, name and port."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """The server's certificate, to trust it by."""
        pem = (self.state / "tls" / "server.pem").read_text()
        found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", pem, re.DOTALL)
        path = self.folder / "ca.pem"
        new = path.with_suffix(f".{threading.get_ident()}")
        new.write_text("".join(found))
        new.replace(path)  # other threads may be reading it
        return path

    def curl(self, *arguments: str, path: str | None = None, stdin: bytes | None = None) -> Answer:
        """Run curl; `path` is an admin path. The last answer counts (after 100 Continue)."""
        trust = ["--insecure"] if self.insecure else ["--cacert", str(self.certificate)]
        argv = [*self.prefix, "curl", "-sS", "-i", *trust, *arguments]
        if path is not None:
            argv.append(self.url(path))
        finished = subprocess.run(argv, input=stdin, capture_output=True, timeout=120, check=False)
        assert finished.returncode == 0, (finished.returncode, finished.stderr)
        return parse(finished.stdout)

    def get(self, path: str) -> Answer:
        """GET with the token."""
        return self.curl(path=_with_token(path))

    def post(self, path: str, *fields: str) -> Answer:
        """POST a form with the token; each field as curl's -F takes it."""
        arguments = [argument for one in fields for argument in ("-F", one)]
        return self.curl("-X", "POST", *arguments, path=_with_token(path))

    def set_token(self, token: str = TOKEN) -> None:
        """The first setup."""
        assert self.curl("-F", f"newtoken={token}", path="/setup").status == 200

    def until(self, path: str, done: Callable[[Any], bool], seconds: float = 60) -> Any:
        """Poll a JSON path until `done(json)` and return the JSON."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.get(path).json
            if done(seen):
                return seen
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)


_RUN = "from twisted.scripts.twistd import run; run()"


def _set(name: str, seconds: float) -> str:
    """The statements that set a constant, which must be there."""
    module = name.rpartition(".")[0]
    return f"import {module}; {name}; {name} = {seconds}"


def hash_of(method: str, path: str, token: str = TOKEN) -> str:
    """The HMAC hash of an admin path."""
    key = hashlib.sha256(token.encode()).hexdigest().encode()
    return hmac.new(key, f"{method}{API}{path}".encode(), hashlib.sha256).hexdigest()


def parse(raw: bytes) -> Answer:
    """Take curl -i output apart."""
    head, _, body = raw.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 1"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


@contextlib.contextmanager
def running(folder: Path, config: str = "", *arguments: str, token: str | None = TOKEN) -> Iterator[Server]:
    """A server with its token set (`token` None: as it comes), ended afterwards."""
    server = Server(folder, config)
    try:
        server.start(*arguments)
        if token is not None:
            server.set_token(token)
        yield server
    finally:
        if server.process is not None:
            server.stop()


def _with_token(path: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}token={TOKEN}"
