"""Who we are to the cluster, as the headers and the certificate of a request."""

import base64
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from appliance.host.kubernetes.access import Access
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kubeconfig import User
from appliance.host.kubernetes.trust import Identity

Headers = tuple[tuple[str, str], ...]

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Credential:
    """What a request shows."""

    headers: Headers = field(repr=False)
    identity: Identity | None

    @property
    def authorizes(self) -> bool:
        """Whether it says who we are by a header."""
        return any(name == "Authorization" for name, _ in self.headers)


class Credentials(Protocol):
    """Where credentials come from."""

    async def current(self) -> Credential:
        """What to show now. Raises `ClusterError`."""

    def refused(self, credential: Credential) -> bool:
        """`credential` was refused: whether there may be another."""


class Fixed:
    """Those that stand in files; they count as long as the files are the same."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def current(self) -> Credential:
        """The only one."""
        return self._credential

    def refused(self, credential: Credential) -> bool:
        """There is no other."""
        return False


def from_files(access: Access) -> Credential:
    """What `access` holds. Raises `ClusterError` for what cannot go into a request."""
    user, name = access.selected.user, access.selected.user_name
    headers: list[tuple[str, str]] = []
    if access.token is not None and user.username:
        raise ClusterError(f"User {name!r} has a token and a username: only one of them can count")
    if access.token is not None:
        headers.append(bearer(access.token.reveal(), name))
    elif user.username:
        pair = base64.b64encode(f"{user.username}:{user.password.reveal()}".encode()).decode("ascii")
        headers.append(("Authorization", f"Basic {pair}"))
    return Credential((*headers, *impersonation(user, name)), access.identity)


def bearer(token: str, user_name: str) -> tuple[str, str]:
    """The header of a token. Raises `ClusterError` for what is none."""
    if not _TOKEN.fullmatch(token):
        raise ClusterError(f"The token of user {user_name!r} is not one line of printable characters")
    return "Authorization", f"Bearer {token}"


def impersonation(user: User, user_name: str) -> Headers:
    """The headers that ask to be somebody else (Kubernetes, "User impersonation"). Raises `ClusterError`."""
    headers = [("Impersonate-User", user.as_user)] if user.as_user else []
    if user.as_uid:
        headers.append(("Impersonate-Uid", user.as_uid))
    headers += [("Impersonate-Group", group) for group in user.as_groups]
    for key, values in user.as_user_extra.items():
        headers += [(f"Impersonate-Extra-{quote(key.lower(), safe='')}", value) for value in values]
    if headers and not user.as_user:
        raise ClusterError(f"User {user_name!r} has as-uid, as-groups or as-user-extra, but no as")
    if not all(value.isprintable() and value.isascii() for _, value in headers):
        raise ClusterError(f"Whom user {user_name!r} asks to be cannot stand in a header")
    return tuple(headers)
