"""auth/…: who the caller is, how he logs in and out, and that he shows once more who he is."""

from typing import Literal

import msgspec

from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.errors import HttpError, not_found
from appliance.http.replies import Reply
from appliance.identity.caller import anyone
from appliance.mesh.authenticator import MeshAuthenticator, bearer
from appliance.mesh.callers import actor_of, user
from appliance.mesh.development import Development
from appliance.mesh.envelope import NO_STORE
from appliance.mesh.errors import ProviderRefused, ProviderUnavailable
from appliance.mesh.frontend import Frontend
from appliance.mesh.limits import Limits
from appliance.mesh.oidc.oidc import Oidc
from appliance.mesh.people import DEVELOPER, SYSTEM_ADMIN, People
from appliance.mesh.reauthentication import Reauthentication
from appliance.mesh.tokens import LOGIN_SECONDS, USER_SECONDS, BadToken, Tokens, UserClaims

COOKIE = "__Host-appliance-login"
_COOKIE_RULES = "Path=/; Secure; HttpOnly; SameSite=Lax"
_CALLBACK = "/api/auth/callback"
_REAUTH_CALLBACK = "/api/auth/reauth/callback"


class OidcStatus(msgspec.Struct):
    """Whether users can log in by a provider."""

    status: Literal["ok", "disabled"]


class DevToken(msgspec.Struct):
    """A token without a log-in; `expires_in` in seconds."""

    token: str
    expires_in: int = USER_SECONDS


class Challenge(msgspec.Struct):
    """A challenge, and where the browser goes with it."""

    challenge: str
    reauth_url: str


class AuthEndpoints:
    """Log-in, and what depends on it."""

    routes = Routes(prefix="/auth", tag="Authentication")

    def __init__(
        self,
        authenticator: MeshAuthenticator,
        people: People,
        tokens: Tokens,
        development: Development,
        reauthentication: Reauthentication,
        frontend: Frontend,
        limits: Limits,
        oidc: Oidc | None,
    ) -> None:
        self._authenticator = authenticator
        self._people = people
        self._tokens = tokens
        self._development = development
        self._reauthentication = reauthentication
        self._frontend = frontend
        self._limits = limits
        self._oidc = oidc

    async def _limit_log_ins(self, call: Call) -> None:
        self._limits.login.of_address(call)

    @routes.get(
        "/dev-token",
        reply=DevToken,
        who=anyone,
        statuses=(404,),
        audit="mesh.auth.dev-token",
        guard=_limit_log_ins,
    )
    async def dev_token(self, call: Call) -> DevToken:
        """A system admin's token without a log-in, on the machine itself where there is no OIDC; else 404."""
        if not self._development.allows(call):
            raise not_found()
        return DevToken(await self._make_dev_token(call))

    @routes.get("/me", reply=dict[str, object], who=anyone)
    async def me(self, call: Call) -> dict[str, object]:
        """Who the caller is; `authenticated` is false without a good token."""
        token = bearer(call)
        caller = None if token is None else await self._authenticator.user(token, call.address)
        if caller is None:
            return {"authenticated": False}
        role = "system-admin" if caller.actor.system_admin else "user"
        return {
            "authenticated": True,
            "sub": caller.actor.identifier,
            "email": caller.actor.email,
            "role": role,
            "system_role": role,
        }

    @routes.get("/oidc-status", reply=OidcStatus, who=anyone)
    async def oidc_status(self, call: Call) -> OidcStatus:
        """Whether users can log in by the provider: 503 while it cannot be reached."""
        if self._oidc is None:
            return OidcStatus("disabled")
        await self._oidc.provider.discovery()
        return OidcStatus("ok")

    @routes.get(
        "/login", reply=bytes, who=anyone, produces="text/plain", status=302, statuses=(501,), guard=_limit_log_ins
    )
    async def login(self, call: Call) -> Reply:
        """Send the browser to log in. Without OIDC a browser on the machine itself is logged in at once."""
        if self._oidc is not None:
            departure = await self._oidc.login.depart(self._redirect_uri(call, _CALLBACK))
            return redirect(
                302, departure.url, f"{COOKIE}={departure.cookie}; {_COOKIE_RULES}; Max-Age={LOGIN_SECONDS}"
            )
        if "text/html" not in (call.header("Accept") or "") or not self._development.allows(call):
            raise HttpError(501, "OIDC is not configured")
        return redirect(302, self._frontend.page(call, "/auth/callback", {"token": await self._make_dev_token(call)}))

    async def _limit_callbacks(self, call: Call) -> None:
        self._limits.callback.of_address(call)

    @routes.get("/callback", reply=bytes, who=anyone, produces="text/plain", status=307, guard=_limit_callbacks)
    async def callback(self, call: Call) -> Reply:
        """Come back from the provider: the browser goes on to the interface, with a token or an error."""
        forget = f"{COOKIE}=; {_COOKIE_RULES}; Max-Age=0"
        try:
            if self._oidc is None:
                raise ProviderRefused("OIDC is not configured")
            if call.argument("error") is not None:
                raise ProviderRefused((call.argument("error") or "")[:200])
            found = await self._oidc.login.arrive(
                call.argument("code") or "",
                call.argument("state") or "",
                cookie(call, COOKIE) or "",
                self._redirect_uri(call, _CALLBACK),
            )
        except (ProviderRefused, ProviderUnavailable) as error:
            await self._people.note_login(call.address, None, str(error))
            return redirect(307, self._frontend.page(call, "/login", {"error": "auth_failed"}), forget)
        await self._people.note_login(call.address, found, None)
        token = self._tokens.of_user(found.sub, email=found.email, name=found.name, system_role=found.system_role)
        return redirect(307, self._frontend.page(call, "/auth/callback", {"token": token}), forget)

    @routes.get("/logout", reply=bytes, who=anyone, produces="text/plain", status=307)
    async def logout(self, call: Call) -> Reply:
        """Let the token in the header count no more, and send the browser back to the interface."""
        token = bearer(call)
        if token is not None:
            try:
                claims = self._tokens.check(token, UserClaims)
            except BadToken:
                pass  # it counts for nothing as it is
            else:
                await self._people.log_out(claims, call.address)
        front = self._frontend.page(call, "/")
        return redirect(307, front if self._oidc is None else await self._oidc.end_session_url(front) or front)

    async def _limit_challenges(self, call: Call) -> None:
        self._limits.reauth_challenge.of_address(call)

    @routes.post(
        "/reauth/challenge", reply=Challenge, who=user, audit="mesh.auth.reauth-challenge", guard=_limit_challenges
    )
    async def reauth_challenge(self, call: Call) -> Challenge:
        """Begin to show once more who one is: for what cannot be undone."""
        challenge = await self._reauthentication.challenge(actor_of(call))
        if self._oidc is not None:
            back = self._redirect_uri(call, _REAUTH_CALLBACK)
            return Challenge(challenge, await self._oidc.login.depart_again(challenge, back))
        page = self._frontend.page(call, "/auth/reauth/complete", {"challenge": challenge})
        return Challenge(challenge, page)

    async def _limit_reauth_callbacks(self, call: Call) -> None:
        self._limits.reauth_callback.of_address(call)

    @routes.get(
        "/reauth/callback", reply=bytes, who=anyone, produces="text/plain", status=307, guard=_limit_reauth_callbacks
    )
    async def reauth_callback(self, call: Call) -> Reply:
        """Come back from it: the browser goes on to the interface, with a token that opens one thing."""
        challenge = call.argument("state") or call.argument("challenge") or ""
        try:
            found = await self._reauthentication.whose(challenge)
            if found is None:
                raise ProviderRefused("no challenge that is open")
            if self._oidc is not None:
                back = self._redirect_uri(call, _REAUTH_CALLBACK)
                await self._oidc.login.arrive_again(call.argument("code") or "", found, challenge, back)
            elif not self._development.allows(call) or found.sub != DEVELOPER:
                raise ProviderRefused("OIDC is not configured")
        except (ProviderRefused, ProviderUnavailable):
            return redirect(307, self._frontend.page(call, "/reauth/complete", {"error": "reauth_failed"}))
        token = await self._reauthentication.answer(found, challenge)
        return redirect(307, self._frontend.page(call, "/reauth/complete", {"token": token}))

    def _redirect_uri(self, call: Call, path: str) -> str:
        """Where the provider sends the browser back to: always the same for one log-in."""
        uri = self._oidc.settings.redirect_uri if self._oidc is not None else None
        if uri is None:
            return f"https://{call.header('Host') or ''}{path}"
        return uri if path == _CALLBACK else f"{uri.partition('/api/')[0]}{path}"

    async def _make_dev_token(self, call: Call) -> str:
        row = await self._people.log_in_for_development(call.address)
        return self._tokens.of_user(row.sub, email=row.email, name=row.name, system_role=SYSTEM_ADMIN)


def redirect(status: int, location: str, cookie: str | None = None) -> Reply:
    """Send the browser elsewhere; what the address holds is for it alone."""
    headers = {**NO_STORE, "Location": location, "Referrer-Policy": "no-referrer"}
    if cookie is not None:
        headers["Set-Cookie"] = cookie
    return Reply(status, b"", "text/plain; charset=utf-8", headers)


def cookie(call: Call, name: str) -> str | None:
    """The value of a cookie (RFC 6265 section 4.2.1)."""
    for pair in (call.header("Cookie") or "").split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            return value
    return None
