"""Puts the system surface together from the foundations it is given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.errors import DatabaseError
from appliance.database.thread import Database
from appliance.database.trail import Trail
from appliance.host.errors import Unavailable
from appliance.host.figures import CpuMeter, Figures
from appliance.host.hardware import HardwareFacts
from appliance.host.job_status import JobStatuses
from appliance.host.journal.follow.followers import Followers
from appliance.host.journal.journal import Journal
from appliance.host.metrics.filesystems import FileSystems
from appliance.host.metrics.history import INTERVAL, History
from appliance.host.metrics.sampler import Sampler
from appliance.host.network.network import Network
from appliance.host.storage.storage import Storage
from appliance.host.terminals.terminals import Terminals
from appliance.host.users.changes import Users
from appliance.host.users.listing import UserListing
from appliance.http import uploads
from appliance.http.access_log import AccessLog
from appliance.http.connections import ConnectionLimits
from appliance.http.endpoints import Endpoint, bind
from appliance.http.rate_limit import RateLimit
from appliance.http.router import Router
from appliance.http.surface import Surface, UploadPolicy
from appliance.identity.accounts import Accounts
from appliance.identity.api_tokens import ApiTokens
from appliance.identity.passwords import PasswordChecker
from appliance.identity.revocations import Revocations
from appliance.identity.sessions import Sessions
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.reactor_lag import ReactorLag
from appliance.settings import Settings
from appliance.system.authenticator import SURFACE, SystemAuthenticator
from appliance.system.containers import Containers
from appliance.system.endpoints_auth import AuthEndpoints
from appliance.system.endpoints_document import PREFIX, DocumentEndpoints, HealthEndpoints
from appliance.system.endpoints_history import HistoryEndpoints
from appliance.system.endpoints_jobs import JobEndpoints
from appliance.system.endpoints_logs import LogEndpoints
from appliance.system.endpoints_metrics import MetricsEndpoints
from appliance.system.endpoints_network import NetworkEndpoints
from appliance.system.endpoints_storage import StorageEndpoints
from appliance.system.endpoints_system import SystemEndpoints
from appliance.system.endpoints_users import UserEndpoints
from appliance.system.envelope import SystemEnvelope, translate
from appliance.system.exposition.authenticator import ScrapeAuthenticator
from appliance.system.exposition.counted import Counted
from appliance.system.kubernetes import Cluster
from appliance.system.live.door import Door
from appliance.system.live.endpoints import LiveEndpoints, TerminalEndpoints
from appliance.system.live.events import MetricsSource, Source
from appliance.system.live.feed import Feed
from appliance.system.live.logs import LOG_EVENTS, LiveLogEndpoints, LogSource, LogStreams
from appliance.system.live.metric_shapes import event_message, history_entry, metric_messages
from appliance.threads import Threads
from appliance.websocket.on_demand import SocketsOnDemand

TOKEN_USES_INTERVAL = 60.0


@dataclass(frozen=True)
class Foundations:
    """What the system surface stands on. `reactor` is also the clock.

    `user_changed` is told of every user who is not what he was, and whether his tokens must end, for other surfaces.
    """

    reactor: Any
    settings: Settings
    threads: Threads
    runner: ProcessRunner
    jobs: Jobs
    audit_log: AuditLog
    database: Database
    background: Background
    access_log: AccessLog
    limits: ConnectionLimits
    lag: ReactorLag
    passwords: PasswordChecker
    user_changed: Callable[[str, bool], Awaitable[None]]


class System:
    """The system surface, and what has to be started and stopped for it."""

    def __init__(self, foundations: Foundations) -> None:
        reactor, settings = foundations.reactor, foundations.settings
        runner, threads, jobs = foundations.runner, foundations.threads, foundations.jobs
        self._uploads = settings.state / "system" / "uploads"
        self._admin_groups = frozenset(settings.system.admin_groups)
        self._revocations = Revocations(foundations.database, reactor)
        self._sessions = Sessions(reactor, settings.state / "tokens.key", self._revocations, SURFACE)
        self._api_tokens = ApiTokens(reactor, foundations.database)
        self._accounts = Accounts(reactor, threads)
        self._passwords = foundations.passwords
        self._tell_of_user = foundations.user_changed
        self._authenticator = SystemAuthenticator(
            self._sessions, self._revocations, self._api_tokens, self._accounts, self._admin_groups
        )
        self._keep_token_uses = partial(
            foundations.background.repeat,
            "storing when API tokens were used",
            reactor,
            self._api_tokens.write_uses,
            delay=TOKEN_USES_INTERVAL,
            interval=TOKEN_USES_INTERVAL,
        )
        self._statuses = JobStatuses(jobs, settings.state / "jobs", threads)
        self._storage = Storage(reactor, threads, runner, jobs, self._statuses, foundations.background)
        self._network = Network(reactor, threads, jobs, self._statuses, foundations.audit_log)
        self._containers = Containers(
            reactor,
            threads,
            jobs,
            self._statuses,
            foundations.background,
            settings.system.docker_socket,
            settings.system.cri_sockets,
        )
        self._cluster = Cluster(reactor, threads, runner, foundations.background, settings.system.kubeconfig)
        self._cpu = CpuMeter(reactor)
        figures, file_systems = Figures(), FileSystems(reactor, threads)
        self._sampler = Sampler(reactor, foundations.background, figures, file_systems)
        self._history = History(history_entry) if settings.system.metrics_history else None
        self._stop_history: Callable[[], None] | None = None
        self._followers = Followers(reactor, foundations.background, threads, runner, settings.system.journal_directory)
        self._background = foundations.background
        self._trail = Trail(foundations.audit_log, SURFACE)
        self._terminals = Terminals(
            reactor,
            threads,
            self._accounts,
            per_user=settings.system.terminals_per_user,
            idle=settings.system.terminal_idle_timeout,
            reattach=settings.system.terminal_reattach,
        )
        self._door = Door(
            reactor,
            SocketsOnDemand(reactor, foundations.background, threads),
            self._authenticator,
            foundations.background,
            foundations.access_log,
            limit=settings.system.websocket_limit,
            origins=settings.system.allowed_origins,
        )
        self.endpoints = self._endpoints(foundations)
        api = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=Router(PREFIX, self.endpoints),
            envelope=SystemEnvelope(),
            authenticator=self._authenticator,
            audit=self._trail,
            uploads=UploadPolicy(self._uploads, settings.system.upload_limit_mb << 20),
            gate=RateLimit(
                foundations.reactor, settings.system.rate_limit_per_minute, settings.system.is_rate_limit_exempt
            ),
            translate=translate,
        )
        counted = Counted(
            foundations.access_log.counts, foundations.limits, lambda: self._door.open, jobs, foundations.lag
        )
        metrics = Router("", bind(MetricsEndpoints(reactor, figures, file_systems, counted)))
        health = Router("", bind(HealthEndpoints(foundations.reactor)))
        self.surfaces = [
            api,
            replace(api, prefix="/ws", router=Router("/ws", self._live_endpoints(foundations))),
            replace(
                api,
                prefix="/metrics",
                router=metrics,
                authenticator=ScrapeAuthenticator(self._authenticator, threads, settings.server.metrics_token_file),
            ),
            # Not limited: whoever watches over several devices asks often, and must not take a busy one for a dead one.
            replace(api, prefix="/health", router=health, gate=None),
        ]

    def document(self) -> dict[str, object]:
        """The OpenAPI document of this surface."""
        return self._document.document()

    def prepare(self) -> None:
        """Make the folders and the key, sweep what a killed server left. Blocking; raises OSError or `KeyUnusable`."""
        self._sessions.prepare()
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        uploads.sweep(self._uploads)

    async def start(self) -> None:
        """Begin to watch the machine. The database is open, the jobs are adopted."""
        await self._revocations.load()
        await self._api_tokens.load()
        self._keep_token_uses()
        self._cpu.start()
        await self._storage.start()
        self._network.start()
        self._terminals.start(self._background)
        self._door.start()
        if self._history is not None:
            self._stop_history = self._sampler.listen(INTERVAL, self._history.add)

    async def close_sockets(self) -> None:
        """End the WebSockets, and let no new ones in."""
        await self._door.stop()
        await self._containers.stop()
        await self._cluster.stop()

    async def stop(self) -> None:
        """End what `start` began."""
        if self._stop_history is not None:
            self._stop_history()
        await self._terminals.stop()
        await self._passwords.stop()
        self._network.stop()
        await self._storage.stop()
        await self._api_tokens.write_uses()

    async def _user_changed(self, name: str, revoke: bool) -> None:
        self._accounts.forget(name)
        self._background.spawn("looking after terminals", self._terminals.look_at(name))
        try:
            try:
                if revoke:
                    await self._authenticator.end_all(name)
            finally:
                await self._tell_of_user(name, revoke)
        except DatabaseError as error:
            raise Unavailable(
                "what was issued to that user so far ends until this server's next start only: the database is not"
                " available"
            ) from error
        if not revoke:
            return
        self._door.check_user(name)

    def _live_endpoints(self, foundations: Foundations) -> list[Endpoint]:
        reactor = foundations.reactor
        logs = LogStreams(reactor, foundations.background, self._followers)
        sources: dict[str, Source] = {
            "metrics": MetricsSource(Feed(reactor, self._sampler, event_message)),
            LOG_EVENTS: LogSource(logs),
            **self._containers.sources(),
            **self._cluster.sources(),
        }
        groups: list[object] = [
            LiveEndpoints(self._door, Feed(reactor, self._sampler, metric_messages), sources),
            LiveLogEndpoints(self._door, logs),
            TerminalEndpoints(self._door, self._terminals, self._trail),
            *self._containers.live_endpoints(self._door, self._trail),
            *self._cluster.live_endpoints(self._door, self._trail),
        ]
        return [endpoint for group in groups for endpoint in bind(group)]

    def _endpoints(self, foundations: Foundations) -> list[Endpoint]:
        reactor, runner, threads = foundations.reactor, foundations.runner, foundations.threads
        listing = UserListing(reactor, runner, threads)
        users = Users(reactor, runner, threads, listing, admin_groups=self._admin_groups, changed=self._user_changed)
        journal = Journal(reactor, runner, threads, foundations.settings.system.journal_directory)
        groups: list[object] = [
            AuthEndpoints(
                reactor, self._passwords, self._sessions, self._api_tokens, self._accounts, self._authenticator
            ),
            SystemEndpoints(Figures(), self._cpu, HardwareFacts(runner, threads)),
            HistoryEndpoints(reactor, self._history),
            StorageEndpoints(self._storage),
            NetworkEndpoints(self._network),
            JobEndpoints(self._statuses),
            UserEndpoints(listing, users),
            LogEndpoints(reactor, journal),
            *self._containers.endpoints(),
            *self._cluster.endpoints(),
        ]
        found = [endpoint for group in groups for endpoint in bind(group)]
        self._document = DocumentEndpoints(list(found))
        return [*found, *bind(self._document)]
