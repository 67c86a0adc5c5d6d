"""The executable plugins of this machine: what they offer, and calling them."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from twisted.logger import Logger

from appliance.database.redaction import Redactor
from appliance.process.command import ENVIRONMENT
from appliance.process.descriptors import duplicate_above
from appliance.process.drains import Drains
from appliance.process.eventual import Tasks
from appliance.process.leader import SessionLeader
from appliance.process.reactor import ProcessReactor
from appliance.process.remains import Remains, Row
from appliance.process.spawn import spawn
from appliance.rpc.plugins.budget import Budget
from appliance.rpc.plugins.catalog import Catalog
from appliance.rpc.plugins.complaints import without_secrets
from appliance.rpc.plugins.found import Found
from appliance.rpc.plugins.invocation import Invocation, Ran
from appliance.rpc.plugins.listing import BadListing, Methods, methods_in
from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.plugins.turns import Crowded, Turns
from appliance.rpc.plugins.warm import Cold
from appliance.rpc.plugins.watch import Watch
from appliance.rpc.plugins.zygotes import Zygotes
from appliance.threads import Threads

LISTING_LIMIT = 1 << 20
"""Bytes that a plugin may print as its list of methods."""

OUTPUT_SHARES = 4
"""Outputs of the largest size that may be in memory at once."""

ZYGOTE_PATIENCE = 2.0
"""Seconds that asking for a list waits for a warm interpreter: there are many to ask when the server starts."""

_OURSELVES = "\0"
"""The caller that asks for lists of methods; no name of a caller has a NUL."""


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """
    Where plugins are, and their limits.

    `parallel` runs at once, the others wait; `output_limit` in bytes, `list_timeout` in seconds. With `zygote`, plugins
    in Python but those named in `zygote_exempt` are forked from an interpreter that is kept warm. `redactor` knows the
    names of fields that hold secrets, for what goes to the log.
    """

    directories: tuple[Path, ...]
    parallel: int = 16
    output_limit: int = 64 << 20
    list_timeout: float = 10.0
    zygote: bool = True
    zygote_exempt: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    redactor: Redactor = field(default_factory=Redactor)


class Plugins:
    """
    All plugins. Knows nothing of who may call what: that is decided before.

    Plugins work in `/` with umask 077, as this process does (`process.surroundings`).
    """

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, threads: Threads, options: PluginOptions) -> None:
        self._reactor = reactor
        self._threads = threads
        self._options = options
        self._catalog = Catalog(reactor, threads, options.directories, self._list)
        self._watch = Watch(reactor, options.directories, self._look_again)
        self._turns = Turns(options.parallel)
        self._drains = Drains(reactor)
        self._budget = Budget(OUTPUT_SHARES * options.output_limit)
        self._zygotes = Zygotes(reactor, options.environment)
        self._remains = Remains(reactor, options.parallel)
        self._tasks = Tasks()
        self._invocations: set[Invocation] = set()
        self._nowhere = -1

    async def start(self) -> None:
        """Ask all plugins for their methods, and watch the directories."""
        self._nowhere = _open_nowhere()
        self._remains.start()
        self._watch.start()
        await self._catalog.scan()

    async def stop(self) -> None:
        """End all calls and wait until their processes are gone. What plugins have left in the background lives on."""
        self._watch.stop()
        self._turns.close()
        for invocation in list(self._invocations):
            invocation.stop()
        await self._tasks.finished()
        await self._catalog.finished()
        await self._tasks.finished()  # what the last ones had to say
        await self._zygotes.stop()
        await self._remains.stop()
        self._drains.close()
        if self._nowhere >= 0:
            os.close(self._nowhere)
            self._nowhere = -1

    async def reload(self) -> None:
        """Begin afresh: ask all plugins for their methods, whether they have changed or not."""
        self._zygotes.renew()
        self._watch.start()
        await self._catalog.scan(again=True)

    async def refresh(self) -> None:
        """Bring `objects` up to date this moment; it follows within a second by itself."""
        await self._catalog.scan()

    def objects(self) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
        """Object → method → argument → a value of the argument's type, as the plugins list them."""
        plugins = self._catalog.plugins()
        return {name: plugins[name].methods or {} for name in sorted(plugins) if plugins[name].methods is not None}

    async def call(
        self,
        object: str,
        method: str,
        payload: bytes,
        *,
        timeout: float,
        progress: Callable[[int], None] | None = None,
        caller: str = "",
    ) -> Outcome:
        """
        Call `method` of the plugin `object` with `payload`, the text of one JSON object; return how that ended.

        `timeout` in seconds counts from the process's start, not from its waiting for a turn; turns are shared fairly
        among callers, whatever their names are. `progress` gets percentages. Cancelling ends the call and its whole
        process group. Never raises.
        """
        if self._nowhere < 0:  # not started yet, or stopped
            return Outcome("unavailable")
        plugin = await self._catalog.find(object)
        if plugin is None or plugin.methods is None:
            return Outcome("no_object")
        if method not in plugin.methods:
            return Outcome("no_method")
        return await self._perform(
            plugin.found,
            ("call", method),
            payload,
            timeout=timeout,
            output_limit=self._options.output_limit,
            progress=progress,
            caller=caller,
        )

    async def _list(self, found: Found) -> Methods:
        outcome = await self._perform(
            found, ("list",), b"", timeout=self._options.list_timeout, output_limit=LISTING_LIMIT, caller=_OURSELVES
        )
        if outcome.kind != "exited":
            raise BadListing(f"asked for its list, it ended by {outcome.kind}")
        if outcome.exit_code != 0:
            raise BadListing(f"asked for its list, it ended with exit code {outcome.exit_code}")
        return methods_in(outcome.output)

    async def _perform(
        self,
        found: Found,
        arguments: tuple[str, ...],
        payload: bytes,
        *,
        timeout: float,
        output_limit: int,
        caller: str,
        progress: Callable[[int], None] | None = None,
    ) -> Outcome:
        try:
            await self._turns.take(caller, len(payload))
        except Crowded as error:
            self._log.warn("Plugin {name} is not called: {error}", name=found.name, error=error)
            return Outcome("unavailable")
        invocation = Invocation(
            self._reactor,
            self._drains,
            self._budget,
            nowhere=self._nowhere,
            stdin=payload,
            timeout=timeout,
            output_limit=output_limit,
            progress=progress,
        )
        self._invocations.add(invocation)
        running = self._run(invocation, found, arguments, payload, caller)
        ended = False
        try:
            outcome = await self._tasks.start(running, f"running plugin {found.name}")
            ended = True
        finally:
            if not ended:
                invocation.stop()
        return outcome

    async def _run(
        self, invocation: Invocation, found: Found, arguments: tuple[str, ...], payload: bytes, caller: str
    ) -> Outcome:
        """Run it to its end, whoever still waits for that."""

        try:
            with self._remains.row() as row:
                ran = await invocation.run(partial(self._launch, row, found, arguments))
        finally:
            self._invocations.discard(invocation)
            self._turns.give_back(caller)
        what = " ".join((found.name, *arguments))
        if ran.why:
            self._log.error("Plugin {what}: {why}", what=what, why=ran.why)
        if ran.complaint:
            self._tasks.background(self._tell(what, ran, payload), f"logging what plugin {found.name} complains of")
        return ran.outcome

    async def _launch(
        self, row: Row, found: Found, arguments: tuple[str, ...], descriptors: Mapping[int, int]
    ) -> SessionLeader:
        """Start it as one that ends with us. Raises `ProcessError`."""
        row.expect(descriptors[1])
        leader = await self._begin(found, arguments, descriptors)
        row.started(leader.pid)
        return leader

    async def _begin(self, found: Found, arguments: tuple[str, ...], descriptors: Mapping[int, int]) -> SessionLeader:
        """Start it, forked from a warm interpreter where that can be. Raises `ProcessError`."""
        argv = [found.path, *arguments]
        if found.python is not None and self._options.zygote and found.name not in self._options.zygote_exempt:
            zygote = await self._zygotes.find(found.python, patience=0 if "call" in arguments else ZYGOTE_PATIENCE)
            if zygote is not None:
                with contextlib.suppress(Cold):
                    return await zygote.launch(argv, descriptors)
        return spawn(self._reactor, argv, env=self._options.environment, descriptors=descriptors)

    async def _tell(self, what: str, ran: Ran, payload: bytes) -> None:
        text = await self._threads.run(without_secrets, ran.complaint, payload, self._options.redactor, cut=ran.cut)
        if text:
            self._log.info("Plugin {what} says on standard error: {text}", what=what, text=text)

    def _look_again(self) -> None:
        self._watch.start()
        self._tasks.background(self._catalog.scan(), "looking for plugins")


def _open_nowhere() -> int:
    lowest = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return duplicate_above(lowest, 8)
    finally:
        os.close(lowest)
