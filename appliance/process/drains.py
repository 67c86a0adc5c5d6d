"""Reads on where nobody listens any more, so that a background process whose starter has ended can still print."""

import os

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.reactor import ProcessReactor

PACE = 0.05
"""Seconds between two looks at a pipe: what prints without end waits, and costs next to nothing."""

_CHUNK = 1 << 16


class Drains:
    """Pipes whose content is dropped until their writers are gone; `limit` of them, then the oldest is closed."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, limit: int = 64) -> None:
        self._reactor = reactor
        self._limit = limit
        self._drains: dict[int, _Drain] = {}

    def __len__(self) -> int:
        return len(self._drains)

    def adopt(self, descriptor: int) -> None:
        """Read and drop what comes from `descriptor` (not blocking), which is this object's from now on."""
        if len(self._drains) >= self._limit:
            self._log.warn("Too many background processes keep their output open: the oldest one loses it")
            next(iter(self._drains.values())).close()
        self._drains[descriptor] = _Drain(self._reactor, descriptor, self._drains)

    def close(self) -> None:
        """Close them all; their writers get EPIPE."""
        for drain in list(self._drains.values()):
            drain.close()


@implementer(IReadDescriptor)
class _Drain:
    """One pipe, in `register` until it is closed."""

    def __init__(self, reactor: ProcessReactor, descriptor: int, register: "dict[int, _Drain]") -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._register = register
        self._pause: IDelayedCall | None = None
        reactor.addReader(self)

    def close(self) -> None:
        if self._descriptor >= 0:
            if self._pause is not None and self._pause.active():
                self._pause.cancel()
            else:
                self._reactor.removeReader(self)
            os.close(self._descriptor)
            del self._register[self._descriptor]
            self._descriptor = -1

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "drain"

    def doRead(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._reactor.removeReader(self)
            self._pause = self._reactor.callLater(PACE, self._reactor.addReader, self)
        else:
            self.close()

    def connectionLost(self, reason: Failure) -> None:
        self.close()
