"""
Which plugins there are now.

Each question looks at the file itself (two stat(2) calls, microseconds), so that a plugin that was put there, changed
or removed a moment ago is known as it is now. `scan` does the same for all at once, for whoever wants the whole list.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from appliance.process.eventual import Eventual, Tasks
from appliance.process.reactor import ProcessReactor
from appliance.rpc.plugins.found import Found, Mark, Unfit, examine, is_name, mark_of, names_in
from appliance.rpc.plugins.listing import BadListing, Methods
from appliance.threads import Threads

RETRY = 10.0
"""Seconds after which a plugin that did not list its methods is asked again, where nothing else has changed."""

Ask = Callable[[Found], Awaitable[Methods]]
"""Gets the methods of a plugin; raises `BadListing`."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin, and its methods: None where it did not list them, at `failed_at`. Then it is no object, as in rpcd."""

    found: Found
    methods: Methods | None
    failed_at: float = 0.0


class Catalog:
    """The plugins in `directories`; where two have the same name, the first one counts."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, threads: Threads, directories: Sequence[Path], ask: Ask) -> None:
        self._reactor = reactor
        self._threads = threads
        self._directories = [str(directory) for directory in directories]
        self._ask = ask
        self._tasks = Tasks()
        self._plugins: dict[str, Plugin] = {}
        self._unfit: dict[str, Mark] = {}
        self._outdated: set[str] = set()
        self._renewing: dict[str, Eventual[Plugin | None]] = {}

    def plugins(self) -> Mapping[str, Plugin]:
        """What was known at the last look, by name."""
        return self._plugins

    async def find(self, name: str) -> Plugin | None:
        """The plugin `name` as it is now; None where there is none, or it does not list its methods."""
        if not is_name(name):
            return None
        plugin = self._plugins.get(name)
        if plugin is None or not self._is_current(plugin):
            plugin = await self._renewed(name)
        return plugin if plugin is not None and plugin.methods is not None else None

    async def scan(self, *, again: bool = False) -> None:
        """Look for all plugins, in parallel; with `again` also those that have not changed are asked."""
        if again:
            self._outdated.update(self._plugins)
            self._unfit.clear()
        names = set(self._plugins)
        for directory in self._directories:
            try:
                names.update(await self._threads.run(names_in, directory))
            except OSError as error:
                self._log.error("Plugins in {directory} cannot be listed: {error}", directory=directory, error=error)
        current = {name for name, plugin in self._plugins.items() if self._is_current(plugin)}
        found = [self._tasks.start(self._renewed(name), f"looking at plugin {name}") for name in names - current]
        await DeferredList(found, consumeErrors=True)

    def finished(self) -> Deferred[None]:
        """Fires when no plugin is looked at any more."""
        return self._tasks.finished()

    def _is_current(self, plugin: Plugin) -> bool:
        found = plugin.found
        if not found.settled or found.name in self._outdated or self._look(found.name) != (found.path, found.mark):
            return False
        return plugin.methods is not None or self._reactor.seconds() - plugin.failed_at < RETRY

    def _look(self, name: str) -> tuple[str, Mark] | None:
        """Path and mark of the first file of that name which is not known to be unfit."""
        for directory in self._directories:
            path = f"{directory}/{name}"
            try:
                mark = mark_of(directory, name)
            except OSError:
                continue
            if self._unfit.get(path) != mark:
                return path, mark
        return None

    async def _renewed(self, name: str) -> Plugin | None:
        """Look at one name anew; who asks meanwhile gets the same result."""
        renewing = self._renewing.get(name)
        if renewing is None:
            renewing = self._renewing[name] = Eventual()
            self._tasks.background(self._renew(name), f"looking at plugin {name}")
        return await renewing.wait()

    async def _renew(self, name: str) -> None:
        plugin: Plugin | None = None
        try:
            self._outdated.discard(name)
            plugin = await self._examined(name)
        finally:
            if plugin is None:
                self._plugins.pop(name, None)
            else:
                self._plugins[name] = plugin
            self._renewing.pop(name).set(plugin)

    async def _examined(self, name: str) -> Plugin | None:
        while (seen := self._look(name)) is not None:
            path, mark = seen
            try:
                found = await self._threads.run(examine, path.rpartition("/")[0], name)
            except Unfit as error:
                self._unfit[path] = mark
                if error.dangerous:
                    self._log.error("Plugin {path} is refused: {why}", path=path, why=str(error))
            except OSError as error:
                self._unfit[path] = mark
                self._log.error("Plugin {path} cannot be read: {error}", path=path, error=error)
            else:
                return await self._listed(found)
        return None

    async def _listed(self, found: Found) -> Plugin:
        try:
            return Plugin(found, await self._ask(found))
        except BadListing as error:
            known = self._plugins.get(found.name)
            if known is not None and known.methods is not None and known.found.mark == found.mark:
                self._log.warn("Plugin {path} is offered as before: {why}", path=found.path, why=str(error))
                return Plugin(found, known.methods)
            self._log.error("Plugin {path} is not offered: {why}", path=found.path, why=str(error))
            return Plugin(found, None, self._reactor.seconds())
