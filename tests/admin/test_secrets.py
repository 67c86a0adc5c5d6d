"""Token, passwords and keys of a whole scripted run are in no log, no argument list and no environment."""

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.authority import issue
from tests.support.processes import wait_for
from tests.support.server import Answer, Server, hash_of, parse, running
from tests.support.vendor import build, command, json_file, make_keys

UPDATE = '#!/bin/sh\ncp version.txt "$APPLIANCE_ADMIN/etc/version.txt"\n'


@dataclass
class Watch:
    """Looks at the arguments and the environment of every process, as often as it can, for what must not be there."""

    forbidden: dict[str, bytes]
    seen: set[bytes] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
    sweeps: int = 0

    def sweep(self) -> None:
        for name in os.listdir("/proc"):
            if name.isdigit():
                for kind in ("cmdline", "environ"):
                    self._look(name, kind)
        self.sweeps += 1

    def _look(self, pid: str, kind: str) -> None:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/{kind}", "rb") as file:
                content = file.read()
            if kind == "cmdline":
                self.seen.add(content)
            for what, secret in self.forbidden.items():
                if secret in content:
                    self.found.append(f"{what} in {kind} of {content[:300]!r}")

    def saw(self, pattern: bytes) -> bool:
        return any(re.search(pattern, arguments.replace(b"\0", b" ")) for arguments in self.seen)


@contextlib.contextmanager
def watching(forbidden: dict[str, bytes]) -> Iterator[Watch]:
    watch, stop = Watch(forbidden), threading.Event()

    def run() -> None:
        while not stop.is_set():
            watch.sweep()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()


def ask(server: Server, path: str, *fields: str, query: str = "") -> Answer:
    """curl with everything that is secret on its standard input."""
    config = [f'url = "{server.url(path)}{query}"', f'cacert = "{server.certificate}"', "silent", "include", "insecure"]
    config += [f'form = "{one}"' for one in fields]
    return parse(command("curl", "-K", "-", stdin="\n".join(config).encode()))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "server", "[admin]\nbackoff_after = 0\n", token=None) as server:
        yield server


def test_a_watch_finds_what_it_looks_for() -> None:
    with watching({"needle": b"needle-in-a-haystack"}) as watch:
        command("sh", "-c", "sleep 0.3", "needle-in-a-haystack")
    assert watch.found
    assert watch.saw(b"^sh -c sleep 0.3")


def test_no_secret_shows(server: Server, tmp_path: Path) -> None:
    first, token, wrong = (f"{name}-{secrets.token_hex(12)}" for name in ("first", "token", "wrong"))
    password, bad_password = f"iscsi-{secrets.token_hex(12)}", f"iscsi {secrets.token_hex(12)}"
    keys = make_keys(tmp_path / "keys", server)
    package = build(keys, tmp_path / "package.enc", {"update.sh": UPDATE, "data": secrets.token_bytes(12_000_000)})
    pair = issue("secret.host", now=datetime.now(UTC))
    (tmp_path / "public.pem").write_bytes(pair.pem)
    (tmp_path / "private.pem").write_bytes(pair.key_pem)
    good = {"type": "iscsi", "target": "iqn.2016-01.com.example:lun1", "ip": "192.0.2.1", "username": "user"}
    storage = json_file(tmp_path / "storage.json", {"storage": good | {"password": password}})
    bad_storage = json_file(tmp_path / "bad-storage.json", {"storage": good | {"password": bad_password}})
    hashed = hash_of("GET", "/version", token=token)
    key_lines = pair.key_pem.splitlines()
    forbidden = {
        "the first token": first.encode(),
        "the token": token.encode(),
        "a wrong token": wrong.encode(),
        "the password": password.encode(),
        "a refused password": bad_password.encode(),
        "the TLS key": key_lines[1],
        "the passphrase of updates": (keys / "updates.key").read_bytes().strip(),
        "a hash": hashed.encode(),
    }
    assert all(len(secret) > 20 for secret in forbidden.values())
    authority = f"?token={token}"

    with watching(forbidden) as watch:
        assert ask(server, "/setup", f"newtoken={first}").status == 200
        assert ask(server, "/setup", f"newtoken={token}", query=f"?token={first}").status == 200
        assert ask(server, "/setup", f"newtoken={bad_password}", query=authority).status == 400
        assert ask(server, "/version", query=f"?token={wrong}").status == 403
        assert ask(server, "/backup", f"token={wrong}", "action=STOP").status == 403
        assert ask(server, f"/{token}", query=f"?hash={hashed}").status == 404
        assert ask(server, "/version", query=f"?hash={hashed}").status == 200
        assert ask(server, "/storage", f"settings=@{storage}", query=authority).status == 202
        wait_for((server.admin / "etc" / "storage.json").exists, "the storage settings")
        assert ask(server, "/storage", f"settings=@{bad_storage}", query=authority).status == 400
        assert password.encode() not in ask(server, "/storage", query=authority).body
        certs = (f"public=@{tmp_path}/public.pem", f"private=@{tmp_path}/private.pem")
        assert ask(server, "/certs", *certs, query=authority).status == 202
        wait_for(lambda: ask(server, "/certs", query=authority).json["status"] == "success", "the certificates")
        assert ask(server, "/update", f"update=@{package}", query=authority).status == 202
        wait_for(lambda: ask(server, "/update", query=authority).json["status"] == "success", "the update")
        assert ask(server, "/backup", "action=START", query=authority).status == 202
        wait_for(lambda: ask(server, "/backup", query=authority).json["status"] == "success", "the backup")
        assert ask(server, "/debug", query=authority).status == 200
        logs = ask(server, "/logs", query=authority)
        assert logs.status == 200
        server.stop()

    assert watch.found == []
    assert watch.sweeps > 50
    for pattern in (
        b"supervisor.py",
        b"scripts/update",
        b"scripts/certs",
        b"openssl enc -d",
        b"scripts/debug",
        b"restore.py",
    ):
        assert watch.saw(pattern), pattern
    (tmp_path / "logs.tar.gz").write_bytes(logs.body)
    command("tar", "-xzf", tmp_path / "logs.tar.gz", "-C", tmp_path, "log")
    files = [server.log, *tmp_path.glob("log/**/*"), *(server.admin / "log").rglob("*")]
    files += [*server.state.glob("appliance.db*"), *(server.state / "jobs").rglob("*")]
    read = 0
    for file in filter(Path.is_file, files):
        content = file.read_bytes()
        read += 1
        assert not [what for what, secret in forbidden.items() if secret in content and what != "the token"], file
        # A path is no place for a secret, but one that was put there is logged as it came.
        shown = [line for line in content.splitlines() if token.encode() in line]
        assert all(f"/api/v1/admin/{token}".encode() in line for line in shown), (file, shown)
    assert read > 10
    staged = [path for path in server.state.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert staged
    assert all(path.stat().st_mode & 0o077 == 0 for path in staged), staged
