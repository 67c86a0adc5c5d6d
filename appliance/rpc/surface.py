"""Puts the rpc surface together from the foundations it is given."""

from dataclasses import dataclass, replace
from typing import Any

from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.redaction import Redactor
from appliance.database.thread import Database
from appliance.database.trail import Trail
from appliance.host.hardware import HardwareFacts
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, RawBody, bind
from appliance.http.rate_limit import TokenBucket
from appliance.http.router import Router
from appliance.http.surface import Surface, UploadPolicy
from appliance.identity.accounts import Accounts
from appliance.identity.helper_owner import HelperOwner
from appliance.identity.passwords import PasswordChecker
from appliance.process.run import ProcessRunner
from appliance.rpc.access import AccessControl
from appliance.rpc.acl_files import watch_acls
from appliance.rpc.answers import Answers
from appliance.rpc.authenticator import SURFACE, RpcAuthenticator, RpcCaller, live
from appliance.rpc.builtin.objects import Builtins
from appliance.rpc.builtin.session import SessionObject
from appliance.rpc.builtin.system import SystemObject
from appliance.rpc.builtin.uci import UciObject
from appliance.rpc.call_jobs import CallJobs
from appliance.rpc.calls import Calls
from appliance.rpc.directories import acl_directories, plugin_directories
from appliance.rpc.endpoints_document import PREFIX, DocumentEndpoints, Listing
from appliance.rpc.endpoints_files import FileEndpoints
from appliance.rpc.endpoints_login import LoginEndpoints
from appliance.rpc.endpoints_two_factor import TwoFactorEndpoints
from appliance.rpc.endpoints_ubus import UbusEndpoints
from appliance.rpc.envelope import RpcEnvelope, translate
from appliance.rpc.identities import Identities
from appliance.rpc.passwords import Passwords
from appliance.rpc.pauses import LoginPauses
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.rpc.second_factors import SecondFactors
from appliance.rpc.sessions import Sessions
from appliance.rpc.shared_files import SharedFiles
from appliance.rpc.tokens import Tokens
from appliance.rpc.users_file import watch_users
from appliance.settings import Settings
from appliance.threads import Threads

PATHS = ("login", "logout", "refresh", "ubus", "sudo", "2fa", "files")
PRUNE_DELAY = 600.0
PRUNE_INTERVAL = 3600.0


@dataclass(frozen=True)
class Foundations:
    """What the rpc surface stands on. `reactor` is also the clock."""

    reactor: Any
    settings: Settings
    threads: Threads
    runner: ProcessRunner
    audit_log: AuditLog
    database: Database
    background: Background
    helper: HelperOwner
    redactor: Redactor


class Rpc:
    """The rpc surface, and what has to be started and stopped for it."""

    def __init__(self, foundations: Foundations) -> None:
        reactor, settings, threads = foundations.reactor, foundations.settings, foundations.threads
        own, database = settings.rpc, foundations.database
        self._foundations = foundations
        self._plugins = Plugins(reactor, threads, _plugin_options(settings, foundations.redactor))
        self._trail = Trail(foundations.audit_log, SURFACE)
        self._tokens = Tokens(reactor, settings.state / "tokens.key")
        self._sessions = Sessions(reactor, database, self._tokens)
        self._factors = SecondFactors(reactor, database, settings.state / "master.key")
        users = watch_users(reactor, threads, settings.rpc_users_file)
        self._identities = Identities(users, Accounts(reactor, threads), own.admin_groups)
        pauses = LoginPauses(reactor)
        host = PasswordChecker(reactor, foundations.helper, pauses)
        self._passwords = Passwords(reactor, threads, self._identities, host, pauses)
        self._access = AccessControl(watch_acls(reactor, threads, acl_directories(settings)))
        self._files = SharedFiles(settings.rpc_downloads, settings.rpc_uploads)
        self._jobs = CallJobs(reactor, database, threads, settings.state / "rpc" / "jobs")
        self._answers = Answers(threads, settings.state / "rpc" / "answers")
        hardware = HardwareFacts(foundations.runner, threads)
        builtins = Builtins(
            {
                "system": SystemObject(threads, hardware),
                "session": SessionObject(self._sessions),
                "uci": UciObject(foundations.runner),
            }
        )
        self._calls = Calls(threads, builtins, self._plugins, own)
        self._authenticator = RpcAuthenticator(self._tokens, self._sessions, self._identities)
        self.endpoints = self._endpoints()
        api = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=Router(PREFIX, self.endpoints),
            envelope=RpcEnvelope(),
            authenticator=self._authenticator,
            audit=self._trail,
            uploads=UploadPolicy(settings.rpc_uploads, own.upload_limit_mb << 20),
            gate=TokenBucket(
                reactor,
                own.rate_limit_per_second,
                own.rate_limit_burst,
                own.is_rate_limit_exempt,
                "too many requests",
            ),
            translate=translate,
        )
        self.surfaces = [replace(api, prefix=f"{PREFIX}/{path}") for path in PATHS]

    def document(self) -> dict[str, Any]:
        """The OpenAPI document of this surface."""
        return self._document.document()

    def prepare(self) -> None:
        """Make folders and keys, sweep what a killed server left. Blocking; raises OSError or `KeyUnusable`."""
        self._tokens.prepare()
        self._factors.prepare()
        self._files.prepare()
        self._jobs.prepare()
        self._answers.prepare()

    async def start(self) -> None:
        """Find out which sessions live, and begin to forget what is over. The database is open."""
        await self._plugins.start()
        await self._sessions.load()
        await self._jobs.load()
        self._foundations.background.repeat(
            "pruning of the rpc surface",
            self._foundations.reactor,
            self._prune,
            delay=PRUNE_DELAY,
            interval=PRUNE_INTERVAL,
        )

    async def stop(self) -> None:
        """End calls and checks."""
        await self._jobs.stop()
        await self._ubus.stop()
        await self._plugins.stop()
        await self._passwords.stop()

    async def reload(self) -> None:
        """Ask the plugins for their methods again."""
        await self._plugins.reload()

    async def user_changed(self, name: str, revoke: bool) -> None:
        """A user of the host is not what he was; with `revoke` his sessions end."""
        self._identities.forget(name)
        if revoke:
            await self._sessions.end_all(name)

    async def _prune(self) -> None:
        await self._sessions.prune()
        await self._jobs.prune()
        await self._foundations.threads.run(self._files.prune)

    def _endpoints(self) -> list[Endpoint]:
        reactor, settings, threads = self._foundations.reactor, self._foundations.settings, self._foundations.threads
        self._ubus = UbusEndpoints(self._calls, self._access, self._sessions, self._jobs, self._answers, self._trail)
        groups: list[object] = [
            LoginEndpoints(
                reactor,
                self._identities,
                self._passwords,
                self._factors,
                self._sessions,
                sudo_otp=settings.rpc.sudo_otp,
            ),
            TwoFactorEndpoints(threads, self._tokens, self._sessions, self._identities, self._factors),
            self._ubus,
            FileEndpoints(threads, self._files),
        ]
        limit = settings.rpc.payload_limit_mb << 20
        found = [_limited(endpoint, limit) for group in groups for endpoint in bind(group)]
        self._document = DocumentEndpoints(found, self._answers, self._listing)
        return [*found, *bind(self._document)]

    async def _listing(self, call: Call) -> Listing | None:
        """What whoever sent `call` may call; None where he has sent no token."""
        if call.header("Authorization") is None or call.endpoint is None:
            return None
        caller = await self._authenticator.identify(call, replace(call.endpoint, who=live))
        if not isinstance(caller, RpcCaller):
            return None
        return await self._calls.listing(await self._access.asker(caller.identity))


def _plugin_options(settings: Settings, redactor: Redactor) -> PluginOptions:
    return PluginOptions(
        directories=plugin_directories(settings),
        parallel=settings.rpc.parallel,
        output_limit=settings.rpc.output_limit_mb << 20,
        zygote=settings.rpc.zygote,
        zygote_exempt=settings.rpc.zygote_exempt,
        redactor=redactor,
    )


def _limited(endpoint: Endpoint, limit: int) -> Endpoint:
    """Give the body of a call the limit of the settings."""
    if endpoint.name == "call_method" and isinstance(endpoint.body, RawBody):
        return replace(endpoint, body=replace(endpoint.body, limit=limit))
    return endpoint
