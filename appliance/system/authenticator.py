"""Who asks on the system surface: a user of this machine, by the token of a log-in or an API token in the header."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.logger import Logger

from appliance.database.errors import DatabaseError
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError
from appliance.identity.accounts import Accounts, AccountsUnavailable, administrator
from appliance.identity.api_tokens import PREFIX, ApiTokens
from appliance.identity.caller import Caller
from appliance.identity.nss import Account
from appliance.identity.revocations import Revocations
from appliance.identity.sessions import Sessions
from appliance.identity.signed_tokens import BadToken, Claims

SURFACE = "system"
_READER = frozenset({"reader"})
_ADMINISTRATOR = frozenset({"reader", "administrator"})


@dataclass(frozen=True, slots=True)
class Recognised:
    """Who has shown a token, the account as it is now, and when the token ends (seconds; None = never)."""

    caller: Caller
    account: Account
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class _Proof:
    kind: str
    username: str
    expires_at: int | None


class SystemAuthenticator:
    """Implements "Authentication and permission" of the system contract."""

    _log = Logger()

    def __init__(
        self,
        sessions: Sessions,
        revocations: Revocations,
        api_tokens: ApiTokens,
        accounts: Accounts,
        admin_groups: frozenset[str],
    ) -> None:
        self._sessions = sessions
        self._revocations = revocations
        self._api_tokens = api_tokens
        self._accounts = accounts
        self._admin_groups = admin_groups

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header, and it alone: a token in the query counts for nothing."""
        if endpoint is not None and endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        return (await self.recognise(bearer(call), call.address)).caller

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise unauthorized()

    async def recognise(self, token: str, address: str) -> Recognised:
        """Whose `token` this is, of a log-in or for a program. Raises a 401, or a 503 where that cannot be known."""
        proof = self._prove(token)
        try:
            account = await self._accounts.find(proof.username)
        except AccountsUnavailable as error:
            raise HttpError(503, str(error)) from error
        if account is None:
            if await self._accounts.absence_is_certain():
                await self._end_all_of_nobody(proof.username)
            raise unauthorized()
        if account.locked or account.expired:
            raise unauthorized()
        self._prove(token)  # it may have been revoked while the account was looked up
        if proof.kind == "token":
            self._api_tokens.note_use(token)
        roles = _ADMINISTRATOR if administrator(account, self._admin_groups) else _READER
        caller = Caller(proof.kind, proof.username, roles, address=address, surface=SURFACE)
        return Recognised(caller, account, proof.expires_at)

    def is_good(self, token: str) -> bool:
        """Whether `token` still counts, whatever has become of its user: it has neither expired nor been revoked."""
        try:
            self._prove(token)
        except HttpError:
            return False
        return True

    def on_revocation(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever tokens have been revoked: whoever holds a connection asks `is_good` then."""
        self._revocations.listen(listener)
        self._api_tokens.listen(listener)

    async def end_all(self, name: str) -> None:
        """End everything that was issued to user `name` so far. Raises what `Database.run` raises."""
        # In this order: whoever makes an API token shows a live token first, so that its row is there to be deleted.
        try:
            await self._sessions.end_all(name)
        finally:
            await self._api_tokens.delete_of(name)

    def claims(self, call: Call) -> Claims:
        """What the request's token says, which is one of a log-in. Raises a 401, and a 400 for an API token."""
        token = bearer(call)
        if token.startswith(PREFIX):
            raise HttpError(400, "An API token is of no session: delete it where it is not needed any more")
        try:
            return self._sessions.check(token)
        except BadToken:
            raise unauthorized() from None

    def _prove(self, token: str) -> _Proof:
        try:
            if token.startswith(PREFIX):
                found = self._api_tokens.check(token)
                return _Proof("token", found.username, found.expires_at)
            claims = self._sessions.check(token)
            return _Proof("session", claims.sub, claims.exp)
        except BadToken:
            raise unauthorized() from None

    async def _end_all_of_nobody(self, name: str) -> None:
        """Whoever gets the name next must not inherit anything."""
        try:
            await self.end_all(name)
        except DatabaseError as error:
            self._log.error(
                "What was issued to {name}, who is gone, ends until the next start only: {error}",
                name=name,
                error=error,
            )


def bearer(call: Call) -> str:
    """The token in the one Authorization header. Raises a 401."""
    values = call.headers.getRawHeaders(b"Authorization")
    if values is None or len(values) != 1:
        raise unauthorized()
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized()
    return token.strip(" ")


def unauthorized(message: str = "Missing or invalid token") -> HttpError:
    """A 401, with the same words for every cause."""
    return HttpError(401, message, headers={"WWW-Authenticate": "Bearer"})
