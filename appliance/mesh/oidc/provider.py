"""The provider: what it says of itself, its keys, and whether a token is one of its own."""

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.files import read_limited
from appliance.host.shared import Shared
from appliance.mesh.errors import ProviderRefused, ProviderUnavailable
from appliance.mesh.oidc.client import ProviderClient
from appliance.settings_mesh import Oidc
from appliance.threads import Threads

KEPT_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 5.0
"""How soon keys are fetched again for one that is not known: whoever makes up key ids must not flood the provider."""
LEEWAY = 60
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_SECRET_LIMIT = 4096


class Discovery(msgspec.Struct, frozen=True):
    """What we need of the discovery document (OpenID Connect Discovery 1.0 section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Grant(msgspec.Struct, frozen=True):
    """What a code was exchanged for: the id token's claims, which were checked, and the access token."""

    claims: Mapping[str, Any]
    access_token: str | None


class Provider:
    """The provider of `settings`, asked by `client`."""

    def __init__(self, clock: IReactorTime, threads: Threads, client: ProviderClient, settings: Oidc) -> None:
        self._clock = clock
        self._threads = threads
        self._client = client
        self._settings = settings
        self._discovery: Discovery | None = None
        self._discovered_at = 0.0
        self._discovering = Shared(self._discover)
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._keys_at = 0.0
        self._fetching = Shared(self._fetch_keys)

    async def discovery(self) -> Discovery:
        """What the provider says of itself, at most an hour old. Raises `ProviderUnavailable`."""
        known = self._discovery
        if known is not None and 0 <= self._clock.seconds() - self._discovered_at < KEPT_SECONDS:
            return known
        return await self._discovering.result()

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, challenge: str, again: bool = False
    ) -> str:
        """
        Where the browser logs in (RFC 6749 section 4.1.1, RFC 7636 section 4.3); with `again` although it has already.

        Raises `ProviderUnavailable`.
        """
        endpoint = (await self.discovery()).authorization_endpoint
        query = {
            "client_id": self._settings.client_id,
            "response_type": "code",
            "scope": "openid email profile",
            "redirect_uri": redirect_uri,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if again:
            query |= {"prompt": "login", "max_age": "0"}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str, nonce: str) -> Grant:
        """Exchange a code for what it stands for. Raises `ProviderRefused`, `ProviderUnavailable`."""
        found = await self.discovery()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        credentials = None
        if self._settings.client_secret_file is not None:
            raw = await self._threads.run(read_limited, self._settings.client_secret_file, _SECRET_LIMIT)
            secret = raw.decode().strip()
            if "client_secret_basic" in found.token_endpoint_auth_methods_supported:
                credentials = (self._settings.client_id, secret)
            else:
                fields["client_secret"] = secret
        answer = await self._client.post(found.token_endpoint, fields, credentials)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise ProviderRefused("no id token")
        claims = await self.verify(token)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise ProviderRefused("another nonce")
        return Grant(claims, access if isinstance(access, str) else None)

    async def verify(self, token: str, *, is_id_token: bool = True) -> Mapping[str, Any]:
        """
        The claims of a token that the provider has signed for us (OpenID Connect Core section 3.1.3.7).

        An access token need not name us as its audience. Raises `ProviderRefused`, `ProviderUnavailable`.
        """
        found = await self.discovery()
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if header.get("alg") not in ALGORITHMS or key is None:
                raise ProviderRefused("signed with a key or by an algorithm that is not the provider's")
            return jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.client_id if is_id_token else None,
                issuer=found.issuer,
                leeway=LEEWAY,
                options={"require": ["iss", "sub", "exp", "iat"], "verify_aud": is_id_token},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise ProviderRefused(f"not a token of the provider's: {error}") from error

    async def user_information(self, access_token: str) -> Mapping[str, Any]:
        """What the provider says of the user. Empty where it does not tell. Raises `ProviderUnavailable`."""
        endpoint = (await self.discovery()).userinfo_endpoint
        return {} if endpoint is None else await self._client.get(endpoint, access_token)

    async def _key(self, kid: str | None) -> jwt.PyJWK | None:
        age = self._clock.seconds() - self._keys_at
        if not 0 <= age < KEPT_SECONDS or (kid not in self._keys and age >= KEYS_AGAIN_SECONDS):
            await self._fetching.result()
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _discover(self) -> Discovery:
        issuer = (self._settings.issuer or "").rstrip("/")
        content = await self._client.get(f"{issuer}/.well-known/openid-configuration")
        try:
            found = msgspec.convert(content, Discovery)
        except msgspec.ValidationError as error:
            raise ProviderUnavailable(f"the discovery document of {issuer} is not one: {error}") from error
        if found.issuer.rstrip("/") != issuer:
            raise ProviderUnavailable(f"{issuer} calls itself {found.issuer}")
        self._discovery, self._discovered_at = found, self._clock.seconds()
        return found

    async def _fetch_keys(self) -> None:
        content = await self._client.get((await self.discovery()).jwks_uri)
        keys = {}
        for each in content.get("keys", ()):
            try:
                key = jwt.PyJWK(each)
            except (jwt.PyJWKError, jwt.InvalidKeyError, AttributeError):
                continue  # of a kind that we do not know
            if key.public_key_use in (None, "sig"):
                keys[key.key_id] = key
        self._keys, self._keys_at = keys, self._clock.seconds()
