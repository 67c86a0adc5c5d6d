"""The composition root: builds foundations, surfaces and listeners, and starts and stops them in order.

The only module that knows everybody.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance import data
from appliance.address import Address
from appliance.admin.optional import features
from appliance.admin.surface import Admin, Foundations
from appliance.announcement import goes_to_journal, to_console
from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.nonces import Nonces
from appliance.database.redaction import SECRET_NAMES, Redactor
from appliance.database.thread import Database
from appliance.http import docs, web_root
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.connections import ConnectionLimits
from appliance.http.dispatch import Dispatcher
from appliance.http.errors import HttpError
from appliance.http.receivers import Receivers
from appliance.http.redirect import RedirectFactory
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces
from appliance.http.tls import CertificateStore
from appliance.identity.helper_owner import HelperOwner
from appliance.identity.login_backoff import LoginBackoff
from appliance.identity.passwords import PasswordChecker
from appliance.memory import give_large_blocks_back, give_unused_back
from appliance.mesh.store.history import HISTORY as MESH_HISTORY
from appliance.mesh.surface import Foundations as MeshFoundations
from appliance.mesh.surface import Mesh
from appliance.notify import Notifier, Watchdog
from appliance.process.descriptors import trust_close_on_exec
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.process.surroundings import settle
from appliance.reactor_lag import ReactorLag
from appliance.rpc.surface import Foundations as RpcFoundations
from appliance.rpc.surface import Rpc
from appliance.secret import Secret
from appliance.settings import Settings
from appliance.system.surface import Foundations as SystemFoundations
from appliance.system.surface import System
from appliance.threads import Threads

BACKLOG = 1024
CERTIFICATE_WATCH = 5.0
GIVE_BACK_INTERVAL = 60.0
PRUNE_DELAY = 3600.0
PRUNE_INTERVAL = 86400.0


class Appliance(Service):
    """The running server.

    It starts in the background: database and certificate side by side, then what jobs an earlier process left, then
    the admin directory, and the listeners last, so that nobody is answered before the truth is known.
    """

    _log = Logger()

    def __init__(self, reactor: Any, settings: Settings) -> None:
        """Raises `SettingsError` for what only shows when files named in the settings are read."""
        self._reactor = reactor
        self._settings = settings
        server = settings.server
        self._threads = Threads(reactor)
        self._background = Background()
        self._database = Database(reactor, settings.state / "appliance.db", others=(MESH_HISTORY,))
        self._runner = ProcessRunner(reactor)
        self._jobs = Jobs(reactor, settings.state / "jobs", self._runner)
        self._redactor = Redactor((*SECRET_NAMES, *settings.audit.secret_names))
        self._audit_log = AuditLog(self._database, reactor, self._redactor)
        self._helper = HelperOwner(reactor, self._runner)
        self._certificates = CertificateStore(reactor, settings.state / "tls" / "server.pem")
        self._mesh = Mesh(
            MeshFoundations(
                reactor=reactor,
                settings=settings,
                audit_log=self._audit_log,
                database=self._database,
                threads=self._threads,
                background=self._background,
                redactor=self._redactor,
            )
        )
        write = sys.stdout.buffer.write if server.access_log else _discard
        self._access_log = AccessLog(reactor, write)
        self._limits = ConnectionLimits(
            reactor,
            total=server.max_connections,
            per_address=server.max_connections_per_address,
            handshake_timeout=server.header_timeout,
            exempt=server.is_trusted_proxy,
        )
        self._lag = ReactorLag(reactor)
        self._admin = Admin(
            Foundations(
                reactor=reactor,
                settings=settings,
                threads=self._threads,
                runner=self._runner,
                jobs=self._jobs,
                audit_log=self._audit_log,
                nonces=Nonces(self._database, reactor),
                certificates=self._certificates,
                background=self._background,
            ),
            features(settings),
        )
        self._rpc = Rpc(
            RpcFoundations(
                reactor=reactor,
                settings=settings,
                threads=self._threads,
                runner=self._runner,
                audit_log=self._audit_log,
                database=self._database,
                background=self._background,
                helper=self._helper,
                redactor=self._redactor,
            )
        )
        self._system = System(
            SystemFoundations(
                reactor=reactor,
                settings=settings,
                threads=self._threads,
                runner=self._runner,
                jobs=self._jobs,
                audit_log=self._audit_log,
                database=self._database,
                background=self._background,
                access_log=self._access_log,
                limits=self._limits,
                lag=self._lag,
                passwords=PasswordChecker(reactor, self._helper, LoginBackoff(reactor)),
                user_changed=self._rpc.user_changed,
            )
        )
        surfaces = Surfaces(
            [
                self._admin.surface,
                *self._system.surfaces,
                *self._rpc.surfaces,
                *self._mesh.surfaces,
                self._web_root(),
            ]
        )
        self._site = Site(
            reactor,
            Dispatcher(surfaces, Receivers(self._threads)),
            self._threads,
            self._access_log,
            TrustedProxies(server.is_trusted_proxy),
            Limits(server.header_timeout, server.idle_timeout, server.body_rate_floor),
            self._bare_error,
        )
        self._ports: list[Any] = []
        self._notifier = Notifier.from_environment()
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to start."""
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Refuse new connections, let requests in flight end, close everything in the order it depends on."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notifier.stopping()
        steps: list[Callable[[], Awaitable[object]]] = [
            self._break_off_start,
            self._stop_listening,
            self._system.close_sockets,
            lambda: self._site.drain(self._settings.server.drain_timeout),
            self._background.stop,
            self._helper.stop,
            self._rpc.stop,
            self._system.stop,
            self._mesh.stop,
            self._certificates.stop,
            self._jobs.close,
            self._runner.stop,
            self._database.close,
        ]
        for step in steps:
            try:
                await step()
            except Exception:  # what comes after it is to be closed all the same
                self._log.failure("A step of the shutdown failed")
        self._lag.stop()
        self._access_log.stop()
        _flush()

    async def _break_off_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await self._starting

    async def _stop_listening(self) -> None:
        for port in self._ports:
            await maybeDeferred(port.stopListening)

    def _web_root(self) -> Surface:
        """Pages and files beside the APIs: a vendor's dashboard, a built interface, or our own page."""
        dashboard = self._settings.admin.dashboard_directory
        if dashboard is not None:
            return web_root.dashboard(
                self._reactor, self._threads, dashboard, self._documentation, page_headers=self._admin.page_headers
            )
        return web_root.web_root(
            self._reactor,
            self._threads,
            self._settings.server.web_root or data.path("web"),
            self._documentation,
            csp=self._settings.server.web_csp,
            page_headers=self._admin.page_headers,
        )

    def _documentation(self) -> bytes:
        """The page /docs, over all surfaces."""
        return docs.render(
            "API",
            [self._admin.document(), self._system.document(), self._rpc.document(), self._mesh.document()],
            base_url=f"https://{_shown(self._ports[0].getHost())}",
        )

    def _begin(self) -> None:
        if self.running:
            self._starting = Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    async def _start(self) -> None:
        settings = self._settings
        settle()  # not earlier: twistd opens its own files relative to where it was started
        await self._threads.run(_make_state, settings)
        side_by_side: list[Coroutine[Any, Any, object]] = [
            self._database.open(),
            self._threads.run(self._certificates.start_now),
            self._threads.run(self._admin.prepare),
            self._threads.run(self._prepare_surfaces),
            self._threads.run(self._mesh.prepare),
        ]
        await gatherResults([Deferred.fromCoroutine(step) for step in side_by_side], consumeErrors=True)
        await self._jobs.adopt()
        self._helper.start()
        await self._system.start()
        await self._rpc.start()
        await self._mesh.start()
        first_token = await self._threads.run(self._admin.start_first_run)
        await self._listen()
        self._certificates.watch(CERTIFICATE_WATCH)
        self._access_log.start()
        self._lag.start()
        signal.signal(signal.SIGHUP, self._hang_up)
        gc.collect()
        gc.freeze()
        self._announce(first_token)
        self._notifier.ready("serving")
        self._background.repeat(
            "giving memory back",
            self._reactor,
            lambda: self._threads.run(give_unused_back),
            delay=GIVE_BACK_INTERVAL,
            interval=GIVE_BACK_INTERVAL,
        )
        self._background.repeat(
            "pruning of the audit log",
            self._reactor,
            partial(self._audit_log.prune, settings.audit.keep_days),
            delay=PRUNE_DELAY,
            interval=PRUNE_INTERVAL,
        )

    def _prepare_surfaces(self) -> None:
        """One after the other, for they share the key of the tokens: only the first may make it. Blocking."""
        self._system.prepare()
        self._rpc.prepare()

    async def _listen(self) -> None:
        server = self._settings.server
        await self._open(server.https, self._certificates.wrap(self._site))
        if server.http is not None:
            await self._open(server.http, RedirectFactory(self._reactor, self._ports[0].getHost().port))

    async def _open(self, address: Address, factory: IProtocolFactory) -> None:
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        endpoint = kind(self._reactor, address.port, backlog=BACKLOG, interface=address.host)
        self._ports.append(await endpoint.listen(self._limits.wrap(factory)))

    def _announce(self, first_token: Secret | None) -> None:
        if self._settings.admin.apply is False:
            self._log.info("[admin] apply is off: changes to the system are staged in the admin directory only")
        self._log.info("Serving https://{name}/", name=_shown(self._ports[0].getHost()))
        self._log.info(
            "Certificate fingerprint (SHA-256): {fingerprint}", fingerprint=self._certificates.pair.fingerprint
        )
        if first_token is not None:
            self._announce_token(first_token)

    def _announce_token(self, token: Secret) -> None:
        """The journal is read by more people than may have the token, over our own API too."""
        if not goes_to_journal():
            self._log.info("First-run token: {token}", token=token.reveal())
            return
        told = to_console(f"First-run token: {token.reveal()}")
        where = "on the console and " if told else ""
        self._log.info("The first-run token is {where}in {path}", where=where, path=self._admin.setup_token_path)

    def _hang_up(self, number: int, frame: object) -> None:
        """SIGHUP: read the certificate again, and ask the plugins for their methods."""
        self._reactor.callFromThread(self._background.spawn, "certificate reload", self._certificates.reload())
        self._reactor.callFromThread(self._background.spawn, "plugin reload", self._rpc.reload())

    def _bare_error(self, error: HttpError) -> bytes:
        return self._admin.surface.envelope.error(error, None).body

    def _failed(self, failure: Failure) -> None:
        if not self.running:
            return  # stopped before it had started
        cause = _root_cause(failure)
        self._log.failure("Cannot start: {reason}", cause, reason=cause.getErrorMessage())
        self._reactor.addSystemEventTrigger("after", "shutdown", _exit_with_failure)
        self._reactor.stop()


def build(reactor: Any, settings: Settings) -> IService:
    """Return the whole service tree, not started yet. Raises `SettingsError`."""
    trust_close_on_exec()
    give_large_blocks_back()
    services = MultiService()
    Watchdog(reactor, Notifier.from_environment()).setServiceParent(services)
    Appliance(reactor, settings).setServiceParent(services)
    return services


def _shown(host: Any) -> str:
    """A listening address as a person types it; where all are listened to, the machine's name."""
    name = host.host if host.host not in ("0.0.0.0", "::") else socket.gethostname()  # noqa: S104 - compared
    return f"[{name}]:{host.port}" if ":" in name else f"{name}:{host.port}"


def _make_state(settings: Settings) -> None:
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)


def _discard(data: bytes) -> int:
    return len(data)


def _flush() -> None:
    sys.stdout.flush()


def _exit_with_failure() -> None:
    _flush()
    os._exit(1)  # twistd ends with 0 whatever happened, and a service manager must see that it failed


def _root_cause(failure: Failure) -> Failure:
    return failure.value.subFailure if isinstance(failure.value, FirstError) else failure
