"""Log-in by a provider as one thing: who is asked, how one logs in, where one goes after logging out."""

from typing import Any
from urllib.parse import urlencode

from appliance.mesh.errors import ProviderUnavailable
from appliance.mesh.oidc.client import ProviderClient
from appliance.mesh.oidc.login import Login
from appliance.mesh.oidc.provider import Provider
from appliance.mesh.people import People
from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault
from appliance.settings_mesh import Oidc as OidcSettings
from appliance.threads import Threads


class Oidc:
    """The provider of `settings`. `reactor` is also the clock."""

    def __init__(
        self, reactor: Any, threads: Threads, people: People, tokens: Tokens, vault: Vault, settings: OidcSettings
    ) -> None:
        self.settings = settings
        self.provider = Provider(reactor, threads, ProviderClient(reactor, threads, settings.ca_file), settings)
        self.login = Login(reactor, self.provider, people, tokens, vault, settings)

    async def end_session_url(self, back: str) -> str | None:
        """Where the browser logs out of the provider (OpenID Connect RP-Initiated Logout 1.0); None where nowhere."""
        try:
            endpoint = (await self.provider.discovery()).end_session_endpoint
        except ProviderUnavailable:
            return None
        if endpoint is None:
            return None
        return f"{endpoint}?{urlencode({'client_id': self.settings.client_id, 'post_logout_redirect_uri': back})}"
