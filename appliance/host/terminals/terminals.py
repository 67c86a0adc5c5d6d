"""The terminals of all users: who may have one, how many, and what ends them."""

from collections.abc import Mapping
from typing import Protocol, cast

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.background import Background
from appliance.host.errors import Conflict, HostError, Unavailable, Unknown
from appliance.host.terminals.login import prepare_login
from appliance.host.terminals.session import Reason, TerminalSession, Viewer
from appliance.identity.accounts import Accounts, AccountsUnavailable
from appliance.identity.nss import Account
from appliance.process.child import TERMINATE_GRACE
from appliance.process.errors import ProcessError
from appliance.process.eventual import Tasks
from appliance.process.reactor import ProcessReactor, within
from appliance.process.terminal import Size
from appliance.threads import Threads

LOOK_INTERVAL = 15.0
"""Seconds between two looks at the accounts of those who have terminals."""


class Witness(Protocol):
    """Writes down what one client does, for the audit log."""

    async def record(self, action: str, object: str, outcome: str, details: Mapping[str, object]) -> None:
        """Return once it is written down."""


class Terminals:
    """
    Opens terminals and owns them to their end. `start` comes first, `stop` ends all.

    At most `per_user` of one user at a time, those included that nobody looks at. A terminal ends when its user's
    account is locked, expires or goes, gets another uid or loses a group: its shell would keep what he has lost.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ProcessReactor,
        threads: Threads,
        accounts: Accounts,
        *,
        per_user: int,
        idle: float,
        reattach: float,
    ) -> None:
        """`idle` and `reattach` as `TerminalSession` takes them."""
        self._reactor = reactor
        self._threads = threads
        self._accounts = accounts
        self._per_user = per_user
        self._idle = idle
        self._reattach = reattach
        self._sessions: dict[str, TerminalSession] = {}
        self._opened_for: dict[str, Account] = {}
        self._count: dict[str, int] = {}
        self._tasks = Tasks()
        self._stopping = False

    def start(self, background: Background) -> None:
        """Begin to look whether accounts change."""
        clock = cast(IReactorTime, self._reactor)
        background.repeat("looking after terminals", clock, self.look, delay=LOOK_INTERVAL, interval=LOOK_INTERVAL)

    async def stop(self) -> None:
        """Refuse new ones, hang up all and return when they are gone (10 s at the most)."""
        self._stopping = True
        for session in list(self._sessions.values()):
            session.hang_up(Reason.SHUTDOWN)
        try:
            await within(self._reactor, 2 * TERMINATE_GRACE, self._tasks.finished())
        except TimeoutError:
            left = [session.pid for session in self._sessions.values()]
            self._log.error("Shells {pids} did not end even when killed", pids=left)

    async def open(
        self, account: Account, shell: str | None, size: Size, viewer: Viewer, witness: Witness
    ) -> TerminalSession:
        """
        Start a shell of the user, his own or `shell`, with `viewer` looking at it.

        Raises what `prepare_login` raises, `Conflict` for one too many, `Unavailable` at the end, `ProcessError`.
        """
        try:
            session = await self._open(account, shell, size)
        except (HostError, ProcessError) as error:
            outcome = "failed" if isinstance(error, ProcessError) else "refused"
            await witness.record("terminal.start", account.name, f"{outcome}: {error}", {"shell": shell})
            raise
        self._tasks.background(self._attend(session, witness), "attending a terminal")
        # Written down before anybody can type.
        await witness.record("terminal.start", _name(session), "success", {"shell": session.login.program})
        session.attach(viewer)
        return session

    async def reattach(
        self, account: Account, id: str, size: Size, viewer: Viewer, witness: Witness, after: int | None = None
    ) -> tuple[TerminalSession, bool]:
        """
        Let `viewer` look at terminal `id` of the same user from here on; see `TerminalSession.attach`.

        Raises `Unknown` for one that is not there, is over, or is another user's.
        """
        session = self._sessions.get(id)
        if (
            session is None
            or session.is_hung_up
            or session.login.name != account.name
            or not self._may_keep(session, account)
        ):
            await witness.record("terminal.reattach", account.name, "refused: no such terminal", {})
            raise Unknown("There is no such terminal (any more)")
        await witness.record("terminal.reattach", _name(session), "success", {})
        complete = session.attach(viewer, after)
        session.resize(size)
        return session, complete

    async def look(self) -> None:
        """Hang up the terminals of those who may not have them any more."""
        for name in {session.login.name for session in self._sessions.values()}:
            await self.look_at(name)

    async def look_at(self, name: str) -> None:
        """The same for one user."""
        try:
            account = await self._accounts.find(name)
        except AccountsUnavailable:
            return  # nothing is known now; the next look comes soon
        for session in [each for each in self._sessions.values() if each.login.name == name]:
            if account is None or not self._may_keep(session, account):
                session.hang_up(Reason.REVOKED)

    async def _open(self, account: Account, shell: str | None, size: Size) -> TerminalSession:
        count = self._count.get(account.name, 0)
        if count >= self._per_user:
            raise Conflict(f"User {account.name} has {count} terminals already; close one")
        self._count[account.name] = count + 1
        try:
            login = await self._threads.run(prepare_login, account, shell)
            if self._stopping:
                raise Unavailable("The server is stopping")
            session = TerminalSession(self._reactor, login, size, self._over, idle=self._idle, reattach=self._reattach)
        except BaseException:
            self._uncount(account.name)
            raise
        self._sessions[session.id] = session
        self._opened_for[session.id] = account
        return session

    def _may_keep(self, session: TerminalSession, account: Account) -> bool:
        then = self._opened_for[session.id]
        return not (account.locked or account.expired) and account.uid == then.uid and account.groups >= then.groups

    async def _attend(self, session: TerminalSession, witness: Witness) -> None:
        ended = await session.ended()
        details = {
            "code": ended.code,
            "signal": ended.signal,
            "reason": ended.reason.name.lower(),
            "seconds": round(ended.seconds, 1),
        }
        await witness.record("terminal.end", _name(session), "success", details)

    def _over(self, session: TerminalSession) -> None:
        del self._sessions[session.id]
        del self._opened_for[session.id]
        self._uncount(session.login.name)

    def _uncount(self, name: str) -> None:
        self._count[name] -= 1
        if not self._count[name]:
            del self._count[name]


def _name(session: TerminalSession) -> str:
    """A terminal's name for the audit log: its id would open it."""
    return f"{session.login.name}, process {session.pid}"
