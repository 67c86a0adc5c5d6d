"""Log-in by the provider: there with a state that only this browser has, and back with a code."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.mesh.errors import ProviderRefused
from appliance.mesh.oidc.provider import Grant, Provider
from appliance.mesh.people import People, UserRow
from appliance.mesh.reauthentication import Challenged
from appliance.mesh.tokens import BadToken, LoginClaims, Tokens
from appliance.mesh.vault import Vault
from appliance.settings_mesh import Oidc

REAUTH_AGE = 300
"""Seconds since the log-in that a re-authentication may be answered with."""


class Departure(msgspec.Struct, frozen=True):
    """Where the browser goes, and the cookie that it comes back with."""

    url: str
    cookie: str


class Login:
    """Log-ins by `provider`."""

    def __init__(
        self, clock: IReactorTime, provider: Provider, people: People, tokens: Tokens, vault: Vault, settings: Oidc
    ) -> None:
        self._clock = clock
        self._provider = provider
        self._people = people
        self._tokens = tokens
        self._vault = vault
        self._roles_path = (
            settings.roles_claim.split(".")
            if settings.roles_claim is not None
            else ["resource_access", settings.client_id, "roles"]
        )
        self._admin_role = settings.admin_role

    async def depart(self, redirect_uri: str) -> Departure:
        """Begin a log-in. Raises `ProviderUnavailable`."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = await self._provider.authorization_url(
            redirect_uri=redirect_uri, state=state, nonce=nonce, challenge=_challenge(verifier)
        )
        return Departure(url, self._tokens.of_login(state, nonce, verifier))

    async def arrive(self, code: str, state: str, cookie: str, redirect_uri: str) -> UserRow:
        """End a log-in: the user whom the provider vouches for. Raises `ProviderRefused`, `ProviderUnavailable`."""
        try:
            begun = self._tokens.check(cookie, LoginClaims)
        except BadToken:
            raise ProviderRefused("the log-in was not begun in this browser, or too long ago") from None
        if not hmac.compare_digest(begun.state.encode(), state.encode()):
            raise ProviderRefused("another state")
        grant = await self._provider.exchange(
            code, redirect_uri=redirect_uri, verifier=begun.verifier, nonce=begun.nonce
        )
        return await self._welcome(grant)

    async def depart_again(self, challenge: str, redirect_uri: str) -> str:
        """Where the browser logs in once more; `challenge` is the state. Raises `ProviderUnavailable`."""
        return await self._provider.authorization_url(
            redirect_uri=redirect_uri,
            state=challenge,
            nonce=self._vault.hash("reauthentication nonce", challenge),
            challenge=_challenge(self._vault.hash("reauthentication verifier", challenge)),
            again=True,
        )

    async def arrive_again(self, code: str, challenged: Challenged, challenge: str, redirect_uri: str) -> None:
        """Check that the user of a challenge has just logged in. Raises `ProviderRefused`, `ProviderUnavailable`."""
        grant = await self._provider.exchange(
            code,
            redirect_uri=redirect_uri,
            verifier=self._vault.hash("reauthentication verifier", challenge),
            nonce=self._vault.hash("reauthentication nonce", challenge),
        )
        if grant.claims.get("sub") != challenged.sub:
            raise ProviderRefused("another user has logged in")
        moment = grant.claims.get("auth_time")
        if not isinstance(moment, int | float) or not abs(self._clock.seconds() - moment) <= REAUTH_AGE:
            raise ProviderRefused("the log-in was too long ago")

    async def _welcome(self, grant: Grant) -> UserRow:
        claims = grant.claims
        roles = self._roles(claims)
        email, name = _email(claims), _text(claims, "name")
        if grant.access_token is not None:
            if not roles and grant.access_token.count(".") == 2:
                roles = self._roles(await self._of_access_token(grant.access_token))
            if email is None:
                told = await self._provider.user_information(grant.access_token)
                if told.get("sub") == claims["sub"]:  # OpenID Connect Core section 5.3.2
                    email, name = _email(told), _text(told, "name") or name
                    roles = roles or self._roles(told)
        return await self._people.log_in(claims["sub"], email, name, claims_admin=self._admin_role in roles)

    async def _of_access_token(self, token: str) -> Mapping[str, Any]:
        try:
            return await self._provider.verify(token, is_id_token=False)
        except ProviderRefused:
            return {}  # it is not for us to read

    def _roles(self, claims: Mapping[str, Any]) -> list[Any]:
        found: Any = claims
        for step in self._roles_path:
            found = found.get(step) if isinstance(found, Mapping) else None
        return found if isinstance(found, list) else []


def _email(claims: Mapping[str, Any]) -> str | None:
    """The address, unless the provider says that it may be somebody else's."""
    return None if claims.get("email_verified") is False else _text(claims, "email")


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value[:254] if isinstance(value, str) and value else None


def _challenge(verifier: str) -> str:
    """S256 of RFC 7636 section 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
