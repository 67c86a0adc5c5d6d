"""Takes calls from the server, forks for each, and tells how they ended."""

from __future__ import annotations

# What `signal` wraps: without its enumerations a child touches, and so copies, less memory.
import _signal  # type: ignore[import-not-found]
import array
import contextlib
import fcntl
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from appliance.rpc.plugins.zygote.process import Task
    from appliance.rpc.plugins.zygote.scripts import Cold, Scripts, world
else:
    from process import Task
    from scripts import Cold, Scripts, world

if TYPE_CHECKING:
    from typing import NoReturn

CONTROL = 3
LOWEST = 64  # our own descriptors lie above those that a script opens
DESCRIPTORS = 4
MESSAGE_LIMIT = 65536

CALL_LIMIT = 10000
"""Calls after which this process is replaced: all of its scripts share one seed of hashes."""


class Calls:
    """The calls that run. `serve` returns in forked children only."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._control = socket.socket(fileno=lifted(CONTROL))
        woken, wake = os.pipe()
        self._woken, self._wake = lifted(woken), lifted(wake)
        os.set_blocking(self._wake, False)
        self._pids: dict[str, int] = {}
        self._ended: set[str] = set()
        self._pid = os.getpid()
        self._world = world()
        self._served = 0
        self._retired = False

    def serve(self) -> Task:
        """Take calls until the server is gone."""
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        self._send("ready")
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._woken:
                    self._tell_of_ended()
                else:
                    task = self._handle()
                    if task is not None:
                        return task

    def forget(self) -> None:
        """In a child: close all that is ours, and be deaf to what wakes us."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        self._control.close()
        os.close(self._woken)
        os.close(self._wake)

    def _handle(self) -> Task | None:
        descriptors: array.array[int] = array.array("i")
        size = descriptors.itemsize
        message, ancillary, _, _ = self._control.recvmsg(MESSAGE_LIMIT, socket.CMSG_LEN(DESCRIPTORS * size))
        if not message:
            os._exit(0)  # the server is gone; if it was killed, others end what still runs
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % size])
        words = [os.fsdecode(word) for word in message.split(b"\0")]
        if words[0] == "reap":
            self._reap(words[1])
            return None
        try:
            return self._run(words[1], words[2], words[3:], list(descriptors))
        except Cold as reason:
            self._send("cold", words[1], str(reason))
        finally:
            if os.getpid() == self._pid:
                for descriptor in descriptors:
                    os.close(descriptor)
        return None

    def _run(self, number: str, path: str, arguments: list[str], descriptors: list[int]) -> Task | None:
        self._served += 1
        if self._retired:
            raise Cold("retired")
        if self._served > CALL_LIMIT:
            self._retire(f"it has served {CALL_LIMIT} calls")
        if world() != self._world:
            self._retire("Python or its packages have changed")
        if len(descriptors) != DESCRIPTORS:
            raise Cold("it has no room for the descriptors")
        code = self._scripts.code(path)
        folder = os.path.dirname(os.path.realpath(path))
        try:
            gate, opener = os.pipe()
        except OSError as error:
            raise Cold(str(error)) from None
        try:
            pid = os.fork()
        except OSError as error:
            os.close(gate)
            os.close(opener)
            raise Cold(str(error)) from None
        if pid == 0:
            os.close(opener)
            return Task(path, folder, arguments, code, self._scripts.before, descriptors, gate)
        os.close(gate)
        self._pids[number] = pid
        self._send("started", number, str(pid))
        with contextlib.suppress(BrokenPipeError):  # it was killed that soon
            os.write(opener, b"g")
        os.close(opener)
        return None

    def _retire(self, why: str) -> NoReturn:
        self._retired = True
        self._send("retired", why)
        raise Cold(why)

    def _tell_of_ended(self) -> None:
        os.read(self._woken, 4096)
        for number, pid in self._pids.items():
            if number in self._ended:
                continue
            news = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if news is not None:
                self._ended.add(number)
                kind = "exit" if news.si_code == os.CLD_EXITED else "signal"
                self._send("ended", number, kind, str(news.si_status))

    def _reap(self, number: str) -> None:
        self._ended.discard(number)
        os.waitpid(self._pids.pop(number), 0)

    def _send(self, *words: str) -> None:
        try:
            self._control.sendall("\0".join(words).encode("utf-8", "surrogateescape"))
        except OSError:
            os._exit(0)  # the server is gone, and a call that was not `started` does not begin


def lifted(descriptor: int) -> int:
    """The same with a number out of the way of those that scripts see."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST)
    os.close(descriptor)
    return copy
