"""Who asks on the system surface: a user of this machine who has logged in, by the token in the header."""

from collections.abc import Mapping

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError
from appliance.identity.accounts import Accounts, AccountsUnavailable, administrator
from appliance.identity.caller import Caller
from appliance.identity.sessions import Sessions
from appliance.identity.signed_tokens import BadToken, Claims

SURFACE = "system"
_READER = frozenset({"reader"})
_ADMINISTRATOR = frozenset({"reader", "administrator"})


class SystemAuthenticator:
    """Implements "Authentication and permission" of the system contract."""

    def __init__(self, sessions: Sessions, accounts: Accounts, admin_groups: frozenset[str]) -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._admin_groups = admin_groups

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header, and it alone: a token in the query counts for nothing."""
        if endpoint is not None and endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        claims = self.claims(call)
        try:
            account = await self._accounts.find(claims.sub)
        except AccountsUnavailable as error:
            raise HttpError(503, str(error)) from error
        if account is None:
            # Whoever gets the name next must not inherit this.
            await self._sessions.end_all(claims.sub)
            raise unauthorized()
        if account.locked or account.expired:
            raise unauthorized()
        roles = _ADMINISTRATOR if administrator(account, self._admin_groups) else _READER
        return Caller("session", claims.sub, roles, address=call.address, surface=SURFACE)

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise unauthorized()

    def claims(self, call: Call) -> Claims:
        """What the request's token says. Raises a 401."""
        values = call.headers.getRawHeaders(b"Authorization")
        if values is None or len(values) != 1:
            raise unauthorized()
        scheme, _, token = values[0].decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        try:
            return self._sessions.check(token.strip())
        except BadToken:
            raise unauthorized() from None


def unauthorized(message: str = "Missing or invalid token") -> HttpError:
    """A 401, with the same words for every cause."""
    return HttpError(401, message, headers={"WWW-Authenticate": "Bearer"})
