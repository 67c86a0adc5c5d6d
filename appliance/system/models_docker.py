"""What is asked of the Docker endpoints, and the wrappers of their replies."""

from typing import Annotated

import msgspec

from appliance.host.containers.docker.listing import FILTERS_LIMIT
from appliance.host.containers.docker.model import DockerContainer, DockerImage, DockerNetwork, DockerVolume

_FILTERS = 'As of Docker: `{"status":["running"],"label":["a=b"]}`, or one as `status=running`.'
_PATIENCE = "Seconds that the container gets to end by itself; 10 where neither this nor its own setting says."


class PsQuery(msgspec.Struct):
    """Which containers."""

    all: Annotated[bool, msgspec.Meta(description="Also those that do not run.")] = False
    limit: Annotated[
        int, msgspec.Meta(ge=0, le=100_000, description="The newest so many, whether they run or not; 0 for all.")
    ] = 0
    filters: Annotated[str, msgspec.Meta(max_length=FILTERS_LIMIT, description=_FILTERS)] = ""


class PatienceQuery(msgspec.Struct):
    """How long to wait for the container."""

    timeout: Annotated[int, msgspec.Meta(ge=0, le=3600, description=_PATIENCE)] | None = None


class KillQuery(msgspec.Struct):
    """Which signal, SIGKILL where not given."""

    signal: Annotated[str, msgspec.Meta(max_length=16, description="Name or number, as SIGHUP or 1.")] | None = None


class RemoveContainerQuery(msgspec.Struct):
    """`force=true` also removes a container that runs, `volumes=true` its volumes without a name as well."""

    force: bool = False
    volumes: bool = False


class ForceQuery(msgspec.Struct):
    """`force=true` removes what would be kept otherwise."""

    force: bool = False


class PullBody(msgspec.Struct, rename="camel"):
    """The image to pull: `image`, or `imageName` and `tag` (`latest` where not given)."""

    image: Annotated[str, msgspec.Meta(max_length=512)] = ""
    image_name: Annotated[str, msgspec.Meta(max_length=512)] = ""
    tag: Annotated[str, msgspec.Meta(max_length=200)] = ""


class _Reply(msgspec.Struct, rename="camel"):
    """Members are named as in Docker's own clients."""


class DockerContainerList(_Reply):
    """Containers."""

    containers: list[DockerContainer]
    count: int


class DockerImageList(_Reply):
    """Images."""

    images: list[DockerImage]
    count: int


class DockerNetworkList(_Reply):
    """Networks."""

    networks: list[DockerNetwork]
    count: int


class DockerVolumeList(_Reply):
    """Volumes."""

    volumes: list[DockerVolume]
    count: int


class DockerLog(_Reply):
    """A log; `truncated` where only its end fits into this answer."""

    container_id: str
    logs: str
    truncated: bool


class DockerContainerMade(_Reply):
    """A container that was made."""

    container_id: str
    message: str
    success: bool
    warnings: list[str]


class DockerContainerChange(_Reply):
    """What was done to a container."""

    container_id: str
    action: str
    message: str
    success: bool


class DockerImageRemoved(_Reply):
    """What the removal of an image took away."""

    image_id: str
    message: str
    success: bool
    untagged: list[str]
    deleted: list[str]


class DockerNetworkMade(_Reply):
    """A network that was made."""

    network_id: str
    name: str
    message: str
    success: bool
    warning: str


class DockerNetworkRemoved(_Reply):
    """A network that was removed."""

    network_id: str
    message: str
    success: bool


class DockerVolumeMade(_Reply):
    """A volume that was made."""

    volume: DockerVolume
    name: str
    message: str
    success: bool


class DockerVolumeRemoved(_Reply):
    """A volume that was removed."""

    name: str
    message: str
    success: bool
