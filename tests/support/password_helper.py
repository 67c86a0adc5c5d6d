"""The real password helper, spoken to directly, and a machine with users in every state of an account."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.identity.helper_frames import Outcome, Reply, Request, decode_reply, encode_request, frame
from appliance.identity.helper_owner import helper_command, helper_environment
from tests.support.machine import Machine, machine
from tests.support.processes import children, wait_for

PASSWORD = "Tr0ub4dor & söhne"
ADDRESS = "192.0.2.7"
SYSTEM_PYTHON = "/usr/bin/python3"
"""One that every user may run."""

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")

USERS = {
    "ann": (),
    "slow": (),  # whom `SLOW_SERVICE` lets wait
    "locked": ("usermod", "-L"),
    "expired": ("chage", "-E", "1"),
    "must-change": ("chage", "-d", "0"),
    "inactive": ("chage", "-d", "2000-01-01", "-M", "30", "-I", "30"),
    "passwordless": ("passwd", "-q", "-d"),
    "no.shell": ("usermod", "-s", "/usr/sbin/nologin"),
}

SLOW_SERVICE = """
auth [success=1 default=ignore] pam_succeed_if.so quiet user != slow
auth optional pam_exec.so quiet /bin/sleep 600
auth required pam_unix.so
account required pam_unix.so
"""


@contextmanager
def machine_with_users(folder: Path) -> Iterator[Machine]:
    """A private machine where each of `USERS` has the password `PASSWORD`."""
    with machine(folder) as inside:
        for user, state in USERS.items():
            inside.add_user(user, PASSWORD)
            if state:
                inside.run(*state, user)
        yield inside


@contextmanager
def service(inside: Machine, text: str) -> Iterator[None]:
    """Have the PAM service `appliance` meanwhile."""
    inside.run("tee", "/etc/pam.d/appliance", stdin=text)
    try:
        yield
    finally:
        inside.run("rm", "/etc/pam.d/appliance")


@contextmanager
def without_login_service(inside: Machine) -> Iterator[None]:
    """Have no service that the helper would ask meanwhile."""
    inside.run("mv", "/etc/pam.d/login", "/etc/pam.d/login.away")
    try:
        yield
    finally:
        inside.run("mv", "/etc/pam.d/login.away", "/etc/pam.d/login")


def descendants(pid: int) -> list[int]:
    """The pids of all that `pid` has started."""
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


class Helper:
    """A helper process; `prefix` stands before its command. Without `packages` it finds this project only."""

    def __init__(self, *prefix: str, limit: float = 30.0, python: str = sys.executable, packages: bool = True) -> None:
        command = [*prefix, python, *helper_command(limit)[1:]]
        environment = dict(helper_environment())
        if not packages:
            environment["PYTHONPATH"] = environment["PYTHONPATH"].split(os.pathsep)[0]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None and self.process.stderr is not None
        self._stdin, self._stdout, self._stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self.pid = self.process.pid
        self._last = 0

    def send(self, data: bytes) -> None:
        """Write to its standard input as it is."""
        self._stdin.write(data)
        self._stdin.flush()

    def begin(self, name: str, password: str) -> int:
        """Ask for a check; return its number."""
        self._last += 1
        request = Request(self._last, name, ADDRESS, bytearray(password.encode()))
        self.send(frame(encode_request(request)))
        return self._last

    def reply(self) -> Reply:
        """Wait for the next reply."""
        (length,) = struct.unpack("!I", self._stdout.read(4))
        return decode_reply(self._stdout.read(length))

    def check(self, name: str, password: str) -> Outcome:
        """Have one password checked."""
        number = self.begin(name, password)
        reply = self.reply()
        assert reply.number == number
        return reply.outcome

    def checking(self, program: str) -> int:
        """Wait until the helper has started `program`, and return its pid."""

        def find() -> int:
            return next((pid for pid in descendants(self.pid) if _name(pid) == program), 0)

        return int(wait_for(find, f"{program} to be started"))

    def end(self) -> int:
        """Close its input and wait; return its exit code."""
        self._stdin.close()
        return self._wait()

    def terminate(self) -> int:
        """Send TERM and wait; return its exit code."""
        self.process.terminate()
        return self._wait()

    def words(self) -> str:
        """All that it wrote on standard error, once it has ended."""
        return self._stderr.read().decode()

    def close(self) -> None:
        """Leave nothing behind, however the test ended."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    def _wait(self) -> int:
        return self.process.wait(20)


def _name(pid: int) -> str:
    try:
        return os.path.basename(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode())
    except OSError:
        return ""
