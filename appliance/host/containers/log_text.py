"""A container's log as a text that fits into an answer."""

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from appliance.host.containers.runtime import Log
from appliance.host.errors import Unavailable
from appliance.process.output import Tail
from appliance.process.reactor import within

TEXT_LIMIT = 2 << 20
"""Bytes of a log that go into one answer."""
_READ_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LogText:
    """The end of a log; `truncated` where more was asked for than fits. What is not UTF-8 is replaced."""

    text: str
    truncated: bool


async def read_text(reactor: Any, log: Log) -> LogText:
    """Read `log` to its end and close it. Raises `Unavailable`, also where it takes more than half a minute."""
    tail = Tail(TEXT_LIMIT)

    async def read() -> None:
        while piece := await log.read():
            tail.add(piece)

    try:
        await within(reactor, _READ_SECONDS, Deferred.fromCoroutine(read()))
    except TimeoutError:
        raise Unavailable("The log was not read in time; ask for fewer lines, or for a stream") from None
    finally:
        log.close()
    data = tail.content()
    if tail.dropped:  # begins with a whole line
        data = data[data.find(b"\n") + 1 :]
    return LogText(data.decode("utf-8", "replace"), tail.dropped)
