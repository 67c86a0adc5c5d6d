"""What is used here of the Engine API's JSON.

Hardly anything is certain to be there: Podman leaves out, or sets to null, what Docker does not, and the reverse.
"""

from typing import Annotated

import msgspec

Labels = dict[str, str]

Moment = Annotated[int, msgspec.Meta(ge=-62_135_596_800, le=253_402_300_799)]
"""Seconds since 1970, in the years 1 to 9999."""


class _Wire(msgspec.Struct, rename="pascal", gc=False):
    """Members are named as in Docker's JSON, with a capital."""


class Component(_Wire):
    name: str = ""


class EngineVersion(_Wire):
    """GET /version."""

    api_version: str = ""
    min_api_version: str = msgspec.field(name="MinAPIVersion", default="")
    components: list[Component] | None = None


class Port(_Wire):
    private_port: int
    ip: str = msgspec.field(name="IP", default="")
    public_port: int = 0
    type: str = "tcp"


class ListedContainer(_Wire):
    """An entry of GET /containers/json. `created` is in seconds since 1970."""

    id: str
    names: list[str] | None = None
    image: str = ""
    image_id: str = msgspec.field(name="ImageID", default="")
    command: str = ""
    created: Moment = 0
    ports: list[Port] | None = None
    labels: Labels | None = None
    state: str = ""
    status: str = ""


class State(_Wire):
    status: str = ""
    running: bool = False
    paused: bool = False
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


class Config(_Wire):
    hostname: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    entrypoint: list[str] | str | None = None
    image: str = ""
    working_dir: str = ""
    labels: Labels | None = None


class RestartPolicy(_Wire):
    name: str = ""
    maximum_retry_count: int = 0


class HostConfig(_Wire):
    network_mode: str = ""
    restart_policy: RestartPolicy | None = None
    auto_remove: bool = False
    privileged: bool = False
    memory: int = 0
    memory_swap: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids_limit: int | None = None


class Mount(_Wire):
    destination: str = ""
    type: str = ""
    name: str = ""
    source: str = ""
    rw: bool = msgspec.field(name="RW", default=True)


class PortBinding(_Wire):
    host_ip: str = ""
    host_port: str = ""


class Endpoint(_Wire):
    """How a container stands in a network."""

    network_id: str = msgspec.field(name="NetworkID", default="")
    ip_address: str = msgspec.field(name="IPAddress", default="")
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    gateway: str = ""
    mac_address: str = ""


class NetworkSettings(_Wire):
    ports: dict[str, list[PortBinding] | None] | None = None
    networks: dict[str, Endpoint | None] | None = None


class InspectedContainer(_Wire):
    """GET /containers/{id}/json."""

    id: str
    config: Config
    state: State
    created: str = ""
    path: str = ""
    args: list[str] | None = None
    image: str = ""
    name: str = ""
    restart_count: int = 0
    driver: str = ""
    log_path: str = ""
    host_config: HostConfig | None = None
    mounts: list[Mount] | None = None
    network_settings: NetworkSettings | None = None


class CreatedContainer(_Wire):
    """POST /containers/create."""

    id: str
    warnings: list[str] | None = None


class CpuUsage(msgspec.Struct):
    total_usage: int = 0


class CpuStats(msgspec.Struct):
    cpu_usage: CpuUsage | None = None
    system_cpu_usage: int = 0
    online_cpus: int = 0


class MemoryStats(msgspec.Struct):
    usage: int = 0
    limit: int = 0
    stats: dict[str, int] | None = None


class NetworkStats(msgspec.Struct):
    rx_bytes: int = 0
    tx_bytes: int = 0


class BlockEntry(msgspec.Struct):
    op: str = ""
    value: int = 0


class BlockStats(msgspec.Struct):
    io_service_bytes_recursive: list[BlockEntry] | None = None


class PidsStats(msgspec.Struct):
    current: int = 0


class ContainerStats(msgspec.Struct):
    """GET /containers/{id}/stats."""

    read: str = ""
    cpu_stats: CpuStats | None = None
    precpu_stats: CpuStats | None = None
    memory_stats: MemoryStats | None = None
    networks: dict[str, NetworkStats] | None = None
    blkio_stats: BlockStats | None = None
    pids_stats: PidsStats | None = None


class ListedImage(_Wire):
    """An entry of GET /images/json. `created` is in seconds since 1970."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    created: Moment = 0
    size: int = 0
    containers: int = -1
    labels: Labels | None = None


class ProgressDetail(msgspec.Struct):
    current: int = 0
    total: int = 0


class ErrorDetail(msgspec.Struct):
    message: str = ""


class PullMessage(msgspec.Struct, rename="camel"):
    """A line of POST /images/create."""

    status: str = ""
    id: str = ""
    progress_detail: ProgressDetail | None = None
    error: str = ""
    error_detail: ErrorDetail | None = None


class Actor(_Wire):
    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] | None = None


class EventMessage(_Wire):
    """A line of GET /events. `time_nano` is in nanoseconds since 1970."""

    type: str = ""
    action: str = ""
    actor: Actor | None = None
    time_nano: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] = msgspec.field(name="timeNano", default=0)


class ExecMade(_Wire):
    """POST /containers/{id}/exec."""

    id: str


class ExecState(_Wire):
    """GET /exec/{id}/json. `pid` is that of the engine's process namespace."""

    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    container_id: str = msgspec.field(name="ContainerID", default="")


class Subnet(_Wire):
    subnet: str = ""
    gateway: str = ""


class Ipam(_Wire):
    config: list[Subnet] | None = None


class ListedNetwork(_Wire):
    """An entry of GET /networks."""

    name: str
    id: str = ""
    created: str = ""
    scope: str = ""
    driver: str = ""
    enable_ipv6: bool = msgspec.field(name="EnableIPv6", default=False)
    internal: bool = False
    attachable: bool = False
    ipam: Ipam | None = msgspec.field(name="IPAM", default=None)
    labels: Labels | None = None


class CreatedNetwork(_Wire):
    """POST /networks/create."""

    id: str
    warning: str = ""


class Volume(_Wire):
    """An entry of GET /volumes, and POST /volumes/create."""

    name: str
    driver: str = ""
    mountpoint: str = ""
    created_at: str = ""
    scope: str = ""
    labels: Labels | None = None
    options: dict[str, str] | None = None


class VolumeList(_Wire):
    """GET /volumes."""

    volumes: list[Volume] | None = None
