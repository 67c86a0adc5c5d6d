"""How to reach the cluster: what the files say, read and complete. Everything here blocks: for a thread."""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.host import ownership
from appliance.host.kubernetes import in_cluster, kubeconfig, server_url
from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError
from appliance.host.kubernetes.kubeconfig import Selected
from appliance.host.kubernetes.server_url import ServerUrl
from appliance.host.kubernetes.trust import Identity, Trust
from appliance.secret import Secret

_CONFIG_LIMIT = 1 << 20
_PEM_LIMIT = 1 << 20
_TOKEN_LIMIT = 64 * 1024

Stamp = tuple[int, ...] | None
"""What tells a file from one that is there later; None where there is none."""


@dataclass(frozen=True)
class Access:
    """A cluster, and who we are to it by what stands in files.

    `seen` are the files that this came from, as they were: it counts as long as they are the same.
    """

    selected: Selected
    server: ServerUrl
    trust: Trust
    identity: Identity | None
    token: Secret | None
    seen: Mapping[Path, Stamp]

    def is_current(self) -> bool:
        """Whether all the files are still the same; cheap, and for the reactor as well."""
        return all(stamp(path) == seen for path, seen in self.seen.items())


def stamp(path: Path) -> Stamp:
    """What `path` is now."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def find(places: Sequence[Path]) -> Access:
    """What the first of `places` says that is there. Raises `ClusterAbsent` or `ClusterError`."""
    seen: dict[Path, Stamp] = {}
    unreadable: Path | None = None
    for place in places:
        seen[place] = stamp(place)
        if seen[place] is None:
            continue
        try:
            selected = _selected_at(place, seen)
        except FileNotFoundError:
            continue
        except PermissionError:
            unreadable = unreadable or place
            continue
        except (OSError, FileTooLarge, NotARegularFile) as error:
            raise ClusterError(f"The kubeconfig cannot be read: {error}") from None
        if selected is not None:
            return _Reading(selected, seen).access()
    if unreadable is not None:
        raise ClusterError(f"{unreadable} may not be read by this service")
    raise ClusterAbsent(f"There is no kubeconfig at {' or '.join(map(str, places))}")


def _selected_at(place: Path, seen: dict[Path, Stamp]) -> Selected | None:
    """What the kubeconfig or, where it is a folder, the service account at `place` says; None where that is nothing."""
    if place.is_dir():
        seen[place / in_cluster.NAMESPACE] = stamp(place / in_cluster.NAMESPACE)
        return in_cluster.selected(place, os.environ)
    config = kubeconfig.decode(read_limited(place, _CONFIG_LIMIT), place)
    if config.is_empty:
        return None
    _check_owner(place)
    return kubeconfig.selected(config, place)


class _Reading:
    """Takes what `selected` names together, and keeps account of the files it comes from."""

    def __init__(self, selected: Selected, seen: dict[Path, Stamp]) -> None:
        self._selected = selected
        self._seen = seen

    def access(self) -> Access:
        server = self._server()
        trust = self._trust(server)
        user = self._selected.user
        token = self._token(user.token, user.token_file)
        return Access(self._selected, server, trust, self._identity(), token, self._seen)

    def _server(self) -> ServerUrl:
        cluster = self._selected.cluster
        if cluster.proxy_url:
            raise ClusterError(f"Proxies are not supported: {self._selected.setting('proxy-url')}")
        try:
            return server_url.parse(cluster.server)
        except ValueError as error:
            raise ClusterError(f"{self._selected.setting('server')} {error}") from None

    def _trust(self, server: ServerUrl) -> Trust:
        cluster = self._selected.cluster
        key = "certificate-authority"
        setting = self._selected.setting(f"{key}-data" if cluster.certificate_authority_data else key)
        authorities = self._content(key, cluster.certificate_authority_data, cluster.certificate_authority)
        if authorities is not None and cluster.insecure_skip_tls_verify:
            raise ClusterError(f"insecure-skip-tls-verify does not go together with {setting}")
        name = cluster.tls_server_name or server.host
        if not server_url.is_host(name):
            raise ClusterError(f"{self._selected.setting('tls-server-name')} is no host name")
        return Trust(
            authorities, name, cluster.insecure_skip_tls_verify, setting, self._selected.setting("tls-server-name")
        )

    def _identity(self) -> Identity | None:
        user = self._selected.user
        certificate = self._content("client-certificate", user.client_certificate_data, user.client_certificate)
        key = self._content("client-key", user.client_key_data.reveal(), user.client_key)
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            missing = "client-certificate" if certificate is None else "client-key"
            raise ClusterError(f"User {self._selected.user_name!r} in {self._selected.file} has no {missing}")
        return Identity(certificate, key)

    def _token(self, token: Secret, file: str) -> Secret | None:
        if not file:
            return token or None
        return Secret(self._read("tokenFile", file, _TOKEN_LIMIT).decode("utf-8", "replace").strip())

    def _content(self, key: str, data: str, file: str) -> bytes | None:
        """What `data` holds or else `file`; None where neither is given."""
        if data:
            try:
                return base64.b64decode("".join(data.split()), validate=True)
            except (binascii.Error, ValueError):
                raise ClusterError(f"{key}-data in {self._selected.file} is not base64") from None
        return self._read(key, file, _PEM_LIMIT) if file else None

    def _read(self, key: str, file: str, limit: int) -> bytes:
        path = self._selected.folder / file
        try:
            self._seen[path] = stamp(path)
            return read_limited(path, limit)
        except (OSError, FileTooLarge, NotARegularFile, ValueError) as error:
            raise ClusterError(f"{key} in {self._selected.file} cannot be read: {error}") from None


def _check_owner(file: Path) -> None:
    """As root, refuse what others could have written: a kubeconfig names programs to run. Raises `ClusterError`."""
    if os.geteuid() != 0:
        return
    try:
        trouble = ownership.trouble_with(os.path.abspath(file))
    except OSError as error:
        trouble = error.strerror or "it has gone"
    if trouble is not None:
        raise ClusterError(f"{file} is not used, for it may name a program to run as root: {trouble}")
