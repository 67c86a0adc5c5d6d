"""A child process that is spoken to for as long as it lives: its standard input stays open."""

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from appliance.process.child import Child
from appliance.process.errors import ProcessError
from appliance.process.reactor import ProcessReactor


class Dialogue(Child):
    """
    A child that `write` reaches until it ends or `close_input` is called; otherwise a `Child`.

    What it has not read yet waits in memory: 64 KiB (Twisted's buffer size), and one more piece.
    """

    def __init__(self, reactor: ProcessReactor, receive: Callable[[int, bytes], None]) -> None:
        super().__init__(reactor, receive)
        self._gauge = _Gauge()

    def write(self, data: bytes) -> None:
        """Send `data`, which is lost when the child has ended. Raises `ProcessError` when it reads nothing."""
        if self._gauge.full:
            raise ProcessError(f"process {self.pid} does not read its input")
        self.transport.write(data)

    def close_input(self) -> None:
        """Let the child read the end of its input after what was written."""
        self.transport.unregisterProducer()
        self.transport.closeStdin()

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self.transport.registerProducer(self._gauge, True)


@implementer(IPushProducer)
class _Gauge:
    """Knows whether the pipe's buffer is full: Twisted pauses a producer then."""

    def __init__(self) -> None:
        self.full = False

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        """The pipe is closed: nothing waits any more, and what is written goes nowhere."""
        self.full = False
