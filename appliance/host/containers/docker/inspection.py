"""One container, looked at closely."""

from datetime import datetime

from appliance.host.containers.docker.listing import port_texts
from appliance.host.containers.docker.model import (
    ContainerLimits,
    ContainerMount,
    ContainerNetwork,
    ContainerState,
    DockerContainerDetails,
    DockerStats,
    RestartRule,
)
from appliance.host.containers.docker.wire import (
    ContainerStats,
    Endpoint,
    HostConfig,
    InspectedContainer,
    NetworkSettings,
    Port,
    RestartPolicy,
    State,
)

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time."""
_PAGE_CACHE = ("total_inactive_file", "inactive_file")
"""What memory holds of files that were read and may be dropped: under control groups of version 1, and of 2."""


def details(found: InspectedContainer) -> DockerContainerDetails:
    """What is shown of what an engine tells of a container."""
    config, host = found.config, found.host_config or HostConfig()
    networks = found.network_settings or NetworkSettings()
    restart = host.restart_policy or RestartPolicy()
    return DockerContainerDetails(
        id=found.id,
        name=found.name.removeprefix("/"),
        image=config.image,
        image_id=found.image,
        created=found.created,
        command=([found.path] if found.path else []) + (found.args or []),
        entrypoint=[config.entrypoint] if isinstance(config.entrypoint, str) else config.entrypoint or [],
        env=config.env or [],
        working_dir=config.working_dir,
        user=config.user,
        hostname=config.hostname,
        tty=config.tty,
        open_stdin=config.open_stdin,
        state=_state(found.state),
        restart_count=found.restart_count,
        restart_policy=RestartRule(restart.name or "no", restart.maximum_retry_count),
        auto_remove=host.auto_remove,
        privileged=host.privileged,
        network_mode=host.network_mode,
        networks=[_network(name, each or Endpoint()) for name, each in (networks.networks or {}).items()],
        ports=_ports(networks),
        mounts=[
            ContainerMount(each.type, each.name, each.source, each.destination, not each.rw)
            for each in found.mounts or []
        ],
        resources=ContainerLimits(
            memory=host.memory,
            memory_swap=host.memory_swap,
            cpus=host.nano_cpus / 1e9,
            cpu_shares=host.cpu_shares,
            cpuset_cpus=host.cpuset_cpus,
            pids_limit=host.pids_limit or 0,
        ),
        labels=config.labels or {},
        log_path=found.log_path,
    )


def lacks_earlier(found: ContainerStats) -> bool:
    """Whether the figures are of one moment only, as Podman gives them, of a container that runs."""
    before = found.precpu_stats
    return found.read not in ("", _NEVER) and (before is None or not before.system_cpu_usage)


def usage(container: str, found: ContainerStats, earlier: ContainerStats | None = None) -> DockerStats:
    """What is shown of an engine's figures, computed as docker(1) does; all 0 for a container that does not run.

    `earlier` are those of a moment ago, where `found` does not have them itself.
    """
    memory, limit = _memory(found)
    networks = (found.networks or {}).values()
    return DockerStats(
        container_id=container,
        read="" if found.read == _NEVER else found.read,
        cpu_percent=_cpu_percent(found) if earlier is None else _cpu_percent_since(earlier, found),
        online_cpus=found.cpu_stats.online_cpus if found.cpu_stats is not None else 0,
        memory_usage=memory,
        memory_limit=limit,
        memory_percent=round(memory / limit * 100, 2) if limit else 0.0,
        network_rx=sum(each.rx_bytes for each in networks),
        network_tx=sum(each.tx_bytes for each in networks),
        block_read=_blocks(found, "read"),
        block_write=_blocks(found, "write"),
        pids=found.pids_stats.current if found.pids_stats is not None else 0,
    )


def _state(state: State) -> ContainerState:
    return ContainerState(
        status=state.status,
        running=state.running,
        paused=state.paused,
        oom_killed=state.oom_killed,
        pid=state.pid,
        exit_code=state.exit_code,
        error=state.error,
        started_at=moment(state.started_at),
        finished_at=moment(state.finished_at),
    )


def moment(text: str) -> str:
    """A time as an engine tells it, empty where it has not come yet."""
    return "" if text == _NEVER else text


def _network(name: str, endpoint: Endpoint) -> ContainerNetwork:
    return ContainerNetwork(
        name=name,
        network_id=endpoint.network_id,
        ip_address=endpoint.ip_address,
        ipv6_address=endpoint.global_ipv6_address,
        gateway=endpoint.gateway,
        mac_address=endpoint.mac_address,
    )


def _ports(networks: NetworkSettings) -> list[str]:
    """The ports in the form of the list; an engine names them `80/tcp` here."""
    ports = []
    for name, bindings in (networks.ports or {}).items():
        number, _, kind = name.partition("/")
        if number.isascii() and number.isdigit():
            published = [int(each.host_port) for each in bindings or [] if each.host_port.isdigit()]
            ports += [Port(int(number), public_port=each, type=kind or "tcp") for each in published or [0]]
    return port_texts(ports)


def _cpu_percent(found: ContainerStats) -> float:
    now, before = found.cpu_stats, found.precpu_stats
    if now is None or now.cpu_usage is None or before is None or before.cpu_usage is None:
        return 0.0
    used = now.cpu_usage.total_usage - before.cpu_usage.total_usage
    passed = now.system_cpu_usage - before.system_cpu_usage
    return round(used / passed * (now.online_cpus or 1) * 100, 2) if used > 0 and passed > 0 else 0.0


def _cpu_percent_since(earlier: ContainerStats, found: ContainerStats) -> float:
    now, before = found.cpu_stats, earlier.cpu_stats
    if now is None or now.cpu_usage is None or before is None or before.cpu_usage is None:
        return 0.0
    try:
        passed = (datetime.fromisoformat(found.read) - datetime.fromisoformat(earlier.read)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    used = now.cpu_usage.total_usage - before.cpu_usage.total_usage
    return round(used / (passed * 1e9) * 100, 2) if used > 0 and passed > 0 else 0.0


def _memory(found: ContainerStats) -> tuple[int, int]:
    memory = found.memory_stats
    if memory is None:
        return 0, 0
    cache = next((memory.stats[name] for name in _PAGE_CACHE if name in memory.stats), 0) if memory.stats else 0
    return max(memory.usage - cache, 0), memory.limit


def _blocks(found: ContainerStats, operation: str) -> int:
    entries = (found.blkio_stats.io_service_bytes_recursive if found.blkio_stats is not None else None) or []
    return sum(entry.value for entry in entries if entry.op.lower() == operation)
