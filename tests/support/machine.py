"""A private view of this machine, in which users, mounts and links can be made without touching the real one.

A process that does nothing holds a mount and a network namespace. In them /etc lies under an overlay, /home, /run,
/mnt, /var/log and /var/mail are empty file systems in memory, /sys shows the links of this network, and `lo` is up.
All of it is gone with the process.
"""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.server import Answer, Server
from tests.support.wire import take_response

PASSWORD = "correct horse 7"  # of the users that `system_server` makes
_SETUP = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
mount -t sysfs sysfs /sys
for each in /home /run /mnt /var/log /var/mail; do mount -t tmpfs -o mode=755 tmpfs "$each"; done
mkdir -p /run/lock
ip link set lo up
echo ready
exec sleep infinity
"""

_CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[2], int(sys.argv[3])), 30) as connection:
    connection.setblocking(True)
    socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"."], [connection.fileno()])
"""


@dataclass(frozen=True)
class Machine:
    """The namespaces of the process `pid`, or its mounts and the network of the process `network`."""

    pid: int
    network: int | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that shall run inside."""
        network = self.pid if self.network is None else self.network
        return ("nsenter", f"--target={self.pid}", "--mount", f"--net=/proc/{network}/ns/net", "--")

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command inside."""
        finished = subprocess.run(
            [*self.prefix, *argv], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or finished.returncode == 0, (argv, finished.returncode, finished.stdout, finished.stderr)
        return finished

    def json(self, *argv: str) -> Any:
        """Run a command inside that prints JSON."""
        return json.loads(self.run(*argv).stdout)

    def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection that was opened inside, for a client that is not."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            argv = [*self.prefix, sys.executable, "-S", "-c", _CONNECT, str(theirs.fileno()), host, str(port)]
            subprocess.run(argv, pass_fds=[theirs.fileno()], timeout=60, check=True)
            (descriptor,) = socket.recv_fds(ours, 1, 1)[1]
        return socket.socket(fileno=descriptor)

    def add_user(self, name: str, password: str | None = PASSWORD, *groups: str) -> None:
        """Make a user with a home folder."""
        listed = ["-G", ",".join(groups)] if groups else []
        self.run("useradd", "-m", "-s", "/bin/bash", *listed, name)
        if password is not None:
            self.run("chpasswd", stdin=f"{name}:{password}\n")


@contextlib.contextmanager
def machine(folder: Path, network: int | None = None) -> Iterator[Machine]:
    """A private view of the machine; `folder` is where its changes to /etc are kept meanwhile.

    `network` is a process whose network it has, or it has one of its own.
    """
    layer = folder / "etc-layer"
    layer.mkdir(parents=True)
    process = subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", _SETUP, "sh", str(layer)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Machine(process.pid, network)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class SystemServer:
    """A server inside a machine, with tokens of an administrator (`admin`) and of a plain user (`reader`)."""

    machine: Machine
    server: Server
    tokens: dict[str, str] = field(default_factory=dict)

    def curl(self, *arguments: str, path: str, stdin: bytes | None = None) -> Answer:
        """Run curl inside; `path` counts from the root."""
        return self.server.curl(*arguments, self.server.base + path, stdin=stdin)

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *headers: str,
        who: str | None = "admin",
        base: str = "/api/v1",
    ) -> Answer:
        """Send a request to a path of the system surface, with a JSON body where one is given.

        `who` is a user that has logged in; None sends no token.
        """
        arguments = ["-X", method]
        for header in headers:
            arguments += ["-H", header]
        if who is not None:
            arguments += ["-H", f"Authorization: Bearer {self.tokens[who]}"]
        stdin = None
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
            stdin = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.curl(*arguments, path=base + path, stdin=stdin)

    def many(self, requests: Iterable[tuple[str, str, Sequence[str]]]) -> list[Answer]:
        """Send requests one after the other: method, path from the root, headers. By one curl, which is much faster."""
        trust = json.dumps(str(self.server.certificate))
        sections = [
            "\n".join(
                [
                    f"include\ncacert = {trust}\nrequest = {method}\nurl = {json.dumps(self.server.base + path)}",
                    *(f"header = {json.dumps(header)}" for header in headers),
                ]
            )
            for method, path, headers in requests
        ]
        argv = [*self.machine.prefix, "curl", "-sS", "--config", "-"]
        finished = subprocess.run(
            argv, input="\nnext\n".join(sections).encode(), capture_output=True, timeout=300, check=False
        )
        assert finished.returncode == 0, (finished.returncode, finished.stderr)
        answers, rest = [], finished.stdout
        while rest:
            response, rest = take_response(rest)
            answers.append(Answer(response.status, response.headers, response.body))
        assert len(answers) == len(sections)
        return answers

    def log_in(self, username: str, password: str = PASSWORD) -> Any:
        """Log in, keep the token for `who=username`, and return what the server said."""
        answer = self.api("POST", "/auth/login", {"username": username, "password": password}, who=None)
        assert answer.status == 200, answer
        self.tokens[username] = answer.json["data"]["token"]
        return answer.json["data"]

    def data(self, path: str, who: str = "admin") -> Any:
        """The data of a GET that succeeds."""
        answer = self.api("GET", path, who=who)
        assert answer.status == 200, answer
        return answer.json["data"]


@contextlib.contextmanager
def system_server(
    folder: Path,
    config: str = "",
    *,
    limit: int | None = 0,
    address: str = "127.0.0.1",
    environment: Mapping[str, str] | None = None,
    network: int | None = None,
    hurry: Mapping[str, float] | None = None,
) -> Iterator[SystemServer]:
    """The real server in a machine of its own. `config` is TOML beside `[system] rate_limit_per_minute = LIMIT`, which
    stays as it comes where `limit` is None.

    Keys of `[system]` come first in `config`, before any other table. `address` is what it listens at, `environment` is
    added to the server's, `network` as for `machine`, `hurry` as for `Server`.
    """
    with machine(folder, network) as inside:
        inside.add_user("admin", PASSWORD, "sudo")
        inside.add_user("reader")
        rate = "" if limit is None else f"rate_limit_per_minute = {limit}\n"
        settings = f"[system]\n{rate}{config}"
        server = Server(folder / "server", settings, prefix=inside.prefix, address=address)
        server.environment.update(environment or {})
        server.hurry.update(hurry or {})
        try:
            server.start()
            found = SystemServer(inside, server)
            found.log_in("admin")
            found.log_in("reader")
            yield found
        finally:
            if server.process is not None:
                server.stop()
