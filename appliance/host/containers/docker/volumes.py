"""Volumes: listed, made and removed."""

from typing import Annotated

import msgspec

from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.model import DockerVolume
from appliance.host.containers.docker.names import NAME, check_name
from appliance.host.containers.docker.wire import Volume, VolumeList
from appliance.host.errors import Conflict, Unknown

_CHANGE_SECONDS = 60.0
_Short = Annotated[str, msgspec.Meta(max_length=255)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class NewVolume(msgspec.Struct, rename="camel", kw_only=True):
    """A volume to be made; `options` are those of its driver, and may hold secrets."""

    name: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    driver: Annotated[str, msgspec.Meta(pattern=NAME)] = "local"
    labels: dict[_Short, _Text] | None = None
    options: dict[_Short, _Text] | None = None


class DockerVolumes:
    """The engine's volumes."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    async def volumes(self) -> list[DockerVolume]:
        """All volumes. Raises `EngineError`."""
        found = (await self._client.call("GET", "/volumes")).decode(VolumeList).volumes
        return [_shown(each) for each in found or []]

    async def create(self, new: NewVolume) -> DockerVolume:
        """Make a volume, under a name of the engine's where none is given. Raises `Conflict` or `EngineError`."""
        body: dict[str, object] = {"Driver": new.driver, "Labels": new.labels or {}, "DriverOpts": new.options or {}}
        if new.name is not None:
            await self._refuse_existing(new.name)
            body["Name"] = new.name
        answer = await self._client.call("POST", "/volumes/create", json=body, seconds=_CHANGE_SECONDS)
        return _shown(answer.decode(Volume))

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume. Raises `Invalid`, `Unknown`, `Conflict` or `EngineError`."""
        check_name("name", name)
        query = {"force": "1" if force else "0"}
        await self._client.call("DELETE", f"/volumes/{segment(name)}", query, seconds=_CHANGE_SECONDS)

    async def _refuse_existing(self, name: str) -> None:
        """An engine says that it has made the volume that was there."""
        try:
            await self._client.call("GET", f"/volumes/{segment(name)}")
        except Unknown:
            return
        raise Conflict(f"There is a volume {name} already")


def _shown(volume: Volume) -> DockerVolume:
    return DockerVolume(
        name=volume.name,
        driver=volume.driver,
        mountpoint=volume.mountpoint,
        scope=volume.scope,
        created_at=volume.created_at,
        labels=volume.labels or {},
        options=volume.options or {},
    )
