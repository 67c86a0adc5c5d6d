"""How far a plugin is: lines of `{"progress": N}` on its descriptor 3, N from 0 to 100."""

from collections.abc import Callable

import msgspec

DESCRIPTOR = 3
LINE_LIMIT = 4096


class _Line(msgspec.Struct):
    progress: int | float


_decoder = msgspec.json.Decoder(_Line)


class ProgressLines:
    """Tells `report` the percentage of the last line in each piece; other lines, and long ones, count for nothing."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take a piece of what the plugin wrote."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= LINE_LIMIT else b""
        for line in reversed(lines):
            percentage = _percentage(line)
            if percentage is not None:
                self._report(percentage)
                return


def _percentage(line: bytes) -> int | None:
    try:
        return round(min(max(_decoder.decode(line).progress, 0), 100))
    except (msgspec.DecodeError, RecursionError):
        return None
