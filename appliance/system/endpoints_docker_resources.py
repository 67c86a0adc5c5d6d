"""docker/images, docker/networks and docker/volumes: what Docker's containers are made of, and what they share."""

from typing import cast

from appliance.host.containers.docker.docker import Docker
from appliance.host.containers.docker.names import ImageReference, parse_reference
from appliance.host.containers.docker.networks import NewNetwork
from appliance.host.containers.docker.pulls import CREDENTIALS, Pulled, parse_credentials
from appliance.host.containers.docker.volumes import NewVolume
from appliance.host.errors import Invalid
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import Caller, administrator, reader
from appliance.system.accepted import accepted
from appliance.system.endpoints_containers import sees_secrets
from appliance.system.models_docker import (
    DockerImageList,
    DockerImageRemoved,
    DockerNetworkList,
    DockerNetworkMade,
    DockerNetworkRemoved,
    DockerVolumeList,
    DockerVolumeMade,
    DockerVolumeRemoved,
    ForceQuery,
    PullBody,
)
from appliance.system.models_jobs import wants_to_wait

_CHANGES = (409, 503)


class DockerResourceEndpoints:
    """Images, networks and volumes."""

    routes = Routes(prefix="/docker", tag="Docker")

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    @routes.get("/images", reply=DockerImageList, who=reader, statuses=(503,))
    async def list_docker_images(self, call: Call) -> DockerImageList:
        """All images."""
        images = await self._docker.images.images()
        return DockerImageList(images, len(images))

    @routes.post(
        "/images/pull",
        reply=Pulled,
        who=administrator,
        body=JsonBody(PullBody),
        audit="docker.image.pull",
        statuses=(202, 404, *_CHANGES),
    )
    async def pull_docker_image(self, call: Call, body: PullBody) -> Pulled | Reply | FileReply:
        """Bring an image from its registry.

        The answer comes when the image is here; with `Prefer: respond-async` it is 202 as soon as the pull has begun,
        and `Location` is where its job can be watched. Credentials for the registry may stand in the header
        `X-Registry-Auth` as Docker takes them: JSON in base64. They are used for this pull and kept nowhere.
        """
        reference = _wanted(body)
        call.audit_object = str(reference)
        credentials = parse_credentials(call.header(CREDENTIALS))
        call.audit_details["with_credentials"] = credentials is not None
        wait = wants_to_wait(call)
        owner = cast(Caller, call.caller).name
        pulled = await self._docker.pulls.pull(reference, credentials=credentials, owner=owner, wait=wait)
        return pulled if wait else accepted(pulled, pulled.job, call)

    @routes.delete(
        "/images/<path:id>",
        reply=DockerImageRemoved,
        who=administrator,
        query=ForceQuery,
        audit="docker.image.delete",
        statuses=_CHANGES,
    )
    async def delete_docker_image(self, call: Call, query: ForceQuery, id: str) -> DockerImageRemoved:
        """Remove an image by its id or name; one that containers are made of is a 409, unless they are all ended and
        `force=true`."""
        call.audit_object = id
        call.audit_details["force"] = query.force
        removed = await self._docker.images.remove(id, force=query.force)
        return DockerImageRemoved(id, f"Image {id} removed", True, removed.untagged, removed.deleted)

    @routes.get("/networks", reply=DockerNetworkList, who=reader, statuses=(503,))
    async def list_docker_networks(self, call: Call) -> DockerNetworkList:
        """All networks."""
        networks = await self._docker.networks.networks()
        if not sees_secrets(call):
            networks = [each.masked() for each in networks]
        return DockerNetworkList(networks, len(networks))

    @routes.post(
        "/networks",
        reply=DockerNetworkMade,
        who=administrator,
        body=JsonBody(NewNetwork),
        audit="docker.network.create",
        status=201,
        statuses=(404, *_CHANGES),
    )
    async def create_docker_network(self, call: Call, body: NewNetwork) -> DockerNetworkMade:
        """Make a network."""
        call.audit_object = body.name
        call.audit_details = {"driver": body.driver, "subnet": body.subnet, "internal": body.internal}
        id, warning = await self._docker.networks.create(body)
        return DockerNetworkMade(id, body.name, f"Network {body.name} created", True, warning)

    @routes.delete(
        "/networks/<id>",
        reply=DockerNetworkRemoved,
        who=administrator,
        audit="docker.network.delete",
        statuses=_CHANGES,
    )
    async def delete_docker_network(self, call: Call, id: str) -> DockerNetworkRemoved:
        """Remove a network that no container is in."""
        call.audit_object = id
        await self._docker.networks.remove(id)
        return DockerNetworkRemoved(id, f"Network {id} removed", True)

    @routes.get("/volumes", reply=DockerVolumeList, who=reader, statuses=(503,))
    async def list_docker_volumes(self, call: Call) -> DockerVolumeList:
        """All volumes."""
        volumes = await self._docker.volumes.volumes()
        if not sees_secrets(call):
            volumes = [each.masked() for each in volumes]
        return DockerVolumeList(volumes, len(volumes))

    @routes.post(
        "/volumes",
        reply=DockerVolumeMade,
        who=administrator,
        body=JsonBody(NewVolume),
        audit="docker.volume.create",
        status=201,
        statuses=(404, *_CHANGES),
    )
    async def create_docker_volume(self, call: Call, body: NewVolume) -> DockerVolumeMade:
        """Make a volume."""
        call.audit_object = body.name or ""
        call.audit_details = {"driver": body.driver, "options": sorted(body.options or {})}
        volume = await self._docker.volumes.create(body)
        call.audit_object = volume.name
        return DockerVolumeMade(volume, volume.name, f"Volume {volume.name} created", True)

    @routes.delete(
        "/volumes/<name>",
        reply=DockerVolumeRemoved,
        who=administrator,
        query=ForceQuery,
        audit="docker.volume.delete",
        statuses=_CHANGES,
    )
    async def delete_docker_volume(self, call: Call, query: ForceQuery, name: str) -> DockerVolumeRemoved:
        """Remove a volume that no container uses, with all that is in it."""
        call.audit_object = name
        await self._docker.volumes.remove(name, force=query.force)
        return DockerVolumeRemoved(name, f"Volume {name} removed", True)


def _wanted(body: PullBody) -> ImageReference:
    if body.image and body.image_name and body.image != body.image_name:
        raise Invalid("imageName", "another name of image, which was given another value")
    if body.image:
        return parse_reference("image", body.image, body.tag)
    return parse_reference("imageName", body.image_name, body.tag)
