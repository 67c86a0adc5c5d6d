"""Logging in with the password of a user of this machine, and out again; API tokens for programs."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.database.errors import DatabaseError
from appliance.host.errors import Conflict, Invalid, Unknown
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.errors import HttpError, forbidden
from appliance.identity.accounts import Accounts, AccountsUnavailable
from appliance.identity.api_tokens import ApiToken, ApiTokens, TooManyApiTokens, UnknownApiToken
from appliance.identity.caller import Caller, administrator, anyone, reader
from appliance.identity.nss import Account
from appliance.identity.passwords import PasswordChecker, TooManyChecks, Verdict
from appliance.identity.sessions import Granted, Sessions
from appliance.identity.signed_tokens import BadToken
from appliance.secret import Secret
from appliance.system.authenticator import SURFACE, SystemAuthenticator, unauthorized
from appliance.system.models_auth import (
    LoggedInUser,
    Login,
    LoginRequest,
    Message,
    NewToken,
    RefreshRequest,
    TokenInfo,
    TokenRequest,
)

_NAME_SHOWN = 64
_LAST_EXPIRY = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that RFC 3339 can tell."""


class AuthEndpoints:
    """auth/login, refresh, logout, tokens."""

    routes = Routes(prefix="/auth", tag="Authentication")

    def __init__(
        self,
        clock: IReactorTime,
        passwords: PasswordChecker,
        sessions: Sessions,
        api_tokens: ApiTokens,
        accounts: Accounts,
        authenticator: SystemAuthenticator,
    ) -> None:
        self._clock = clock
        self._passwords = passwords
        self._sessions = sessions
        self._api_tokens = api_tokens
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
        began, since = self._clock.seconds(), self._sessions.moment()
        await self._check_password(body.username, Secret(body.password), call.address)
        self._accounts.forget(body.username)
        try:
            account = await self._account(body.username, _wrong)
        except HttpError:
            await self._passwords.pad(began)
            raise
        call.caller = Caller("session", account.name, address=call.address, surface=SURFACE)
        return _login(account, self._sessions.begin(account.name, since))

    @routes.post(
        "/refresh",
        reply=Login,
        who=reader,
        body=JsonBody(RefreshRequest, required=False),
        audit="auth.refresh",
        statuses=(503,),
    )
    async def refresh(self, call: Call, body: RefreshRequest | None) -> Login:
        """New tokens for a log-in that is still valid; a refresh token, where one is given, is used up.

        An API token is refused with 400.
        """
        claims = self._authenticator.claims(call)
        account = await self._account(claims.sub, unauthorized)
        with _database():
            try:
                granted = await self._sessions.renew(claims, body.refresh_token if body is not None else None)
            except BadToken:
                raise unauthorized() from None
        return _login(account, granted)

    @routes.post("/logout", reply=Message, who=reader, audit="auth.logout", statuses=(503,))
    async def logout(self, call: Call) -> Message:
        """End this log-in: none of its tokens counts any more. An API token is refused with 400: delete it instead."""
        claims = self._authenticator.claims(call)
        with _database():
            await self._sessions.end(claims)
        return Message("Logged out")

    @routes.get("/tokens", reply=list[TokenInfo], who=reader)
    async def list_tokens(self, call: Call) -> list[TokenInfo]:
        """API tokens: administrators see all, others their own."""
        return [TokenInfo.of(token) for token in self._api_tokens.all() if _may_see(call, token)]

    @routes.post(
        "/tokens",
        reply=NewToken,
        who=administrator,
        body=JsonBody(TokenRequest),
        audit="auth.token.create",
        statuses=(409, 503),
    )
    async def create_token(self, call: Call, body: TokenRequest) -> NewToken:
        """Make an API token with the rights of the caller, at most 100 for each user. It is shown this once.

        It ends with `expires_at`, when it is deleted, and when its user is deleted, locked, made no administrator any
        more, or given a new password.
        """
        expires_at = self._expiry(body.expires_at)
        username = await self._still_administrator(call)
        with _database():
            try:
                text, token = await self._api_tokens.create(username, body.name, expires_at)
            except TooManyApiTokens as error:
                raise Conflict(str(error)) from None
        call.audit_object = token.id
        call.audit_details = {"name": token.name, "expires_at": body.expires_at}
        return NewToken(text.reveal(), TokenInfo.of(token))

    @routes.get("/tokens/<id>", reply=TokenInfo, who=reader, statuses=(404,))
    async def show_token(self, call: Call, id: str) -> TokenInfo:
        """One API token."""
        return TokenInfo.of(self._find(call, id))

    @routes.delete("/tokens/<id>", reply=Message, who=administrator, audit="auth.token.delete", statuses=(404, 503))
    async def delete_token(self, call: Call, id: str) -> Message:
        """End an API token."""
        token = self._find(call, id)
        call.audit_object = token.id
        call.audit_details = {"name": token.name, "username": token.username}
        with _database():
            try:
                await self._api_tokens.delete(id)
            except UnknownApiToken as error:
                raise Unknown(str(error)) from None
        return Message(f"API token {token.name!r} deleted")

    async def _check_password(self, username: str, password: Secret, address: str) -> None:
        try:
            verdict = await self._passwords.check(username, password, address)
        except TooManyChecks as error:
            raise HttpError(429, str(error).capitalize(), headers={"Retry-After": str(error.retry_after)}) from None
        if verdict is Verdict.UNAVAILABLE:
            off = not self._passwords.enabled
            raise HttpError(
                503, f"Log-in is off. {self._passwords.why_not}" if off else "Passwords cannot be checked now"
            )
        if verdict is not Verdict.ACCEPTED:
            raise _wrong()

    async def _account(self, name: str, refusal: Callable[[], HttpError]) -> Account:
        try:
            account = await self._accounts.find(name)
        except AccountsUnavailable as error:
            raise HttpError(503, str(error).capitalize()) from error
        if account is None or account.locked or account.expired:
            raise refusal()
        return account

    async def _still_administrator(self, call: Call) -> str:
        """The caller's name, judged anew: the body may have been long in coming, and what is made now stays."""
        caller = await self._authenticator.identify(call, call.endpoint)
        if caller is None or not administrator.admits(caller):
            raise forbidden("Permission denied")
        return caller.name

    def _expiry(self, given: datetime | None) -> int | None:
        if given is None:
            return None
        seconds = math.floor(given.timestamp())
        if not self._clock.seconds() < seconds <= _LAST_EXPIRY:
            raise Invalid("expires_at", "must be in the future, and before the year 10000 in UTC")
        return seconds

    def _find(self, call: Call, id: str) -> ApiToken:
        try:
            token = self._api_tokens.find(id)
            if not _may_see(call, token):
                raise UnknownApiToken(id)
        except UnknownApiToken as error:
            raise Unknown(str(error)) from None
        return token


def _wrong() -> HttpError:
    return unauthorized("Invalid username or password")


def _login(account: Account, granted: Granted) -> Login:
    user = LoggedInUser(account.name, str(account.uid), str(account.gid), account.home)
    return Login(granted.token, granted.expires_at, granted.refresh_token, user)


def _may_see(call: Call, token: ApiToken) -> bool:
    caller = cast(Caller, call.caller)
    return administrator.admits(caller) or token.username == caller.name


@contextmanager
def _database() -> Iterator[None]:
    """What the database cannot take now is a 503."""
    try:
        yield
    except DatabaseError as error:
        Logger().error("Log-ins and tokens cannot be stored: {error}", error=error)
        raise HttpError(503, "The database is not available", headers={"Retry-After": "5"}) from error
