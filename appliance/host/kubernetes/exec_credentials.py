"""Credentials that a program prints: client-go credential plugins (client.authentication.k8s.io/v1 and v1beta1)."""

import base64
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.host import ownership
from appliance.host.kubernetes.access import Access
from appliance.host.kubernetes.credentials import Credential, bearer, impersonation
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kubeconfig import Exec, Selected
from appliance.host.kubernetes.trust import Identity
from appliance.host.outgoing.peer import UNREADABLE
from appliance.host.outgoing.words import shown
from appliance.host.shared import Shared
from appliance.process.command import ENVIRONMENT, find_program
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner
from appliance.secret import Secret, decode_hook
from appliance.threads import Threads

GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
EXTENSION = f"{GROUP}/exec"
"""The cluster's extension that a plugin gets as its configuration."""

PATIENCE_SECONDS = 30.0
"""How long new credentials that are refused as well are not asked for again: each asking is a process."""

_SECONDS = 25.0
_OUTPUT_LIMIT = 1 << 20


class _Status(msgspec.Struct, rename="camel"):
    token: Secret = Secret("")
    client_certificate_data: str = ""
    client_key_data: Secret = Secret("")
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    status: _Status | None = None


class ExecCredentials:
    """Those of a plugin: asked for when there are none, when they have expired and when they are refused."""

    def __init__(
        self,
        threads: Threads,
        runner: ProcessRunner,
        access: Access,
        plugin: Exec,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        _check(plugin, access.selected.user_name)
        self._threads = threads
        self._runner = runner
        self._access = access
        self._plugin = plugin
        self._now = now
        self._credential: Credential | None = None
        self._expires: datetime | None = None
        self._made: datetime | None = None
        self._asking = Shared(self._ask)

    async def current(self) -> Credential:
        """What the plugin said, as long as it counts. Raises `ClusterError`."""
        if self._credential is not None and (self._expires is None or self._now() < self._expires):
            return self._credential
        return await self._asking.result()

    def refused(self, credential: Credential) -> bool:
        """Have the plugin asked again, unless that has just been of no use."""
        if credential is not self._credential:
            return True  # there are others already, or will be
        if self._made is not None and 0 <= (self._now() - self._made).total_seconds() < PATIENCE_SECONDS:
            return False
        self._credential = None
        return True

    async def _ask(self) -> Credential:
        selected = self._access.selected
        environment = {
            **ENVIRONMENT,
            **_home(),
            **{variable.name: variable.value.reveal() for variable in self._plugin.env},
            "KUBERNETES_EXEC_INFO": _information(self._access, self._plugin),
        }
        try:
            argv = await self._threads.run(_command, selected, self._plugin, environment)
            finished = await self._runner.run(argv, env=environment, timeout=_SECONDS, output_limit=_OUTPUT_LIMIT)
        except ProcessError as error:
            hint = f" ({shown(self._plugin.install_hint)})" if self._plugin.install_hint else ""
            raise self._trouble(f"{error}{hint}") from None
        if not finished.succeeded:
            raise self._trouble(finished.describe())  # and nothing that it printed: it may be a secret
        if finished.truncated:
            raise self._trouble(f"it printed more than {_OUTPUT_LIMIT >> 10} KiB")
        status = self._decoded(finished.stdout)
        self._credential, self._expires = self._taken(status), _aware(status.expiration_timestamp)
        self._made = self._now()
        return self._credential

    def _decoded(self, output: bytes) -> _Status:
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            raise self._trouble(f"it printed no ExecCredential: {error}") from None
        except UNREADABLE:
            raise self._trouble("it did not print JSON") from None
        if (answer.kind, answer.api_version) != ("ExecCredential", self._plugin.api_version):
            raise self._trouble(f"it printed no ExecCredential of {self._plugin.api_version}")
        if answer.status is None:
            raise self._trouble("it printed no status")
        return answer.status

    def _taken(self, status: _Status) -> Credential:
        selected = self._access.selected
        headers = impersonation(selected.user, selected.user_name)
        identity = self._access.identity
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._trouble("it printed a certificate without its key, or a key without its certificate")
        if status.client_certificate_data:
            key = status.client_key_data.reveal()
            identity = Identity(status.client_certificate_data.encode(), key.encode())
        elif not status.token:
            raise self._trouble("it printed neither a token nor a certificate")
        if status.token:
            headers = (bearer(status.token.reveal(), selected.user_name), *headers)
        return Credential(headers, identity)

    def _trouble(self, what: str) -> ClusterError:
        plugin, user = self._plugin.command, self._access.selected.user_name
        return ClusterError(f"The credential plugin {plugin!r} of user {user!r} is of no use: {what}")


def _check(plugin: Exec, user_name: str) -> None:
    """Refuse what cannot be run here. Raises `ClusterError`."""
    whose = f"The exec of user {user_name!r}"
    if not plugin.command:
        raise ClusterError(f"{whose} has no command")
    if plugin.api_version not in VERSIONS:
        raise ClusterError(f"{whose} has the apiVersion {plugin.api_version!r}; it is one of {', '.join(VERSIONS)}")
    if plugin.interactive_mode == "Always":
        raise ClusterError(f"{whose} wants to ask somebody at a terminal (interactiveMode Always): there is none")


def _command(selected: Selected, plugin: Exec, environment: Mapping[str, str]) -> list[str]:
    """The plugin's command line; for a thread.

    Raises `ProcessError` where there is no such program and, as root, `ClusterError` for one that others could change.
    """
    command = plugin.command
    if "/" in command:
        command = os.path.join(os.path.abspath(selected.folder), command)
    argv = find_program([command, *(each.reveal() for each in plugin.args)], env=environment, cwd=None)
    if os.geteuid() == 0:
        try:
            trouble = ownership.trouble_with(argv[0])
        except OSError as error:
            trouble = error.strerror or "it has gone"
        if trouble is not None:
            raise ClusterError(f"The credential plugin {argv[0]} is not run as root: {trouble}")
    return argv


def _home() -> dict[str, str]:
    """Where plugins keep what they know."""
    try:
        return {"HOME": str(Path.home())}
    except RuntimeError:
        return {}


def _information(access: Access, plugin: Exec) -> str:
    """What a plugin is told (KUBERNETES_EXEC_INFO): an ExecCredential without a status."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = _cluster(access)
    told = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    return msgspec.json.encode(told).decode()


def _cluster(access: Access) -> dict[str, Any]:
    cluster = access.selected.cluster
    told: dict[str, Any] = {"server": cluster.server}
    if cluster.tls_server_name:
        told["tls-server-name"] = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        told["insecure-skip-tls-verify"] = True
    if access.trust.authorities is not None:
        told["certificate-authority-data"] = base64.b64encode(access.trust.authorities).decode("ascii")
    configured = [each.extension for each in cluster.extensions if each.name == EXTENSION]
    if configured:
        told["config"] = configured[0]
    return told


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
