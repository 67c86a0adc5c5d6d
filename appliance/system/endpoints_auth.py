"""Logging in with the password of a user of this machine, and out again."""

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.errors import HttpError
from appliance.identity.accounts import Accounts, AccountsUnavailable
from appliance.identity.caller import Caller, anyone, reader
from appliance.identity.passwords import PasswordChecker, TooManyChecks, Verdict
from appliance.identity.sessions import Granted, Sessions
from appliance.identity.signed_tokens import BadToken
from appliance.system.authenticator import SURFACE, SystemAuthenticator, unauthorized
from appliance.system.models_auth import LoggedInUser, Login, LoginRequest, Message, RefreshRequest

_NAME_SHOWN = 64


class AuthEndpoints:
    """auth/login, refresh, logout."""

    routes = Routes(prefix="/auth", tag="Authentication")

    def __init__(
        self, passwords: PasswordChecker, sessions: Sessions, accounts: Accounts, authenticator: SystemAuthenticator
    ) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._accounts = accounts
        self._authenticator = authenticator

    @routes.post(
        "/login",
        reply=Login,
        who=anyone,
        body=JsonBody(LoginRequest),
        audit="auth.login",
        statuses=(401, 503),
        cancellable=True,
    )
    async def login(self, call: Call, body: LoginRequest) -> Login:
        """Log in with a user name and password.

        Every refusal takes the same time. After the fifth failure in a quarter of an hour the address has to wait
        (429, `Retry-After`).
        """
        call.audit_object = body.username[:_NAME_SHOWN]
        try:
            verdict = await self._passwords.check(body.username, body.password, call.address)
        except TooManyChecks as error:
            raise HttpError(429, str(error), headers={"Retry-After": str(error.retry_after)}) from None
        if verdict is Verdict.UNAVAILABLE:
            why = "Log-in is off: see the server's log" if not self._passwords.enabled else "Try again"
            raise HttpError(503, why)
        if verdict is not Verdict.ACCEPTED:
            raise unauthorized("Invalid username or password")
        self._accounts.forget(body.username)
        call.caller = Caller("password", body.username, address=call.address, surface=SURFACE)
        return await self._reply(body.username, self._sessions.begin(body.username))

    @routes.post(
        "/refresh", reply=Login, who=reader, body=JsonBody(RefreshRequest, required=False), audit="auth.refresh"
    )
    async def refresh(self, call: Call, body: RefreshRequest | None) -> Login:
        """New tokens for a log-in that is still valid; a refresh token, where one is given, is used up."""
        claims = self._authenticator.claims(call)
        try:
            granted = await self._sessions.renew(claims, body.refresh_token if body is not None else None)
        except BadToken:
            raise unauthorized() from None
        return await self._reply(claims.sub, granted)

    @routes.post("/logout", reply=Message, who=reader, audit="auth.logout")
    async def logout(self, call: Call) -> Message:
        """End this log-in: none of its tokens counts any more."""
        await self._sessions.end(self._authenticator.claims(call))
        return Message("Logged out")

    async def _reply(self, name: str, granted: Granted) -> Login:
        try:
            account = await self._accounts.find(name)
        except AccountsUnavailable as error:
            raise HttpError(503, str(error)) from error
        if account is None or account.locked or account.expired:
            raise unauthorized("Invalid username or password")
        user = LoggedInUser(account.name, str(account.uid), str(account.gid), account.home)
        return Login(granted.token, granted.expires_at, granted.refresh_token, user)
