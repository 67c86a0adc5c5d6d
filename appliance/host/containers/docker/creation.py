"""A container to be made: what may be asked for, checked, and put into the engine's words."""

import ipaddress
import re
import shlex
from typing import Annotated, Any, Literal

import msgspec

from appliance.host.containers.docker.names import NAME, check_image
from appliance.host.errors import Invalid

_TEXT = msgspec.Meta(max_length=4096)
_SHORT = msgspec.Meta(max_length=255)
_COUNT = msgspec.Meta(max_length=256)
_Text = Annotated[str, _TEXT]
_Command = Annotated[
    Annotated[list[_Text], _COUNT] | _Text,
    msgspec.Meta(description="Arguments; a text is taken apart as a shell would, and no shell is run."),
]

PortText = Annotated[str, msgspec.Meta(max_length=32)]
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_PORT_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_ENV_NAME = re.compile(r"[^=\0]+")
_NETWORK = re.compile(r"(?:container:)?[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_VOLUME = re.compile(NAME)
_CPUS = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*")
_MOUNT_OPTIONS = frozenset(
    ("ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "shared", "rshared", "slave", "rslave")
)


class HostPort(msgspec.Struct, rename="camel"):
    """Where a port of the container is published; an empty or missing port leaves the choice to the engine."""

    host_port: Annotated[str, _SHORT] | Annotated[int, msgspec.Meta(ge=0, le=65535)] = ""
    host_ip: Annotated[str, _SHORT] = ""


class VolumeMount(msgspec.Struct, rename="camel"):
    """A folder of the host, or a volume, by its path or name, and where it lies in the container."""

    source: Annotated[str, _TEXT]
    target: Annotated[str, _TEXT]
    read_only: bool = False


class RestartPolicy(msgspec.Struct, rename="camel"):
    """When the container is started again."""

    name: Literal["no", "always", "unless-stopped", "on-failure", ""] = "no"
    maximum_retry_count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class Resources(msgspec.Struct, rename="camel"):
    """What the container may use: bytes and CPUs; 0 or missing is no limit, `memorySwap` -1 any amount of swap."""

    memory: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)] = 0
    memory_swap: Annotated[int, msgspec.Meta(ge=-1, le=1 << 60)] = 0
    cpus: Annotated[float, msgspec.Meta(ge=0, le=4096)] = 0.0
    cpu_shares: Annotated[int, msgspec.Meta(ge=0, le=262_144)] = 0
    cpuset_cpus: Annotated[str, _SHORT] = ""
    pids_limit: Annotated[int, msgspec.Meta(ge=-1, le=1 << 22)] = 0


class NewContainer(msgspec.Struct, rename="camel", kw_only=True):
    """A container to be made.

    `env` is a list of `NAME=value`, or an object. `portBindings` is as `{"80/tcp": [{"hostPort": "8080"}]}`. Each of
    `volumes` is as `/srv/data:/data:ro`, `volume-name:/data`, `/data` for one without a name, or an object.
    """

    image: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    name: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    cmd: _Command | None = None
    entrypoint: _Command | None = None
    env: Annotated[list[_Text], msgspec.Meta(max_length=1024)] | dict[Annotated[str, _SHORT], _Text] | None = None
    port_bindings: dict[PortText, Annotated[list[HostPort], _COUNT] | None] | None = None
    volumes: Annotated[list[_Text | VolumeMount], _COUNT] | None = None
    labels: dict[Annotated[str, _SHORT], _Text] | None = None
    network_mode: Annotated[str, _SHORT] | None = None
    restart_policy: RestartPolicy | Literal["no", "always", "unless-stopped", "on-failure"] | None = None
    resources: Resources | None = None
    working_dir: _Text | None = None
    user: Annotated[str, _SHORT] | None = None
    hostname: Annotated[str, _SHORT] | None = None
    tty: bool = False
    open_stdin: bool = False

    @property
    def env_names(self) -> list[str]:
        """The names of the environment, without the values, which may be secrets."""
        names = self.env or []
        return [each.partition("=")[0] for each in names]


def creation(new: NewContainer) -> dict[str, Any]:
    """The body of POST /containers/create. Raises `Invalid`."""
    host: dict[str, Any] = {}
    body: dict[str, Any] = {"Image": check_image("image", new.image), "HostConfig": host}
    _put(body, "Cmd", _arguments("cmd", new.cmd))
    _put(body, "Entrypoint", _arguments("entrypoint", new.entrypoint))
    _put(body, "Env", _environment(new))
    _put(body, "Labels", new.labels)
    _put(body, "WorkingDir", _inside("workingDir", new.working_dir) if new.working_dir else None)
    _put(body, "User", new.user)
    _put(body, "Hostname", new.hostname)
    if new.tty:
        body["Tty"] = True
    if new.open_stdin:
        body["OpenStdin"] = True
    _put_ports(body, host, new.port_bindings or {})
    _put_volumes(body, host, new.volumes or [])
    if new.network_mode:
        if _NETWORK.fullmatch(new.network_mode) is None:
            raise Invalid("networkMode", "bridge, host, none, container:NAME or the name of a network")
        host["NetworkMode"] = new.network_mode
    _put(host, "RestartPolicy", _restart_policy(new.restart_policy))
    if new.resources is not None:
        _put_resources(host, new.resources)
    return body


def _put(body: dict[str, Any], name: str, value: object) -> None:
    if value:
        body[name] = value


def _arguments(field: str, value: list[str] | str | None) -> list[str] | None:
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError:
        raise Invalid(field, "a quotation without an end") from None


def _environment(new: NewContainer) -> list[str] | None:
    pairs = [f"{name}={value}" for name, value in new.env.items()] if isinstance(new.env, dict) else new.env or []
    for number, pair in enumerate(pairs):
        if "\0" in pair or _ENV_NAME.match(pair) is None:
            raise Invalid(f"env[{number}]", "of the form NAME=value")  # and not what it is: that may be a secret
    return pairs


def _put_ports(body: dict[str, Any], host: dict[str, Any], bindings: dict[str, list[HostPort] | None]) -> None:
    ports: dict[str, list[dict[str, str]]] = {}
    for inside, published in bindings.items():
        found = _PORT.fullmatch(inside)
        if found is None or not 1 <= int(found[1]) <= 65535:
            raise Invalid("portBindings", f"{inside!r} is no port, as 80/tcp is")
        ports[f"{int(found[1])}/{found[2] or 'tcp'}"] = [_host_port(inside, each) for each in published or []]
    if ports:
        body["ExposedPorts"] = {name: {} for name in ports}
        host["PortBindings"] = ports


def _host_port(inside: str, published: HostPort) -> dict[str, str]:
    field, port = f"portBindings.{inside}", str(published.host_port)
    found = _PORT_RANGE.fullmatch(port)
    if port and (found is None or any(int(each) > 65535 for each in found.groups() if each is not None)):
        raise Invalid(field, "hostPort is a port, or a range as 8000-8010")
    if published.host_ip:
        try:
            ipaddress.ip_address(published.host_ip)
        except ValueError:
            raise Invalid(field, "hostIp is not an address") from None
    return {"HostPort": port, "HostIp": published.host_ip}


def _put_volumes(body: dict[str, Any], host: dict[str, Any], volumes: list[str | VolumeMount]) -> None:
    nameless: dict[str, dict[str, object]] = {}
    binds = []
    for number, volume in enumerate(volumes):
        field = f"volumes[{number}]"
        if isinstance(volume, str):
            source, *rest = volume.split(":")
            if not rest:
                nameless[_inside(field, source)] = {}
                continue
            target, options = rest[0], rest[1:]
        else:
            source, target, options = volume.source, volume.target, ["ro"] if volume.read_only else []
        binds.append(_bind(field, source, target, options))
    if nameless:
        body["Volumes"] = nameless
    if binds:
        host["Binds"] = binds


def _bind(field: str, source: str, target: str, options: list[str]) -> str:
    if source.startswith("/"):
        _inside(field, source)
    elif _VOLUME.fullmatch(source) is None:
        raise Invalid(field, f"{source[:100]!r} is neither an absolute path nor the name of a volume")
    _inside(field, target)
    if len(options) > 1 or not _MOUNT_OPTIONS.issuperset(",".join(options).split(",") if options else ()):
        raise Invalid(field, f"an option is none of {', '.join(sorted(_MOUNT_OPTIONS))}")
    return ":".join([source, target, *options])


def _inside(field: str, path: str) -> str:
    if not path.startswith("/") or ":" in path or not path.isprintable() or ".." in path.split("/"):
        raise Invalid(field, f"{path[:100]!r} is not an absolute path without `..` and `:`")
    return path


def _restart_policy(policy: RestartPolicy | str | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    if isinstance(policy, str):
        policy = RestartPolicy(policy)  # type: ignore[arg-type]  # one of the same literals
    name = policy.name or "no"
    if policy.maximum_retry_count and name != "on-failure":
        raise Invalid("restartPolicy", "maximumRetryCount goes with on-failure only")
    return {"Name": name, "MaximumRetryCount": policy.maximum_retry_count}


def _put_resources(host: dict[str, Any], resources: Resources) -> None:
    if resources.cpuset_cpus and _CPUS.fullmatch(resources.cpuset_cpus) is None:
        raise Invalid("resources.cpusetCpus", "CPUs as 0-2,4")
    if resources.memory_swap > 0 and not resources.memory:
        raise Invalid("resources.memorySwap", "goes with memory only")
    if 0 < resources.memory_swap < resources.memory:
        raise Invalid("resources.memorySwap", "memory and swap together: not less than memory")
    _put(host, "Memory", resources.memory)
    _put(host, "MemorySwap", resources.memory_swap)
    _put(host, "NanoCpus", round(resources.cpus * 1e9))
    _put(host, "CpuShares", resources.cpu_shares)
    _put(host, "CpusetCpus", resources.cpuset_cpus)
    _put(host, "PidsLimit", resources.pids_limit)
