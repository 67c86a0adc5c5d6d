"""Puts the system surface together from the foundations it is given."""

from dataclasses import dataclass, replace
from typing import Any

from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.thread import Database
from appliance.database.trail import Trail
from appliance.http import uploads
from appliance.http.endpoints import Endpoint, bind
from appliance.http.rate_limit import RateLimit
from appliance.http.router import Router
from appliance.http.surface import Surface, UploadPolicy
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.settings import Settings
from appliance.system.authenticator import SURFACE, SystemAuthenticator
from appliance.system.endpoints_document import PREFIX, DocumentEndpoints, HealthEndpoints
from appliance.system.envelope import SystemEnvelope, translate
from appliance.threads import Threads


@dataclass(frozen=True)
class Foundations:
    """What the system surface stands on. `reactor` is also the clock."""

    reactor: Any
    settings: Settings
    threads: Threads
    runner: ProcessRunner
    jobs: Jobs
    audit_log: AuditLog
    database: Database
    background: Background


class System:
    """The system surface, and what has to be started and stopped for it."""

    def __init__(self, foundations: Foundations) -> None:
        settings = foundations.settings
        self._uploads = settings.state / "system" / "uploads"
        self.endpoints = self._endpoints(foundations)
        api = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=Router(PREFIX, self.endpoints),
            envelope=SystemEnvelope(),
            authenticator=SystemAuthenticator(),
            audit=Trail(foundations.audit_log, SURFACE),
            uploads=UploadPolicy(self._uploads, settings.system.upload_limit_mb << 20),
            gate=RateLimit(
                foundations.reactor, settings.system.rate_limit_per_minute, settings.system.is_rate_limit_exempt
            ),
            translate=translate,
        )
        health = Router("", bind(HealthEndpoints(foundations.reactor)))
        self.surfaces = [
            api,
            replace(api, prefix="/ws", router=Router("/ws", [])),
            replace(api, prefix="/metrics", router=Router("/metrics", [])),
            # Not limited: whoever watches over several devices asks often, and must not take a busy one for a dead one.
            replace(api, prefix="/health", router=health, gate=None),
        ]

    def document(self) -> dict[str, object]:
        """The OpenAPI document of this surface."""
        return self._document.document()

    def prepare(self) -> None:
        """Make the folders and sweep what a killed server left. Blocking; raises OSError."""
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        uploads.sweep(self._uploads)

    async def start(self) -> None:
        """Begin to watch the machine. The database is open, the jobs are adopted."""

    async def stop(self) -> None:
        """End what `start` began."""

    def _endpoints(self, foundations: Foundations) -> list[Endpoint]:
        groups: list[object] = []
        found = [endpoint for group in groups for endpoint in bind(group)]
        self._document = DocumentEndpoints(list(found))
        return [*found, *bind(self._document)]
