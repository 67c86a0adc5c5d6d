"""Images: listed and removed. `pulls` brings them."""

import msgspec

from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.model import DockerImage, RemovedImage
from appliance.host.containers.docker.names import check_image
from appliance.host.containers.docker.wire import ListedImage

_REMOVE_SECONDS = 300.0
_NO_NAME = ("<none>:<none>", "<none>@<none>")


class _Removed(msgspec.Struct, rename="pascal"):
    untagged: str = ""
    deleted: str = ""


class DockerImages:
    """The engine's images."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    async def images(self) -> list[DockerImage]:
        """All images but those that are only layers of others. Raises `EngineError`."""
        found = (await self._client.call("GET", "/images/json")).decode(list[ListedImage])
        return [
            DockerImage(
                id=each.id,
                repo_tags=_names(each.repo_tags),
                repo_digests=_names(each.repo_digests),
                created=each.created,
                size=each.size,
                labels=each.labels or {},
            )
            for each in found
        ]

    async def remove(self, id: str, *, force: bool = False) -> RemovedImage:
        """Remove an image by id, or a name of one; with `force` although containers that do not run are made of it.

        Raises `Invalid`, `Unknown`, `Conflict` or `EngineError`.
        """
        image = check_image("id", id)
        query = {"force": "1" if force else "0"}
        answer = await self._client.call("DELETE", f"/images/{segment(image)}", query, seconds=_REMOVE_SECONDS)
        removed = answer.decode(list[_Removed])
        return RemovedImage(
            untagged=[each.untagged for each in removed if each.untagged],
            deleted=[each.deleted for each in removed if each.deleted],
        )


def _names(names: list[str] | None) -> list[str]:
    return [name for name in names or [] if name not in _NO_NAME]
