"""
Telling the service manager how we are: sd_notify(3) without its library.

Everything is a no-op where `NOTIFY_SOCKET` is not set, so callers need not ask.
"""

import os
import socket
from collections.abc import Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure


class Notifier:
    """Sends states to the service manager's datagram socket."""

    def __init__(self, path: str | None = None, watchdog_interval: float | None = None) -> None:
        """Where to send, as in `NOTIFY_SOCKET` (a leading `@`: an abstract name); `watchdog_interval`: s."""
        self._path = path
        self.watchdog_interval = watchdog_interval
        self._log = Logger()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """
        The notifier for `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.

        A keep-alive goes out twice in each watchdog period, as sd_watchdog_enabled(3) advises.
        """
        path = environment.get("NOTIFY_SOCKET")
        interval = None
        period, ourselves = environment.get("WATCHDOG_USEC", ""), str(os.getpid())
        if period.isdecimal() and int(period) > 0 and environment.get("WATCHDOG_PID", ourselves) == ourselves:
            interval = int(period) / 2_000_000
        return cls(path, interval)

    def ready(self, status: str = "") -> bool:
        """Start-up is complete."""
        return self._send("READY=1", *([f"STATUS={_one_line(status)}"] if status else []))

    def stopping(self) -> bool:
        """Shutdown has begun."""
        return self._send("STOPPING=1")

    def watchdog(self) -> bool:
        """We are alive."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """What `systemctl status` shows beside the unit."""
        return self._send(f"STATUS={_one_line(text)}")

    def _send(self, *lines: str) -> bool:
        """Whether the datagram was taken; a refusal is logged, since the service must go on without it."""
        if not self._path:
            return False
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError as error:
            self._log.warn("the service manager did not take {state}: {error}", state=lines[0], error=error)
            return False
        return True


class Watchdog(Service):
    """Keeps the service manager's watchdog quiet for as long as the reactor turns."""

    def __init__(self, clock: IReactorTime, notifier: Notifier) -> None:
        self._notifier = notifier
        self._loop = LoopingCall(notifier.watchdog)
        self._loop.clock = clock
        self._log = Logger()

    def startService(self) -> None:
        """Begin sending keep-alives, where the service manager asked for them."""
        super().startService()
        if self._notifier.watchdog_interval is not None:
            ended = self._loop.start(self._notifier.watchdog_interval, now=True)
            self._ended = ended.addErrback(self._failed)

    def stopService(self) -> None:
        """Stop sending them."""
        if self._loop.running:
            self._loop.stop()
        super().stopService()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("keep-alives have stopped, the service manager will restart us", failure=failure)


def _one_line(text: str) -> str:
    return " ".join(text.split())
