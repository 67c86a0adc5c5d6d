"""
The password helper: a small process of its own that checks one password after the other for the server.

    python -P -m appliance.identity.pam_helper SECONDS

Reads requests on standard input and writes replies on standard output (`helper_frames`), each check in a child that is
ended after SECONDS. A module that hangs or crashes takes nothing with it but its own check, and no password is ever in
a command line, an environment, a log or a core dump. Ends when its input does, however the server died, or with
exit code 1 when what it reads is no request.

Imports next to nothing, since every child is a copy of it.
"""

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from appliance.identity import helper_confinement as confinement
from appliance.identity.helper_frames import (
    GREETING,
    Frames,
    Outcome,
    ProtocolError,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    frame,
)
from appliance.identity.su_check import SuCheck, find_su

MAX_CHECKS = 4
END_LIMIT = 2.0
"""Seconds that what is killed at the end may take to be gone; without root, su's may not be ours to kill."""

_STDIN = 0
_STDOUT = 1
_EXIT_FAILED = 70


class Check(Protocol):
    """Checks passwords by some `means`. A call may block, and runs in a process of its own."""

    @property
    def ready(self) -> Outcome: ...

    @property
    def means(self) -> str: ...

    def __call__(self, request: Request) -> tuple[Outcome, str]: ...


@dataclass(slots=True)
class _Running:
    number: int
    result: int
    deadline: float


class Helper:
    """The loop: requests in, children, replies out. `limit` is how many seconds a check may take."""

    def __init__(self, check: Check, limit: float) -> None:
        self._check = check
        self._limit = limit
        self._frames = Frames()
        self._running: dict[int, _Running] = {}
        self._open = True

    def run(self) -> None:
        """Serve until the input ends or TERM comes. Raises `ProtocolError`."""
        wake = _wake_on(signal.SIGCHLD, signal.SIGTERM)
        handlers: dict[int, Callable[[], None]] = {_STDIN: self._read, wake: lambda: self._woken(wake)}
        with selectors.DefaultSelector() as selector:
            for descriptor in handlers:
                selector.register(descriptor, selectors.EVENT_READ)
            try:
                _answer(Reply(GREETING, self._check.ready, self._check.means))
                while self._open:
                    for key, _ in selector.select(self._until_next_deadline()):
                        handlers[key.fd]()
                    self._end_late_ones()
            finally:
                self._end_everything()

    def _read(self) -> None:
        count = os.readv(_STDIN, [self._frames.room()])
        self._open = self._open and count > 0
        self._frames.filled(count)
        while (content := self._frames.take()) is not None:
            request = decode_request(content)
            if len(self._running) < MAX_CHECKS:
                self._start(request)
            else:
                _answer(Reply(request.number, Outcome.UNAVAILABLE, "too many checks at once"))
            request.wipe()

    def _woken(self, wake: int) -> None:
        if signal.SIGTERM in os.read(wake, 512):
            self._open = False
        for pid, status in _ended_children():
            if pid in self._running:
                self._finish(self._running.pop(pid), status)
        self._end_orphans()

    def _start(self, request: Request) -> None:
        parent = os.getpid()
        result, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # no memory or no process left
            os.close(result)
            os.close(writer)
            _answer(Reply(request.number, Outcome.UNAVAILABLE, f"no process for the check: {error.strerror}"))
            return
        if pid == 0:
            _run_check(self._check, request, writer, parent)
        os.close(writer)
        os.set_blocking(result, False)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # the child did it itself, and went on
            os.setpgid(pid, pid)
        self._running[pid] = _Running(request.number, result, time.monotonic() + self._limit)

    def _finish(self, ended: _Running, status: int) -> None:
        """Pass on what a child found out. Only a whole reply and a regular end count."""
        try:
            written = os.read(ended.result, 4096)
        except BlockingIOError:  # somebody it left behind holds the pipe
            written = b""
        finally:
            os.close(ended.result)
        code = os.waitstatus_to_exitcode(status)
        try:
            reply = decode_reply(written) if code == 0 else Reply(0, Outcome.UNAVAILABLE, _describe(code))
        except ProtocolError:  # a module that calls exit()
            reply = Reply(0, Outcome.UNAVAILABLE, "the check ended without a result")
        _answer(Reply(ended.number, reply.outcome, reply.reason))

    def _until_next_deadline(self) -> float | None:
        deadlines = [running.deadline for running in self._running.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        late = [pid for pid, running in self._running.items() if running.deadline <= now]
        self._end(late)
        for pid in late:
            self._running[pid].deadline = now + self._limit  # one that cannot be killed must not keep us busy

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _end_everything(self) -> None:
        self._end(list(self._running))
        self._running.clear()
        deadline = time.monotonic() + END_LIMIT
        while _has_children() and time.monotonic() < deadline:
            self._end_orphans()
            time.sleep(0.01)

    def _end_orphans(self) -> None:
        """
        End what a check left behind: as their subreaper we are the parent of those whose own has gone.

        A module's program may have left the check's group (pam_exec makes a session for each).
        """
        with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
                children = [int(pid) for pid in file.read().split()]
            for pid in children:
                if pid not in self._running:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)


def _ended_children() -> Iterator[tuple[int, int]]:
    """Pid and status of each child that has ended, which is reaped thereby."""
    with contextlib.suppress(ChildProcessError):  # no children are left
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield ended


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def choose_check() -> Check:
    """PAM where we are root, libpam loads and a service is configured; else su. `RuntimeError` without either."""
    if os.geteuid() != 0:
        why = "PAM needs root"
    else:
        try:
            from appliance.identity.pam_check import SERVICES, PamCheck, find_service

            service = find_service()
            if service is not None:
                return PamCheck(service)
            why = f"PAM has no service {' or '.join(SERVICES)}"
        except (ImportError, OSError, AttributeError) as error:  # no pamela, no libpam, one without its functions
            why = f"PAM cannot be loaded: {error}"
    su = find_su()
    if su is None:
        raise RuntimeError(f"{why}, and there is no su")
    return SuCheck(su, why)


def _run_check(check: Check, request: Request, writer: int, parent: int) -> NoReturn:
    """The child: check, write the reply to `writer`, and be gone without any of Python's clean-up."""
    code = _EXIT_FAILED
    try:
        os.setpgid(0, 0)
        confinement.die_with_parent(parent, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores two of them
            signal.signal(number, signal.SIG_DFL)
        # The helper's own pipes are not for modules to read from or print to.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        outcome, reason = check(request)
        os.write(writer, encode_reply(Reply(request.number, outcome, reason)))
        code = 0
    finally:
        os._exit(code)


def _wake_on(*numbers: signal.Signals) -> int:
    """A descriptor from which the numbers of these signals can be read as they come."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def _answer(reply: Reply) -> None:
    """At most five short replies are ever on their way, less than a pipe holds: this does not block."""
    os.write(_STDOUT, frame(encode_reply(reply)))


def _describe(code: int) -> str:
    return f"the check was ended by signal {-code}" if code < 0 else f"the check failed with exit code {code}"


def main() -> int | str:
    """The program; what it returns is for `sys.exit`."""
    limit = float(sys.argv[1])
    confinement.confine()
    try:
        check = choose_check()
    except RuntimeError as error:
        _answer(Reply(GREETING, Outcome.UNAVAILABLE, str(error)))
        return 1
    by_su = check.ready == Outcome.READY_SU
    confinement.keep_capabilities((confinement.SU_CAPABILITIES if by_su else confinement.CAPABILITIES).values())
    try:
        Helper(check, limit).run()
    except ProtocolError as error:
        return f"it was sent {error}"
    except BrokenPipeError:  # the server is gone
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
