"""Who asks on the rpc surface: the user of a token in the Authorization header, and how far that token goes."""

from collections.abc import Mapping
from typing import cast

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.identity.caller import Caller, Permission
from appliance.identity.signed_tokens import BadToken
from appliance.rpc.errors import no_permission, sudo_required, unauthorized
from appliance.rpc.identities import Identities, Identity
from appliance.rpc.sessions import Sessions
from appliance.rpc.tokens import Claims, Tokens

SURFACE = "rpc"

any_token = Permission("any valid token", "token")
live = Permission("live token", "live")
sudo = Permission("token in sudo mode", "sudo")


class RpcCaller(Caller, frozen=True, kw_only=True):
    """A caller with what the token says, and who its user is now."""

    claims: Claims
    identity: Identity


class RpcAuthenticator:
    """Judges tokens: signed and not expired, then live, then good for the endpoint."""

    def __init__(self, tokens: Tokens, sessions: Sessions, identities: Identities) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._identities = identities

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header, and it alone. Raises a 401, a 403, or what `Identities.find` raises."""
        if endpoint is not None and endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        claims = self.read(_bearer(call))
        identity = await self._identities.find(claims.id)
        session = self._sessions.find(claims)  # looked up last: it may have ended meanwhile
        if session is None or identity is None or identity.credential != session.credential:
            raise no_permission()
        roles = {"token"}
        if not session.pending:
            roles.add("live")
            if self._sessions.in_sudo(claims):
                roles.add("sudo")
        caller = RpcCaller(
            "session",
            identity.name,
            frozenset(roles),
            address=call.address,
            surface=SURFACE,
            claims=claims,
            identity=identity,
        )
        if endpoint is not None and not endpoint.who.admits(caller):
            raise no_permission() if session.pending else sudo_required()
        return caller

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise unauthorized("auth header is empty")

    def read(self, token: str) -> Claims:
        """What a token says that is ours and has not expired. Raises a 401 with the reason."""
        try:
            return self._tokens.read(token)
        except BadToken as error:
            raise unauthorized(str(error) or "token is malformed") from None


def caller_of(call: Call) -> RpcCaller:
    """The caller of an endpoint that takes a token."""
    return cast(RpcCaller, call.caller)


def _bearer(call: Call) -> str:
    values = call.headers.getRawHeaders(b"Authorization")
    if not values or values == [b""]:
        raise unauthorized("auth header is empty")
    scheme, blank, token = values[0].decode("latin-1").partition(" ")
    if len(values) != 1 or scheme != "Bearer" or not blank:
        raise unauthorized("auth header is invalid")
    return token
