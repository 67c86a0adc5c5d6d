"""The mesh surface as the server knows it: it wakes at its first use, or where there are networks to look after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.postgresql import PostgreSQL
from appliance.database.redaction import Redactor
from appliance.database.store import Store
from appliance.database.thread import Database
from appliance.database.trail import Trail
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.surface import Surface
from appliance.identity.caller import Caller
from appliance.mesh.envelope import MeshEnvelope, translate
from appliance.mesh.store.history import HISTORY
from appliance.mesh.vault import Vault
from appliance.process.eventual import Eventual, Tasks
from appliance.settings import Settings
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.mesh.assembly import Assembly

SURFACE = "mesh"
PREFIX = "/api"


@dataclass(frozen=True)
class Foundations:
    """What the mesh surface stands on. `reactor` is also the clock; `database` has the mesh's tables."""

    reactor: Any
    settings: Settings
    audit_log: AuditLog
    database: Database
    threads: Threads
    background: Background
    redactor: Redactor


class Mesh:
    """The mesh surface, and what has to be started and stopped for it. `prepare` comes before all else."""

    def __init__(self, foundations: Foundations) -> None:
        self._foundations = foundations
        self._vault = Vault()
        url = foundations.settings.mesh.database_url
        self._server = None if url is None else PostgreSQL(foundations.reactor, url, HISTORY)
        self._awake: Assembly | None = None
        self._waking: Eventual[Assembly] | None = None
        self._tasks = Tasks()
        self.surface = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=self,
            envelope=MeshEnvelope(),
            authenticator=self,
            audit=Trail(foundations.audit_log, SURFACE),
            translate=translate,
            wake=self._wake,
        )

    @property
    def surfaces(self) -> list[Surface]:
        """The surface, and with `[mesh] debug` the pages that show it."""
        if not self._foundations.settings.mesh.debug:
            return [self.surface]
        from appliance.mesh.reference_pages import reference_pages

        return [self.surface, *reference_pages()]

    def document(self) -> dict[str, object]:
        """The OpenAPI document of this surface. Blocking, where nothing has woken it yet."""
        return (self._awake or self._assemble()).document()

    def prepare(self) -> None:
        """Read the master key, or make it. Blocking; raises `MasterKeyUnusable`, OSError."""
        self._vault.prepare(self._foundations.settings.mesh_master_key_file)

    async def start(self) -> None:
        """Connect to the server of the mesh's tables, where they are on one, and wake where there is something to do.

        Raises a `DatabaseError`.
        """
        if self._server is not None:
            await self._server.open()
        elif not await self._foundations.database.run_on_driver(
            lambda connection: bool(connection.execute("SELECT EXISTS (SELECT 1 FROM mesh_networks)").fetchone()[0])
        ):
            return
        await self._wake()

    async def stop(self) -> None:
        """End what `start` began."""
        if self._server is not None:
            await self._server.close()

    # What the way of a request asks, once `wake` has returned

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Implements `http.surface.Finder`."""
        return self._assembly.router.find(method, path)

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Implements `http.surface.Authenticator`."""
        return await self._assembly.authenticator.identify(call, endpoint)

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """Implements `http.surface.Authenticator`."""
        return await self._assembly.authenticator.identify_form(call, endpoint, fields)

    @property
    def _assembly(self) -> "Assembly":
        if self._awake is None:
            raise RuntimeError("the mesh is not awake")
        return self._awake

    async def _wake(self) -> None:
        """Return when the mesh is at work; only the first one waits. Raises a `DatabaseError`."""
        if self._awake is None:
            if self._waking is None:
                self._waking = Eventual()
                self._tasks.background(self._get_up(self._waking), "waking the mesh")
            await self._waking.wait()

    async def _get_up(self, waking: "Eventual[Assembly]") -> None:
        try:
            assembly = await self._foundations.threads.run(self._assemble)
            await assembly.start()
        except Exception as error:
            self._waking = None  # whoever comes next tries again
            waking.refuse(error)
        else:
            self._awake = assembly
            waking.set(assembly)

    def _assemble(self) -> "Assembly":
        from appliance.mesh.assembly import Assembly
        from appliance.mesh.audit import AuditedStore

        store: Store = self._foundations.database if self._server is None else self._server
        return Assembly(self._foundations, AuditedStore(store, self._foundations.redactor), self._vault)
