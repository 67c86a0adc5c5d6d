"""Programs in containers whose client does not wait for them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.background import Background
from appliance.host.containers.model import ExecOptions
from appliance.identity.caller import Caller
from appliance.system.live.messages import Incoming
from appliance.system.live.program import ProgramChannel


class Execution:
    """A program."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Place:
    """A container in which a program begins when the test says so."""

    name, action = "box", "container.exec"

    def __init__(self) -> None:
        self.beginning: Deferred[Execution] = Deferred()

    async def execute(self, options: ExecOptions) -> tuple[Any, Mapping[str, str]]:
        return await self.beginning, {"runtime": "docker"}


class Trail:
    """The audit log."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, str, Mapping[str, object]]] = []

    async def note(self, caller: Caller, action: str, outcome: str, *, object: str, details: Any) -> None:
        self.noted.append((action, outcome, object, details))


class Peer:
    """The client."""

    caller = Caller("token", "someone", frozenset(["administrator"]))


class ProgramTests(SynchronousTestCase):
    def test_a_program_whose_client_left_while_it_began_is_closed_and_audited(self) -> None:
        place, trail, peer, execution = Place(), Trail(), Peer(), Execution()
        untyped: Any = (peer, place, Background(), trail)
        channel = ProgramChannel(*untyped)
        message = Incoming(msgspec.json.encode({"type": "subscribe", "payload": {"command": ["rm", "-rf", "/data"]}}))
        subscribing = Deferred.fromCoroutine(channel.subscribe(message))
        channel.closed()
        self.assertEqual(trail.noted, [])
        place.beginning.callback(execution)
        self.successResultOf(subscribing)
        self.assertTrue(execution.closed)
        details = {"program": "rm", "runtime": "docker"}
        self.assertEqual(trail.noted, [("container.exec.start", "success", "box", details)])
