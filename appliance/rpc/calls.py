"""The calls themselves: what exists, who may, for how long; plugins and our own objects alike."""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Protocol

from appliance.rpc.builtin.object import Asker
from appliance.rpc.builtin.objects import Builtins
from appliance.rpc.payloads import Malformed, Requested, decode, mismatch
from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.results import Result, judge
from appliance.settings_rpc import Rpc
from appliance.threads import Threads

IN_THREAD = 256 * 1024
"""Bytes from which on JSON is looked at in a thread."""

Progress = Callable[[int], None]
Signatures = Mapping[str, Mapping[str, Mapping[str, object]]]


class PluginRunner(Protocol):
    """What runs plugins; see `plugins.plugins.Plugins`."""

    def objects(self) -> Signatures:
        """Object → method → arguments, typed by example; at most a second old."""

    async def refresh(self) -> None:
        """Bring `objects` up to date."""

    async def call(
        self,
        object: str,
        method: str,
        payload: bytes,
        *,
        timeout: float,
        progress: Progress | None = None,
        caller: str = "",
    ) -> Outcome:
        """Run a method; cancelling ends the call. Turns are shared fairly among callers of different names."""


class NotGranted(Exception):
    """No group of the ACLs grants this call."""


class SudoMissing(Exception):
    """The call takes sudo mode."""


class Calls:
    """All that can be called."""

    def __init__(self, threads: Threads, builtins: Builtins, plugins: PluginRunner, settings: Rpc) -> None:
        self._threads = threads
        self._builtins = builtins
        self._plugins = plugins
        self._settings = settings
        self._sudo = MethodPatterns(settings.sudo_methods)
        self._detached = MethodPatterns(settings.detached_methods)
        self._unaudited = MethodPatterns(settings.unaudited_methods)

    async def decode(self, body: bytes) -> Requested:
        """Take the body of a call apart. Raises `Malformed`."""
        if len(body) < IN_THREAD:
            return decode(body)
        return await self._threads.run(decode, body)

    def permit(self, requested: Requested, asker: Asker, *, in_sudo: bool) -> None:
        """Raises `NotGranted`, then `SudoMissing`. Says nothing of whether there is such a method."""
        if not asker.grants.allows(requested.object, requested.method):
            raise NotGranted
        if not in_sudo and self._sudo.match(requested):
            raise SudoMissing

    async def run(self, requested: Requested, asker: Asker, progress: Progress | None = None) -> Result:
        """Call, and return what the client gets. Raises `Malformed` where the types of arguments are enforced."""
        await self._check_types(requested)
        object, method, payload = requested
        if self._builtins.has(object):
            outcome = await self._builtins.call(object, method, payload, asker)
        else:
            limit = self._settings.time_limit(object, method)
            outcome = await self._plugins.call(
                object, method, payload, timeout=limit, progress=progress, caller=asker.username
            )
        if len(outcome.output) < IN_THREAD:
            return judge(outcome)
        return await self._threads.run(judge, outcome)

    async def listing(self, asker: Asker) -> dict[str, dict[str, Mapping[str, object]]]:
        """What the asker may call: object → method → arguments, typed by example."""
        await self._plugins.refresh()
        found: dict[str, dict[str, Mapping[str, object]]] = {}
        for owner, methods in sorted(self.signatures().items()):
            granted = {name: each for name, each in sorted(methods.items()) if asker.grants.allows(owner, name)}
            if granted:
                found[owner] = granted
        return found

    def signatures(self) -> Signatures:
        """All that there is."""
        return {**self._plugins.objects(), **self._builtins.objects()}

    def is_detached(self, requested: Requested) -> bool:
        """Whether the call goes on when its client goes away."""
        return self._detached.match(requested)

    def is_audited(self, requested: Requested) -> bool:
        """Whether a good call is worth an entry in the audit log."""
        return not self._unaudited.match(requested)

    async def _check_types(self, requested: Requested) -> None:
        if not any(fnmatchcase(requested.object, pattern) for pattern in self._settings.checked_objects):
            return
        if requested.object not in self.signatures():
            await self._plugins.refresh()
        signature = self.signatures().get(requested.object, {}).get(requested.method, {})
        if len(requested.payload) < IN_THREAD:
            why = mismatch(requested.payload, signature)
        else:
            why = await self._threads.run(mismatch, requested.payload, signature)
        if why is not None:
            raise Malformed(why)


class MethodPatterns:
    """Patterns `OBJECT METHOD`, each half one of fnmatch(3)."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [tuple(pattern.split(" ")) for pattern in patterns]

    def match(self, requested: Requested) -> bool:
        """Whether one of them matches."""
        return any(
            fnmatchcase(requested.object, object) and fnmatchcase(requested.method, method)
            for object, method in self._patterns
        )
