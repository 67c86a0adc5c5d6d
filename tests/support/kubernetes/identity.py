"""Who asks, and what he may do: an administrator, a viewer, and one who may do nothing."""

from dataclasses import dataclass

from tests.support.kubernetes.answers import Refused, details, failure, qualified
from tests.support.kubernetes.web import Request

ADMINISTRATORS = "system:masters"
TOKENS = {"admintoken": "admin", "viewtoken": "viewer", "nobodytoken": "nobody"}
_READ = ("get", "list", "watch")
_VISIBLE = {
    "": (
        "pods", "pods/log", "pods/status", "services", "endpoints", "namespaces", "nodes", "events", "configmaps",
    ),
    "apps": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
}  # fmt: skip


@dataclass(frozen=True)
class User:
    """A name and its groups."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What somebody wants to do. `subresource` is empty for the thing itself."""

    verb: str
    group: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """`pods`, `pods/log`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def authenticate(request: Request) -> User:
    """The caller by his token or his certificate. Raises Refused."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (name := TOKENS.get(token.strip())) is not None:
        return User(name, (ADMINISTRATORS,) if name == "admin" else ())
    if request.common_name is not None:
        return User(request.common_name, request.organizations)
    raise failure(401, "Unauthorized", "Unauthorized")


def allowed(user: User, wish: Wish) -> bool:
    """Whether the user may."""
    if ADMINISTRATORS in user.groups:
        return True
    return user.name == "viewer" and wish.verb in _READ and wish.resource in _VISIBLE.get(wish.group, ())


def forbidden(user: User, wish: Wish) -> Refused:
    """How he is told that he may not."""
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    what = qualified(wish.plural, wish.group) + (f' "{wish.name}"' if wish.name else "")
    message = (
        f'{what} is forbidden: User "{user.name}" cannot {wish.verb} resource "{wish.resource}" in API group '
        f'"{wish.group}" {where}'
    )
    return failure(403, "Forbidden", message, details(wish.name, wish.group, wish.plural))
