"""What is asked of the Kubernetes endpoints, and the wrappers of their replies."""

from typing import Annotated, Any

import msgspec

from appliance.host.journal.query import make_filter
from appliance.host.kubernetes.applying import Applying
from appliance.host.kubernetes.listing import PAGE, Listed, Selection
from appliance.host.kubernetes.logs import PodLogOptions
from appliance.host.kubernetes.model import (
    KubernetesDefinition,
    KubernetesDeployment,
    KubernetesDeploymentDetail,
    KubernetesNamespace,
    KubernetesNode,
    KubernetesPod,
    KubernetesPodDetail,
    KubernetesResource,
    KubernetesResourceDetail,
    KubernetesService,
    KubernetesServiceDetail,
)
from appliance.host.kubernetes.names import LABEL_LIMIT
from appliance.host.kubernetes.objects import Deletion, Propagation

DEFAULT_LINES = "1000"
PAGE_LIMIT = 500

_MICROSECONDS = 1_000_000
_LINES = f"How many of the last lines, or `all`; {DEFAULT_LINES} where not given."
_SINCE = (
    "Written then or later: RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), seconds since 1970, or so long ago: `-30s`, `-15m`,"
    " `-1h`, `-2d`, `-1w`."
)
_LIMIT = f"Send a page of at most so many, up to {PAGE_LIMIT}; 0 for all of them at once."
_CONTINUE = "Where the page before said that it goes on, by `continue`."
_DRY_RUN = "`true` or `All`: the cluster looks whether it would do it, and keeps nothing."


def _text(description: str, limit: int) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=limit)


_DryRun = Annotated[str, msgspec.Meta(pattern="^(true|false|All|)$", description=_DRY_RUN)]


class SelectionQuery(msgspec.Struct, rename="camel"):
    """Which objects, and how many at once."""

    label_selector: Annotated[str, _text("As kubectl's `-l`: `app=web,tier!=back`.", 4096)] = ""
    field_selector: Annotated[str, _text("As kubectl's: `status.phase=Running`.", 4096)] = ""
    limit: Annotated[int, msgspec.Meta(ge=0, le=PAGE_LIMIT, description=_LIMIT)] = 0
    continue_: Annotated[str, _text(_CONTINUE, 8192)] = msgspec.field(name="continue", default="")

    def selection(self, namespace: str) -> Selection:
        """Of those in `namespace` (empty: in all)."""
        return Selection(namespace, self.label_selector, self.field_selector)

    @property
    def page(self) -> int:
        """How many at once, 0 for all."""
        return self.limit or (PAGE if self.continue_ else 0)


class NamespaceQuery(SelectionQuery, rename="camel"):
    """Which objects, of which namespace, and how many at once."""

    namespace: Annotated[str, _text("Those of this namespace; of all where not given.", LABEL_LIMIT)] = ""


class DeleteQuery(msgspec.Struct, rename="camel"):
    """How to delete."""

    grace_period_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400, description="To end by itself.")] | None = None
    propagation_policy: Annotated[
        Propagation, msgspec.Meta(description="What becomes of what depends on it; as is usual where not given.")
    ] = ""
    dry_run: _DryRun = ""

    @property
    def deletion(self) -> Deletion:
        """The same for the host."""
        return Deletion(self.grace_period_seconds, self.propagation_policy, self.dry_run in ("true", "All"))


class ApplyQuery(msgspec.Struct, rename="camel"):
    """How to apply."""

    force: Annotated[bool, msgspec.Meta(description="Take fields from others that manage them.")] = False
    dry_run: _DryRun = ""

    @property
    def applying(self) -> Applying:
        """The same for the host."""
        return Applying(self.force, self.dry_run in ("true", "All"))


class PodLogQuery(msgspec.Struct):
    """Which lines of a log, and in which form."""

    container: Annotated[str, _text("Needed where the pod has several.", LABEL_LIMIT)] = ""
    lines: Annotated[str, msgspec.Meta(pattern="^(all|[0-9]{1,9})$", description=_LINES)] = DEFAULT_LINES
    since: Annotated[str, _text(_SINCE, 64)] = ""
    timestamps: Annotated[bool, msgspec.Meta(description="Put the time before each line.")] = False
    previous: Annotated[bool, msgspec.Meta(description="Of the container's last run before this one.")] = False
    follow: Annotated[bool, msgspec.Meta(description="Send plain text, and go on with what is written.")] = False
    stream: Annotated[bool, msgspec.Meta(description="Send the log as plain text, of any length.")] = False

    def options(self, now: float) -> PodLogOptions:
        """What is wanted; `now` in seconds since 1970. Raises `Invalid`."""
        since = make_filter(now=now, since=self.since).since
        return PodLogOptions(
            container=self.container,
            lines=None if self.lines == "all" else int(self.lines),
            since=None if since is None else since / _MICROSECONDS,
            timestamps=self.timestamps,
            follow=self.follow,
            previous=self.previous,
        )

    @property
    def as_stream(self) -> bool:
        """Whether the answer is the text itself."""
        return self.follow or self.stream


class KubernetesObject(msgspec.Struct, rename="camel"):
    """An object as Kubernetes takes it, as JSON or YAML; several as a `List`, or as several documents of YAML."""

    api_version: str
    kind: str
    metadata: dict[str, Any]
    spec: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _List(msgspec.Struct, rename={"continue_": "continue"}, kw_only=True):
    """`continue` is where the next page begins, empty after the last."""

    count: int
    continue_: str


class KubernetesPodList(_List, kw_only=True):
    """Pods."""

    pods: list[KubernetesPod]


class KubernetesDeploymentList(_List, kw_only=True):
    """Deployments."""

    deployments: list[KubernetesDeployment]


class KubernetesServiceList(_List, kw_only=True):
    """Services."""

    services: list[KubernetesService]


class KubernetesNamespaceList(_List, kw_only=True):
    """Namespaces."""

    namespaces: list[KubernetesNamespace]


class KubernetesNodeList(_List, kw_only=True):
    """Nodes."""

    nodes: list[KubernetesNode]


class KubernetesDefinitionList(_List, kw_only=True):
    """Custom resource definitions."""

    crds: list[KubernetesDefinition]


class KubernetesResourceList(_List, kw_only=True):
    """Objects of any kind."""

    resources: list[KubernetesResource]


def list_reply(name: str, listed: Listed) -> msgspec.Raw:
    """One of these lists, encoded, with the objects as `name`."""
    reply = {name: listed.rows, "count": listed.count, "continue": listed.continued}
    return msgspec.Raw(msgspec.json.encode(reply))


class KubernetesPodReply(msgspec.Struct):
    """A pod."""

    pod_detail: KubernetesPodDetail


class KubernetesDeploymentReply(msgspec.Struct):
    """A deployment."""

    deployment_detail: KubernetesDeploymentDetail


class KubernetesServiceReply(msgspec.Struct):
    """A service."""

    service_detail: KubernetesServiceDetail


class KubernetesResourceReply(msgspec.Struct):
    """An object."""

    resource_detail: KubernetesResourceDetail


class KubernetesApplied(msgspec.Struct):
    """An object that was applied; `created` where it was not there before."""

    api_version: str
    kind: str
    namespace: str
    name: str
    created: bool


class _AppliedReply(msgspec.Struct, kw_only=True):
    """The first object as it is now, and what was done to all of them, in their order."""

    results: list[KubernetesApplied]
    message: str
    success: bool = True


class KubernetesPodApplied(_AppliedReply, kw_only=True):
    """Pods that were applied, the first of them as it is now."""

    pod_detail: KubernetesPodDetail


class KubernetesDeploymentApplied(_AppliedReply, kw_only=True):
    """Deployments that were applied, the first of them as it is now."""

    deployment_detail: KubernetesDeploymentDetail


class KubernetesServiceApplied(_AppliedReply, kw_only=True):
    """Services that were applied, the first of them as it is now."""

    service_detail: KubernetesServiceDetail


class KubernetesResourceApplied(_AppliedReply, kw_only=True):
    """Objects that were applied, the first of them as it is now."""

    resource_detail: KubernetesResourceDetail


class KubernetesDeleted(msgspec.Struct):
    """An object that was deleted, or is about to go."""

    kind: str
    namespace: str
    name: str
    message: str
    success: bool


class KubernetesPodLog(msgspec.Struct):
    """A log; `truncated` where only its end fits into this answer."""

    pod: str
    namespace: str
    container: str
    logs: str
    truncated: bool


class KubernetesRestarted(msgspec.Struct):
    """A rollout that was begun; `restarted_at` is RFC 3339."""

    kind: str
    namespace: str
    name: str
    restarted_at: str
    message: str
    success: bool


class ScaleBody(msgspec.Struct):
    """How many pods there shall be."""

    replicas: Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class KubernetesScaled(msgspec.Struct):
    """How many pods there shall be now."""

    kind: str
    namespace: str
    name: str
    replicas: int
    message: str
    success: bool


class KubernetesRolloutStatus(msgspec.Struct):
    """How a rollout stands."""

    kind: str
    namespace: str
    name: str
    complete: bool
    message: str
