"""A kubeconfig: clusters, users, and contexts that bring one of each together.

The format is that of kubectl (client-go, `clientcmd/api/v1`). What it holds besides, as preferences, is left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from appliance.host.errors import Invalid
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.yaml_reader import read_yaml
from appliance.secret import Secret, decode_hook

InteractiveMode = Literal["Never", "IfAvailable", "Always"]


class Extension(msgspec.Struct, frozen=True):
    """What somebody added under a name of his."""

    name: str
    extension: Any = None


class Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    """Where an API server is, and how it is known to be the right one."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: Secret = Secret("")
    extensions: list[Extension] = []


class Variable(msgspec.Struct, frozen=True):
    """One variable of a plugin's environment."""

    name: str
    value: Secret = Secret("")


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """A program that prints credentials."""

    command: str = ""
    args: list[Secret] = []
    env: list[Variable] = []
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: InteractiveMode = "IfAvailable"


class AuthProvider(msgspec.Struct, frozen=True):
    """What credential plugins were before they were programs; kubectl has dropped them."""

    name: str = ""


class User(msgspec.Struct, frozen=True, rename="kebab"):
    """Who we are to an API server."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: Secret = Secret("")
    token: Secret = Secret("")
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: Secret = Secret("")
    as_user: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None


class Context(msgspec.Struct, frozen=True):
    """A cluster, a user and a namespace, by name."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class NamedCluster(msgspec.Struct, frozen=True):
    """A cluster and its name."""

    name: str
    cluster: Cluster = Cluster()


class NamedUser(msgspec.Struct, frozen=True):
    """A user and its name."""

    name: str
    user: User = User()


class NamedContext(msgspec.Struct, frozen=True):
    """A context and its name."""

    name: str
    context: Context = Context()


class Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    """The whole file."""

    clusters: list[NamedCluster] = []
    users: list[NamedUser] = []
    contexts: list[NamedContext] = []
    current_context: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, as one that was never filled in."""
        return not (self.clusters or self.contexts)


@dataclass(frozen=True)
class Selected:
    """What the current context of the kubeconfig `file` brings together; paths in it are relative to `folder`."""

    file: Path
    folder: Path
    context: str
    namespace: str
    cluster_name: str
    cluster: Cluster
    user_name: str
    user: User

    def setting(self, key: str) -> str:
        """How to find `key` of the cluster, for whoever has to put it right."""
        return f"{key} of cluster {self.cluster_name!r} in {self.file}"


def decode(content: bytes, file: Path) -> Kubeconfig:
    """The kubeconfig in `content`, which stands in `file`; for a thread.

    Raises `ClusterError`, which shows no value.
    """
    try:
        documents = [_without_nulls(each) for _, each in read_yaml(content.decode(), 1)]
        return msgspec.convert(documents[0] if documents else {}, Kubeconfig, dec_hook=decode_hook)
    except UnicodeDecodeError:
        raise ClusterError(f"{file} is not UTF-8") from None
    except Invalid as error:
        raise ClusterError(f"{file}: {error.why}") from None
    except msgspec.ValidationError as error:
        raise ClusterError(f"{file} is not a kubeconfig: {error}") from None


def selected(config: Kubeconfig, file: Path) -> Selected:
    """What `current-context` names. Raises `ClusterError` where that is nothing, or not clear."""
    name = config.current_context
    if not name:
        raise ClusterError(f"{file} has no current-context")
    context = _named(config.contexts, name, "context", file).context
    cluster = _named(config.clusters, context.cluster, "cluster", file).cluster
    user = _named(config.users, context.user, "user", file).user if context.user else User()
    return Selected(
        file=file,
        folder=file.parent,
        context=name,
        namespace=context.namespace or "default",
        cluster_name=context.cluster,
        cluster=cluster,
        user_name=context.user,
        user=user,
    )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def _named(entries: Iterable[N], name: str, kind: str, file: Path) -> N:
    found = [entry for entry in entries if entry.name == name]
    if len(found) != 1:
        raise ClusterError(f"{file} has {'several of' if found else 'no'} {kind} {name!r}")
    return found[0]


def _without_nulls(value: Any) -> Any:
    """Nothing where null stands for a key's value, as kubectl takes it."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value
