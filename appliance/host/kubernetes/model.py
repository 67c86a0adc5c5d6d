"""What is told of a cluster's objects, in the words and columns of kubectl(1)."""

from typing import Any

import msgspec


class _Row(msgspec.Struct, kw_only=True, frozen=True):
    """What all have is a name, labels, `created_at` in RFC 3339, and `age` as kubectl writes it: `2d`, `5h12m`."""


class KubernetesPod(_Row, kw_only=True, frozen=True):
    """A pod. `status` is what kubectl shows, as `Running`, `CrashLoopBackOff`, `Init:0/2`; `ready` as `1/2`."""

    name: str
    namespace: str
    status: str
    ready: str
    restarts: int
    age: str
    created_at: str
    ip: str
    node: str
    containers: list[str]
    images: list[str]
    labels: dict[str, str]


class KubernetesDeployment(_Row, kw_only=True, frozen=True):
    """A deployment. `ready` is as `2/3`, the others are numbers of pods, `replicas` the wanted one."""

    name: str
    namespace: str
    ready: str
    replicas: int
    ready_replicas: int
    updated_replicas: int
    available_replicas: int
    age: str
    created_at: str
    strategy: str
    paused: bool
    images: list[str]
    selector: str
    labels: dict[str, str]


class KubernetesService(_Row, kw_only=True, frozen=True):
    """A service. `ports` are as `80:30080/TCP`, the second number the node's; `external_ips` may be names, and is
    `<pending>` where a load balancer is waited for."""

    name: str
    namespace: str
    type: str
    cluster_ip: str
    external_ips: list[str]
    ports: list[str]
    age: str
    created_at: str
    selector: str
    labels: dict[str, str]


class KubernetesNamespace(_Row, kw_only=True, frozen=True):
    """A namespace: `Active` or `Terminating`."""

    name: str
    status: str
    age: str
    created_at: str
    labels: dict[str, str]


class KubernetesNode(_Row, kw_only=True, frozen=True):
    """A node. `status` is as `Ready` or `Ready,SchedulingDisabled`; quantities are as Kubernetes writes them."""

    name: str
    status: str
    roles: list[str]
    age: str
    created_at: str
    version: str
    internal_ip: str
    external_ip: str
    os_image: str
    kernel_version: str
    container_runtime: str
    architecture: str
    capacity: dict[str, str]
    allocatable: dict[str, str]
    labels: dict[str, str]


class KubernetesDefinition(_Row, kw_only=True, frozen=True):
    """A custom resource definition; `version` is the one that is stored, `versions` all that are served."""

    name: str
    group: str
    version: str
    versions: list[str]
    kind: str
    scope: str
    age: str
    created_at: str
    labels: dict[str, str]


class KubernetesResource(_Row, kw_only=True, frozen=True):
    """An object of any kind. `columns` is what else kubectl shows of those that are built in, by kubectl's names."""

    api_version: str
    kind: str
    namespace: str
    name: str
    age: str
    created_at: str
    columns: dict[str, str]
    labels: dict[str, str]


class KubernetesPodDetail(KubernetesPod, kw_only=True, frozen=True):
    """A pod, with the whole `object`; for those who are no administrators what may hold secrets is `***` in it."""

    object: dict[str, Any]


class KubernetesDeploymentDetail(KubernetesDeployment, kw_only=True, frozen=True):
    """A deployment, with the whole `object`; for those who are no administrators what may hold secrets is `***`."""

    object: dict[str, Any]


class KubernetesServiceDetail(KubernetesService, kw_only=True, frozen=True):
    """A service, with the whole `object`; for those who are no administrators its annotations are `***`."""

    object: dict[str, Any]


class KubernetesResourceDetail(KubernetesResource, kw_only=True, frozen=True):
    """An object of any kind, whole; for those who are no administrators what may hold secrets is `***` in it."""

    object: dict[str, Any]
