"""The settings of the mesh surface."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.address import Network
from appliance.secret import Secret
from appliance.settings_section import Section, key

_Url = Annotated[str, msgspec.Meta(pattern=r"\Ahttps?://[^\s]+\Z", max_length=1024)]


class Oidc(Section, frozen=True, kw_only=True):
    """The OpenID provider that users log in with."""

    issuer: Annotated[_Url | None, key("The provider's issuer URL; without one there is no log-in by OIDC.")] = None
    client_id: Annotated[str, key("Our name with the provider.")] = "appliance"
    client_secret_file: Annotated[
        Path | None, key("File with our secret with the provider; none for a public client.")
    ] = None
    redirect_uri: Annotated[
        _Url | None,
        key("Where the provider sends users back to.", default="https://HOST:PORT/api/auth/callback as they came"),
    ] = None
    admin_role: Annotated[str, key("The role of the provider's that makes a system admin.")] = "system-admin"
    roles_claim: Annotated[
        str | None,
        key("Where the token names roles, with dots between the steps.", default="resource_access.CLIENT_ID.roles"),
    ] = None
    ca_file: Annotated[
        Path | None, key("CA that the provider's certificate is checked with.", default="the system's")
    ] = None


class Smtp(Section, frozen=True, kw_only=True):
    """The mail server that invitations go out by."""

    host: Annotated[str | None, key("Name of the mail server; without one no mail is sent.")] = None
    port: Annotated[int, key("Its port.", ge=1, le=65535)] = 587
    starttls: Annotated[bool, key("Ask for TLS, and send nothing without it.")] = True
    username: Annotated[str | None, key("User to log in as; none: no log-in.")] = None
    password_file: Annotated[Path | None, key("File with the user's password.")] = None
    sender: Annotated[str, key("Address that mails come from.")] = "appliance@localhost"
    ca_file: Annotated[
        Path | None, key("CA that the server's certificate is checked with.", default="the system's")
    ] = None


class Mesh(Section, frozen=True, kw_only=True):
    """The mesh surface, /api: the control plane of Nebula networks."""

    debug: Annotated[bool, key("Give development tokens although OIDC is set up; show /api/docs and /api/redoc.")] = (
        False
    )
    dev_token: Annotated[
        Literal["loopback", "any", "off"],
        key("Who gets a system admin's token without log-in where there is no OIDC, or with debug."),
    ] = "loopback"  # noqa: S105 - a policy
    rate_limit_exempt: Annotated[
        tuple[Network, ...], key("Addresses or networks that the mesh's limits leave alone.")
    ] = ()
    frontend_url: Annotated[
        _Url | None, key("Where the web interface is.", default="https://HOST:PORT as the client came")
    ] = None
    database_url: Annotated[
        Secret | None,
        key(
            "postgresql://USER:PASSWORD@HOST/NAME, which several controllers may share.",
            default="the appliance's own file",
        ),
    ] = None
    master_key_file: Annotated[
        Path | None,
        key("Key that keys are encrypted under; controllers share it.", default="STATE/mesh/master.key"),
    ] = None
    listen_port: Annotated[int, key("UDP port that Nebula gets on hosts without an endpoint.", ge=1, le=65535)] = 4242
    oidc: Oidc = Oidc()
    smtp: Smtp = Smtp()

    def is_rate_limit_exempt(self, address: str) -> bool:
        """Whether the limits leave the client `address` alone."""
        return any(address in network for network in self.rate_limit_exempt)
