"""Standard output of a command that prints for long: whether it is a terminal, and whether anybody reads it."""

import os
import select
import sys


class Output:
    """Standard output. `is_broken` once nobody reads it any more; what is written then is dropped."""

    def __init__(self) -> None:
        self.is_broken = False
        self.colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        """Whether colours may be used (no-color.org)."""
        self._poll = select.poll()
        self._poll.register(sys.stdout.fileno(), 0)

    def write(self, text: str) -> None:
        """Print at once. Waits where the reader is slow."""
        if self.is_broken:
            return
        try:
            sys.stdout.buffer.write(text.encode("utf-8", "replace"))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._break()

    def look(self) -> None:
        """Look whether somebody reads, without writing."""
        if not self.is_broken and any(events & select.POLLERR for _, events in self._poll.poll(0)):
            self._break()

    def _break(self) -> None:
        self.is_broken = True
        # What is still buffered would make the interpreter complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
