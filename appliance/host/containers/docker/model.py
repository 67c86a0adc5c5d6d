"""What is told of Docker's things. Masking is done here, so that a new member is not shown by an oversight."""

from typing import Any, TypeVar

import msgspec

from appliance.host.containers.masking import mask_command, mask_env, mask_labels, mask_values
from appliance.secret import MASK

StructT = TypeVar("StructT", bound=msgspec.Struct)


class _Shown(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """Members are named as in Docker's own clients."""


class DockerContainer(_Shown, frozen=True):
    """A container in the list; `created` is in seconds since 1970. `ports` are as `80/tcp->8080/tcp`, inside first.

    For those who are no administrators `command` is `***`, and so are labels, but for those of Compose and the like.
    """

    id: str
    names: list[str]
    image: str
    image_id: str
    command: str
    created: int
    state: str
    status: str
    ports: list[str]
    labels: dict[str, str]

    def masked(self) -> "DockerContainer":
        """Without what may hold secrets."""
        return _replaced(self, command=MASK, labels=mask_labels(self.labels))


class ContainerState(_Shown, frozen=True):
    """How a container runs, or has ended. Times are RFC 3339, empty where there is none."""

    status: str
    running: bool
    paused: bool
    oom_killed: bool
    pid: int
    exit_code: int
    error: str
    started_at: str
    finished_at: str


class ContainerMount(_Shown, frozen=True):
    """Something of the host in a container: `type` is `bind`, `volume` or `tmpfs`."""

    type: str
    name: str
    source: str
    target: str
    read_only: bool


class ContainerNetwork(_Shown, frozen=True):
    """How a container stands in a network."""

    name: str
    network_id: str
    ip_address: str
    ipv6_address: str
    gateway: str
    mac_address: str


class ContainerLimits(_Shown, frozen=True):
    """What a container may use: bytes, CPUs; 0 is no limit."""

    memory: int
    memory_swap: int
    cpus: float
    cpu_shares: int
    cpuset_cpus: str
    pids_limit: int


class RestartRule(_Shown, frozen=True):
    """When a container is started again."""

    name: str
    maximum_retry_count: int


class DockerContainerDetails(_Shown, frozen=True):
    """A container as Docker inspects it.

    For those who are no administrators `command`, `entrypoint` and the values of `env` are `***`, and so are labels,
    but for those of Compose and the like.
    """

    id: str
    name: str
    image: str
    image_id: str
    created: str
    command: list[str]
    entrypoint: list[str]
    env: list[str]
    working_dir: str
    user: str
    hostname: str
    tty: bool
    open_stdin: bool
    state: ContainerState
    restart_count: int
    restart_policy: RestartRule
    auto_remove: bool
    privileged: bool
    network_mode: str
    networks: list[ContainerNetwork]
    ports: list[str]
    mounts: list[ContainerMount]
    resources: ContainerLimits
    labels: dict[str, str]
    log_path: str

    def masked(self) -> "DockerContainerDetails":
        """Without what may hold secrets."""
        return _replaced(
            self,
            command=mask_command(self.command),
            entrypoint=mask_command(self.entrypoint),
            env=mask_env(self.env),
            labels=mask_labels(self.labels),
        )


class DockerStats(_Shown, frozen=True):
    """What a container uses at the moment: bytes, and percent of one CPU and of the memory it may use."""

    container_id: str
    read: str
    cpu_percent: float
    online_cpus: int
    memory_usage: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    block_read: int
    block_write: int
    pids: int


class DockerImage(_Shown, frozen=True):
    """An image; `created` is in seconds since 1970, `size` in bytes."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    created: int
    size: int
    labels: dict[str, str]


class RemovedImage(_Shown, frozen=True):
    """What the removal of an image took away."""

    untagged: list[str]
    deleted: list[str]


class DockerSubnet(_Shown, frozen=True):
    """A range of addresses in a network."""

    subnet: str
    gateway: str


class DockerNetwork(_Shown, frozen=True):
    """A network. For those who are no administrators most labels are `***`."""

    id: str
    name: str
    driver: str
    scope: str
    internal: bool
    attachable: bool
    enable_ipv6: bool = msgspec.field(name="enableIPv6")
    subnets: list[DockerSubnet]
    created: str
    labels: dict[str, str]

    def masked(self) -> "DockerNetwork":
        """Without what may hold secrets."""
        return _replaced(self, labels=mask_labels(self.labels))


class DockerVolume(_Shown, frozen=True):
    """A volume. For those who are no administrators options and most labels are `***`."""

    name: str
    driver: str
    mountpoint: str
    scope: str
    created_at: str
    labels: dict[str, str]
    options: dict[str, str]

    def masked(self) -> "DockerVolume":
        """Without what may hold secrets: a network share's password stands among its options."""
        return _replaced(self, labels=mask_labels(self.labels), options=mask_values(self.options))


def _replaced(struct: StructT, **changes: Any) -> StructT:
    return msgspec.structs.replace(struct, **changes)
