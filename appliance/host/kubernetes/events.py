"""What is told of a cluster's events (Kubernetes API, core/v1 Event), and how they come."""

from typing import Literal

import msgspec

from appliance.secret import MASK

Action = Literal["ADDED", "MODIFIED", "DELETED"]

OPEN_REASONS = frozenset(
    [
        "BackOff",
        "Created",
        "FailedScheduling",
        "Killing",
        "NodeHasDiskPressure",
        "NodeHasNoDiskPressure",
        "NodeHasSufficientMemory",
        "NodeHasSufficientPID",
        "NodeNotReady",
        "NodeReady",
        "Preempted",
        "Pulled",
        "Pulling",
        "RegisteredNode",
        "RemovingNode",
        "ScalingReplicaSet",
        "Scheduled",
        "Started",
        "Starting",
        "SuccessfulCreate",
        "SuccessfulDelete",
    ]
)
"""Reasons whose messages Kubernetes itself writes, of names and numbers. Others may quote commands, what a probe or a
hook printed, addresses with passwords in them, options of mounts."""


def for_readers(reason: str, message: str) -> str:
    """What those see of an event's message who are no administrators."""
    return message if reason in OPEN_REASONS else MASK


class Involved(msgspec.Struct, frozen=True):
    """What an event is about."""

    kind: str
    namespace: str
    name: str
    api_version: str
    uid: str
    field_path: str


class ClusterEvent(msgspec.Struct, tag_field="kind", tag="k8s", frozen=True):
    """
    Something that happened to `object`: `type` is Normal or Warning, `reason` one word for why.

    A cluster keeps an event for an hour or so. ADDED is a new one; MODIFIED one that has happened again, which `count`
    says how often; DELETED one that is not kept any more. Times are RFC 3339 as the cluster writes them, `timestamp` is
    that of the last time. For those who are no administrators `message` is `***` where it may hold secrets.
    """

    action: Action
    type: str
    reason: str
    message: str
    namespace: str
    name: str
    object: Involved
    count: int
    timestamp: str
    first_timestamp: str
    last_timestamp: str
    component: str
    host: str

    def masked(self) -> "ClusterEvent":
        """Without what may hold secrets."""
        return msgspec.structs.replace(self, message=for_readers(self.reason, self.message))


class _Wire(msgspec.Struct, rename="camel", gc=False):
    """Members are named as in the API's JSON; hardly anything is certain to be there."""


class ListMeta(_Wire):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class EventMeta(_Wire):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None


class Reference(_Wire):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    api_version: str = ""
    uid: str = ""
    field_path: str = ""


class Origin(_Wire):
    component: str = ""
    host: str = ""


class Series(_Wire):
    count: int = 0
    last_observed_time: str | None = None


class WireEvent(_Wire):
    """core/v1 Event; what reports by events.k8s.io/v1 leaves the older members empty."""

    metadata: EventMeta = msgspec.field(default_factory=EventMeta)
    involved_object: Reference = msgspec.field(default_factory=Reference)
    reason: str = ""
    message: str = ""
    type: str = ""
    source: Origin | None = None
    count: int = 0
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: Series | None = None
    reporting_component: str = ""
    reporting_instance: str = ""

    def told(self, action: Action) -> ClusterEvent:
        """The event as it is told."""
        source, series = self.source or Origin(), self.series or Series()
        first = self.first_timestamp or self.event_time or self.metadata.creation_timestamp or ""
        last = series.last_observed_time or self.last_timestamp or self.event_time or first
        about = self.involved_object
        return ClusterEvent(
            action=action,
            type=self.type,
            reason=self.reason,
            message=self.message,
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            object=Involved(about.kind, about.namespace, about.name, about.api_version, about.uid, about.field_path),
            count=max(self.count, series.count, 1),
            timestamp=last,
            first_timestamp=first,
            last_timestamp=last,
            component=source.component or self.reporting_component,
            host=source.host or self.reporting_instance,
        )


class EventList(_Wire):
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[WireEvent] | None = None
