"""What is used here of the JSON of the Kubernetes API; the rest is skipped as it is read.

Hardly anything is certain to be there: what is empty is left out or null.
"""

import msgspec

Names = dict[str, str]


class _Wire(msgspec.Struct, rename="camel", gc=False):
    """Members are named as in the API's JSON."""


class Metadata(_Wire):
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ ; times are RFC 3339."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: list[str] | None = None
    labels: Names | None = None


class ListMetadata(_Wire):
    continue_: str = msgspec.field(name="continue", default="")


class Condition(_Wire):
    type: str = ""
    status: str = ""
    reason: str = ""


class Terminated(_Wire):
    reason: str = ""
    exit_code: int = 0
    signal: int = 0


class Waiting(_Wire):
    reason: str = ""


class Running(_Wire):
    """That it is there says all."""


class ContainerState(_Wire):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Wire):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    started: bool | None = None
    state: ContainerState | None = None


class Container(_Wire):
    name: str = ""
    image: str = ""
    restart_policy: str | None = None


class PodSpec(_Wire):
    node_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodStatus(_Wire):
    phase: str = ""
    reason: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Object(_Wire):
    """What all objects have."""

    metadata: Metadata
    api_version: str = ""
    kind: str = ""


class Pod(Object):
    spec: PodSpec | None = None
    status: PodStatus | None = None


class LabelSelectorRequirement(_Wire):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class LabelSelector(_Wire):
    match_labels: Names | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None


class PodTemplate(_Wire):
    spec: PodSpec | None = None


class Strategy(_Wire):
    type: str = ""


class WorkloadSpec(_Wire):
    """Of Deployments, StatefulSets, DaemonSets and ReplicaSets."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplate | None = None
    strategy: Strategy | None = None
    update_strategy: Strategy | None = None
    paused: bool = False


class WorkloadStatus(_Wire):
    """The same; the second half is that of DaemonSets."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: list[Condition] | None = None
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    updated_number_scheduled: int = 0


class GenerationMetadata(Metadata):
    generation: int = 0


class Workload(_Wire):
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet."""

    metadata: GenerationMetadata
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None


class ServicePort(_Wire):
    name: str = ""
    port: int = 0
    node_port: int = 0
    protocol: str = "TCP"


class ServiceSpec(_Wire):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    external_name: str = ""
    ports: list[ServicePort] | None = None
    selector: Names | None = None


class Ingress(_Wire):
    ip: str = ""
    hostname: str = ""


class LoadBalancer(_Wire):
    ingress: list[Ingress] | None = None


class LoadBalanced(_Wire):
    load_balancer: LoadBalancer | None = None


class Service(Object):
    spec: ServiceSpec | None = None
    status: LoadBalanced | None = None


class Phase(_Wire):
    phase: str = ""


class Namespace(Object):
    status: Phase | None = None


class NodeAddress(_Wire):
    type: str = ""
    address: str = ""


class NodeInfo(_Wire):
    kubelet_version: str = ""
    os_image: str = ""
    kernel_version: str = ""
    container_runtime_version: str = ""
    architecture: str = ""


class NodeStatus(_Wire):
    conditions: list[Condition] | None = None
    addresses: list[NodeAddress] | None = None
    node_info: NodeInfo | None = None
    capacity: Names | None = None
    allocatable: Names | None = None


class NodeSpec(_Wire):
    unschedulable: bool = False


class Node(Object):
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class DefinitionNames(_Wire):
    kind: str = ""
    plural: str = ""


class DefinitionVersion(_Wire):
    name: str = ""
    served: bool = False
    storage: bool = False


class DefinitionSpec(_Wire):
    group: str = ""
    scope: str = ""
    names: DefinitionNames | None = None
    versions: list[DefinitionVersion] | None = None


class Definition(Object):
    """A CustomResourceDefinition."""

    spec: DefinitionSpec | None = None


class ConfigMap(Object):
    """Also a Secret. What it holds is not looked at, only how much of it there is."""

    data: dict[str, msgspec.Raw] | None = None
    binary_data: dict[str, msgspec.Raw] | None = None
    type: str = ""


class JobSpec(_Wire):
    completions: int | None = None
    parallelism: int | None = None


class JobStatus(_Wire):
    succeeded: int = 0
    active: int = 0
    start_time: str | None = None
    completion_time: str | None = None


class Job(Object):
    spec: JobSpec | None = None
    status: JobStatus | None = None


class CronJobSpec(_Wire):
    schedule: str = ""
    suspend: bool | None = None


class CronJobStatus(_Wire):
    active: list[msgspec.Raw] | None = None
    last_schedule_time: str | None = None


class CronJob(Object):
    spec: CronJobSpec | None = None
    status: CronJobStatus | None = None


class IngressRule(_Wire):
    host: str = ""


class IngressSpec(_Wire):
    ingress_class_name: str | None = None
    rules: list[IngressRule] | None = None
    tls: list[msgspec.Raw] | None = None


class IngressObject(Object):
    spec: IngressSpec | None = None
    status: LoadBalanced | None = None


class Reference(_Wire):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class EventSeries(_Wire):
    count: int = 0
    last_observed_time: str | None = None


class Event(Object):
    involved_object: Reference | None = None
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: EventSeries | None = None


class VolumeSpec(_Wire):
    """Of a PersistentVolume or a PersistentVolumeClaim."""

    capacity: Names | None = None
    access_modes: list[str] | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str | None = None
    claim_ref: Reference | None = None
    volume_name: str = ""


class VolumeStatus(_Wire):
    phase: str = ""
    capacity: Names | None = None
    access_modes: list[str] | None = None


class Volume(Object):
    spec: VolumeSpec | None = None
    status: VolumeStatus | None = None


class ServiceAccount(Object):
    secrets: list[msgspec.Raw] | None = None


class Page(_Wire):
    """A page of a list: its items are decoded one by one as what they are."""

    items: list[msgspec.Raw] | None = None
    metadata: ListMetadata | None = None


class ApiResource(_Wire):
    """An entry of the discovery document of a group's version."""

    name: str
    kind: str = ""
    namespaced: bool = False


class ApiResources(_Wire):
    """GET /apis/GROUP/VERSION."""

    resources: list[ApiResource] | None = None


class GroupVersion(_Wire):
    version: str = ""


class ApiGroup(_Wire):
    """GET /apis/GROUP."""

    preferred_version: GroupVersion | None = None
    versions: list[GroupVersion] | None = None


class Anything(_Wire):
    """Any answer: what it is, and whether it is still there."""

    kind: str = ""
    metadata: Metadata | None = None
