"""A cluster that answers what it is told to, for what a real one does only when it is hurried."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from appliance.host.kubernetes.client import Answer


class Here:
    """In place of threads: at once, where it is asked for."""

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return function(*args, **kwargs)


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    options: dict[str, Any]


@dataclass
class ScriptedCluster:
    """Gives `answers` one after the other: an exception is raised, a Deferred waited for, all else is JSON.

    A pair is a status and JSON.
    """

    answers: Sequence[Any]
    asked: list[Asked] = field(default_factory=list)

    async def call(self, method: str, path: str, query: Any = None, **options: Any) -> Answer:
        """The next answer."""
        self.asked.append(Asked(method, path, dict(query or {}), options))
        found = self.answers[len(self.asked) - 1]
        if isinstance(found, Deferred):
            found = await found
        if isinstance(found, Exception):
            raise found
        status, content = found if isinstance(found, tuple) else (200, found)
        return Answer(status, msgspec.json.encode(content))

    async def default_namespace(self) -> str:
        """That of the context."""
        return "here"
