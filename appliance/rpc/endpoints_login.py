"""Logging in and out, renewing a token, and sudo mode."""

from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from appliance.http.call import Call
from appliance.http.endpoints import RawBody, Routes
from appliance.identity.caller import Caller, anyone
from appliance.identity.passwords import TooManyChecks
from appliance.identity.signed_tokens import BadToken
from appliance.rpc.authenticator import SURFACE, any_token, caller_of, live
from appliance.rpc.bodies import decode_body
from appliance.rpc.envelope import Success
from appliance.rpc.errors import RpcError, no_permission, too_many, unauthorized, unavailable, validation_failed
from appliance.rpc.identities import Identities
from appliance.rpc.login_form import Missing, decode
from appliance.rpc.models import LoginReply, LoginRequest, LogoutReply, NoFields, SudoRequest, TokenData
from appliance.rpc.passwords import Passwords, Unchecked
from appliance.rpc.second_factors import NoSecondFactor, SecondFactors, TooManyCodes, WrongCode
from appliance.rpc.sessions import Granted, NotLive, Sessions
from appliance.secret import Secret

SMALL_LIMIT = 32 * 1024
LOGOUT_LIMIT = 1024
INCORRECT = "incorrect Username or Password"
MISSING = "missing Username or Password"

_NAME_SHOWN = 64


class LoginEndpoints:
    """login, logout, refresh, sudo."""

    routes = Routes(tag="Authentication")

    def __init__(
        self,
        clock: IReactorTime,
        identities: Identities,
        passwords: Passwords,
        factors: SecondFactors,
        sessions: Sessions,
        *,
        sudo_otp: bool,
    ) -> None:
        self._clock = clock
        self._identities = identities
        self._passwords = passwords
        self._factors = factors
        self._sessions = sessions
        self._sudo_otp = sudo_otp

    @routes.post(
        "/login",
        reply=LoginReply,
        who=anyone,
        body=RawBody(LoginRequest, SMALL_LIMIT, ("application/json", "application/x-www-form-urlencoded")),
        audit="login",
        statuses=(401, 503),
        cancellable=True,
    )
    async def login(self, call: Call, body: bytes) -> LoginReply:
        """Log in with a user name and password.

        Every refusal takes the same time. After five failures in a row of a user and address both have to wait (429,
        `Retry-After`). With the second factor on, the token counts once `2fa/otp-verify` has taken a code.
        """
        try:
            given = decode(call.header("Content-Type") or "", body)
        except Missing:
            raise unauthorized(MISSING) from None
        call.audit_object = given.username[:_NAME_SHOWN]
        since = self._clock.seconds()
        await self._check_password(given.username, given.password, call.address, unauthorized(INCORRECT))
        self._identities.forget(given.username)
        identity = await self._identities.find(given.username)
        if identity is None:
            await self._passwords.pad(since)
            raise unauthorized(INCORRECT)
        call.caller = Caller("session", identity.name, address=call.address, surface=SURFACE)
        pending = await self._factors.is_on(identity.name)
        try:
            return _reply(await self._sessions.begin(identity, call.address, since=since, pending=pending))
        except NotLive:
            raise unauthorized(INCORRECT) from None

    @routes.post(
        "/logout",
        reply=LogoutReply,
        who=any_token,
        body=RawBody(NoFields, LOGOUT_LIMIT, required=False),
        audit="logout",
        statuses=(503,),
    )
    async def logout(self, call: Call, body: bytes) -> LogoutReply:
        """End this token, and no other."""
        await self._sessions.end(caller_of(call).claims)
        return LogoutReply(200)

    @routes.get("/refresh", reply=LoginReply, who=live, audit="refresh", statuses=(503,), cancellable=False)
    async def refresh(self, call: Call) -> LoginReply:
        """A new token in the place of this one, up to seven days after the log-in."""
        try:
            return _reply(await self._sessions.renew(caller_of(call).claims))
        except NotLive:
            raise no_permission() from None
        except BadToken as error:
            raise unauthorized(str(error)) from None

    @routes.post(
        "/sudo",
        reply=TokenData,
        who=live,
        body=RawBody(SudoRequest, SMALL_LIMIT),
        audit="sudo",
        statuses=(503,),
        cancellable=True,
    )
    async def sudo(self, call: Call, body: bytes) -> Success:
        """A token in sudo mode, for the password given once more; the old one stays as it is.

        `otp` is checked where it is given.
        """
        given = decode_body(body, SudoRequest)
        caller = caller_of(call)
        await self._check_password(
            caller.name, given.password, call.address, validation_failed("invalid_password", "password")
        )
        await self._check_code(caller.name, given.otp)
        try:
            granted = await self._sessions.raise_to_sudo(caller.claims)
        except NotLive:
            raise no_permission() from None
        return Success(TokenData(granted.token), "sudo_enabled", code=0)

    async def _check_password(self, username: str, password: str, address: str, refusal: RpcError) -> None:
        try:
            if not await self._passwords.check(username, Secret(password), address):
                raise refusal
        except TooManyChecks as error:
            raise too_many(str(error), error.retry_after) from None
        except Unchecked as error:
            raise unavailable(str(error)) from None

    async def _check_code(self, username: str, otp: str) -> None:
        if not otp and not (self._sudo_otp and await self._factors.is_on(username)):
            return
        try:
            await self._factors.verify(username, otp)
        except TooManyCodes as error:
            raise too_many(str(error), error.retry_after) from None
        except (NoSecondFactor, WrongCode):
            raise validation_failed("invalid_otp", "otp") from None


def _reply(granted: Granted) -> LoginReply:
    expire = datetime.fromtimestamp(granted.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return LoginReply(200, expire, granted.token)
