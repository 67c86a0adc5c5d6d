"""Samples on their way to many clients: encoded once, handed out in slots, left out for those who are slow."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from appliance.host.metrics.model import Sample
from appliance.host.metrics.sampler import Sampler
from appliance.system.live.peer import Peer
from appliance.websocket.frames import prepared

SLOTS = 25
SLOT_SECONDS = 0.02
"""A sample goes to a 25th of its clients at a time: no request waits behind a thousand of them."""
SMALLEST_SLOT = 20

Render = Callable[[Sample], Mapping[str, bytes]]
"""What is sent of a sample: messages by name."""


@dataclass(eq=False)
class Member:
    """A client that gets samples: those messages that are `wanted`, or all of them."""

    peer: Peer
    interval: int
    wanted: frozenset[str] | None = None


@dataclass(eq=False)
class _Group:
    """All members of one interval. `frames` are of the sample that is being handed out, `waiting` get it still."""

    stop: Callable[[], None]
    members: dict[Member, None] = field(default_factory=dict)
    waiting: deque[Member] = field(default_factory=deque)
    frames: "_Frames | None" = None
    slot: int = 0
    timer: IDelayedCall | None = None


class Feed:
    """Hands out samples in one form. All members of one interval get the same samples."""

    def __init__(self, clock: IReactorTime, sampler: Sampler, render: Render) -> None:
        self._clock = clock
        self._sampler = sampler
        self._render = render
        self._groups: dict[int, _Group] = {}
        self._rendered: tuple[Sample, _Frames] | None = None

    def join(self, member: Member) -> None:
        """Send samples to `member` from now on: the latest at once, or else the first as soon as there is one."""
        group = self._groups.get(member.interval)
        if group is None:
            group = _Group(stop=lambda: None)
            self._groups[member.interval] = group
            group.stop = self._sampler.listen(member.interval, lambda sample: self._begin(group, sample))
        group.members[member] = None
        if self._sampler.latest is not None:
            self._send(member, self._frames(self._sampler.latest))

    def leave(self, member: Member) -> None:
        """Send nothing more to `member`."""
        group = self._groups.get(member.interval)
        if group is None or member not in group.members:
            return
        del group.members[member]
        if not group.members:
            del self._groups[member.interval]
            group.stop()
            if group.timer is not None:
                group.timer.cancel()
            if not self._groups:
                self._rendered = None

    def _begin(self, group: _Group, sample: Sample) -> None:
        """Hand out a sample; who still waits for the one before gets this one in its place."""
        group.frames = self._frames(sample)
        group.waiting = deque(group.members)
        group.slot = max(SMALLEST_SLOT, -(-len(group.waiting) // SLOTS))
        if group.timer is None:
            self._hand_out(group)

    def _hand_out(self, group: _Group) -> None:
        group.timer = None
        frames = group.frames
        for _ in range(min(group.slot, len(group.waiting))):
            member = group.waiting.popleft()
            if frames is not None and member in group.members:
                self._send(member, frames)
        if group.waiting:
            group.timer = self._clock.callLater(SLOT_SECONDS, self._hand_out, group)
        else:
            group.frames = None

    def _send(self, member: Member, frames: "_Frames") -> None:
        if not member.peer.slow:
            member.peer.send_prepared(frames.of(member.wanted))

    def _frames(self, sample: Sample) -> "_Frames":
        if self._rendered is None or self._rendered[0] is not sample:
            self._rendered = sample, _Frames(self._render(sample))
        return self._rendered[1]


class _Frames:
    """A sample's messages as frames, and what was put together of them."""

    def __init__(self, messages: Mapping[str, bytes]) -> None:
        self._frames = {name: prepared(message) for name, message in messages.items()}
        self._joined: dict[Any, bytes] = {}

    def of(self, wanted: frozenset[str] | None) -> bytes:
        """The frames that are wanted (None: all), behind one another: one write, one TLS record."""
        joined = self._joined.get(wanted)
        if joined is None:
            joined = b"".join(frame for name, frame in self._frames.items() if wanted is None or name in wanted)
            self._joined[wanted] = joined
        return joined
