"""The terminal that a command runs on: raw, so that every key goes to the other end, and given back as it was."""

import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReadDescriptor
from zope.interface import implementer

_READ = 4096
_ESCAPE = "~"
_LEAVE = "."


class LocalTerminal:
    """Standard input and output of this process. `sys.stdin` and `sys.stdout` must be terminals."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._saved: list[Any] | None = None
        self._resized: Callable[[], None] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 where it does not know, 1000 at the most."""
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        return min(columns or 80, 1000), min(rows or 24, 1000)

    def enter(self, resized: Callable[[], None]) -> None:
        """Make it raw; `resized` is called when its size has changed."""
        self._saved = termios.tcgetattr(sys.stdin.fileno())
        self._resized = resized
        tty.setraw(sys.stdin.fileno())
        signal.signal(signal.SIGWINCH, self._window_changed)

    def leave(self) -> None:
        """Give it back as it was; may be called again."""
        if self._saved is not None:
            saved, self._saved = self._saved, None
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, saved)

    def show(self, text: str) -> None:
        """Print, and wait until it is printed: whoever sends too much is held back by that."""
        data = text.encode()
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def _window_changed(self, number: int, frame: FrameType | None) -> None:
        if self._resized is not None:
            self._reactor.callFromThread(self._resized)


@implementer(IReadDescriptor, IPushProducer)
class Keyboard:
    """
    What is typed, as text, for `typed`; `left` is called for Enter, ~, . which never reaches the other end.

    ~ at the beginning of a line is held back for the next key: another ~ types one.
    """

    def __init__(self, reactor: Any, typed: Callable[[str], None], left: Callable[[], None]) -> None:
        self._reactor = reactor
        self._typed = typed
        self._left = left
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_beginning = True
        self._escaping = False
        self._reading = False

    def start(self) -> None:
        """Begin to read."""
        self._reading = True
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Read no more, for good."""
        self._reading = False
        self._reactor.removeReader(self)

    # What the reactor calls

    def fileno(self) -> int:
        """Standard input."""
        return sys.stdin.fileno()

    def logPrefix(self) -> str:
        """For the reactor's messages."""
        return "keyboard"

    def doRead(self) -> None:
        """Take what was typed. It is not made non-blocking, for others share it; it is only read when there is some."""
        try:
            data = os.read(self.fileno(), _READ)
        except OSError:
            data = b""
        if data:
            self.take(self._decoder.decode(data))
        else:  # the terminal has gone
            self.stop()
            self._left()

    def connectionLost(self, reason: object) -> None:
        """The reactor stops."""

    # What a transport calls that cannot take more

    def pauseProducing(self) -> None:
        """Leave what is typed unread."""
        self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read again."""
        if self._reading:
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        """The connection is gone; the way out must stay open."""
        self.resumeProducing()

    def take(self, text: str) -> None:
        """Pass on what was typed, but for the escape."""
        passed = []
        for key in text:
            if self._escaping:
                self._escaping = False
                if key == _LEAVE:
                    self._left()
                    return
                if key != _ESCAPE:
                    passed.append(_ESCAPE)
            elif key == _ESCAPE and self._at_beginning:
                self._escaping = True
                continue
            passed.append(key)
            self._at_beginning = key in "\r\n"
        if passed:
            self._typed("".join(passed))
