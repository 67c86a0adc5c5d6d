"""docker/ps and docker/containers/…: the containers of Docker or Podman, with all that Docker knows of them."""

from typing import Any

import msgspec

from appliance.host.containers.docker.containers import Action
from appliance.host.containers.docker.creation import NewContainer
from appliance.host.containers.docker.docker import Docker
from appliance.host.containers.docker.listing import parse_filters
from appliance.host.containers.docker.model import DockerContainer, DockerContainerDetails, DockerStats
from appliance.host.containers.log_text import read_text
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import StreamReply
from appliance.identity.caller import administrator, reader
from appliance.system.endpoints_containers import sees_secrets
from appliance.system.envelope import NO_STORE
from appliance.system.models_containers import TEXT_STREAM, LogQuery
from appliance.system.models_docker import (
    DockerContainerChange,
    DockerContainerList,
    DockerContainerMade,
    DockerLog,
    KillQuery,
    PatienceQuery,
    PsQuery,
    RemoveContainerQuery,
)

_CHANGES = (409, 503)


class DockerEndpoints:
    """Containers."""

    routes = Routes(prefix="/docker", tag="Docker")

    def __init__(self, reactor: Any, docker: Docker) -> None:
        self._reactor = reactor
        self._docker = docker
        self._encode = msgspec.json.Encoder().encode
        self._encoded_of: list[DockerContainer] | None = None
        self._encoded: dict[bool, msgspec.Raw] = {}

    @routes.get("/ps", reply=DockerContainerList, who=reader, query=PsQuery, statuses=(503,))
    async def docker_ps(self, call: Call, query: PsQuery) -> msgspec.Raw:
        """The containers that run, with `all=true` the others too."""
        filters = parse_filters(query.filters) if query.filters else None
        found = await self._docker.listing.containers(all=query.all, limit=query.limit, filters=filters)
        if found is not self._encoded_of:  # who asked at the same time gets the same list, encoded once
            self._encoded_of, self._encoded = found, {}
        whole = sees_secrets(call)
        if whole not in self._encoded:
            shown = found if whole else [each.masked() for each in found]
            self._encoded[whole] = msgspec.Raw(self._encode(DockerContainerList(shown, len(shown))))
        return self._encoded[whole]

    @routes.post(
        "/containers",
        reply=DockerContainerMade,
        who=administrator,
        body=JsonBody(NewContainer),
        audit="docker.container.create",
        status=201,
        statuses=(404, *_CHANGES),
    )
    async def create_docker_container(self, call: Call, body: NewContainer) -> DockerContainerMade:
        """Make a container, which is not started by that; its image must be here already."""
        call.audit_object = body.name or body.image
        call.audit_details = {
            "image": body.image,
            "env": body.env_names,
            "volumes": len(body.volumes or []),
            "ports": list(body.port_bindings or {}),
            "network_mode": body.network_mode,
        }
        id, warnings = await self._docker.containers.create(body)
        call.audit_details["id"] = id
        return DockerContainerMade(id, f"Container {body.name or id[:12]} created", True, warnings)

    @routes.get("/containers/<id>", reply=DockerContainerDetails, who=reader, statuses=(503,))
    async def get_docker_container(self, call: Call, id: str) -> DockerContainerDetails:
        """A container by its id or name, looked at closely."""
        found = await self._docker.containers.details(id)
        return found if sees_secrets(call) else found.masked()

    @routes.get(
        "/containers/<id>/logs", reply=DockerLog, who=reader, query=LogQuery, streams=TEXT_STREAM, statuses=(503,)
    )
    async def get_docker_container_logs(self, call: Call, query: LogQuery, id: str) -> DockerLog | StreamReply:
        """The log of a container, standard output and error in the order of writing.

        It has the last 2 MiB at the most; by `stream=true` all that is asked for comes as plain text, and by
        `follow=true` also what is written from then on.
        """
        log = await self._docker.logs.open(id, query.options(self._reactor.seconds()))
        if query.as_stream:
            return StreamReply(log, TEXT_STREAM, NO_STORE)
        read = await read_text(self._reactor, log)
        return DockerLog(id, read.text, read.truncated)

    @routes.get("/containers/<id>/stats", reply=DockerStats, who=reader, statuses=(503,))
    async def get_docker_container_stats(self, call: Call, id: str) -> DockerStats:
        """What a container uses: measured over a second or two, for which the answer waits."""
        return await self._docker.containers.stats(id)

    @routes.post(
        "/containers/<id>/start",
        reply=DockerContainerChange,
        who=administrator,
        audit="docker.container.start",
        statuses=_CHANGES,
    )
    async def start_docker_container(self, call: Call, id: str) -> DockerContainerChange:
        """Start a container; one that runs already is no error."""
        return await self._act(call, id, "start")

    @routes.post(
        "/containers/<id>/stop",
        reply=DockerContainerChange,
        who=administrator,
        query=PatienceQuery,
        audit="docker.container.stop",
        statuses=_CHANGES,
    )
    async def stop_docker_container(self, call: Call, query: PatienceQuery, id: str) -> DockerContainerChange:
        """Stop a container; one that does not run is no error."""
        return await self._act(call, id, "stop", patience=query.timeout)

    @routes.post(
        "/containers/<id>/restart",
        reply=DockerContainerChange,
        who=administrator,
        query=PatienceQuery,
        audit="docker.container.restart",
        statuses=_CHANGES,
    )
    async def restart_docker_container(self, call: Call, query: PatienceQuery, id: str) -> DockerContainerChange:
        """Stop a container, if it runs, and start it."""
        return await self._act(call, id, "restart", patience=query.timeout)

    @routes.post(
        "/containers/<id>/kill",
        reply=DockerContainerChange,
        who=administrator,
        query=KillQuery,
        audit="docker.container.kill",
        statuses=_CHANGES,
    )
    async def kill_docker_container(self, call: Call, query: KillQuery, id: str) -> DockerContainerChange:
        """Send a signal to a container that runs."""
        return await self._act(call, id, "kill", signal=query.signal)

    @routes.post(
        "/containers/<id>/pause",
        reply=DockerContainerChange,
        who=administrator,
        audit="docker.container.pause",
        statuses=_CHANGES,
    )
    async def pause_docker_container(self, call: Call, id: str) -> DockerContainerChange:
        """Freeze a container that runs."""
        return await self._act(call, id, "pause")

    @routes.post(
        "/containers/<id>/unpause",
        reply=DockerContainerChange,
        who=administrator,
        audit="docker.container.unpause",
        statuses=_CHANGES,
    )
    async def unpause_docker_container(self, call: Call, id: str) -> DockerContainerChange:
        """Let a paused container go on."""
        return await self._act(call, id, "unpause")

    @routes.delete(
        "/containers/<id>",
        reply=DockerContainerChange,
        who=administrator,
        query=RemoveContainerQuery,
        audit="docker.container.delete",
        statuses=_CHANGES,
    )
    async def delete_docker_container(self, call: Call, query: RemoveContainerQuery, id: str) -> DockerContainerChange:
        """Remove a container; one that runs is a 409 unless `force=true`."""
        call.audit_object = id
        call.audit_details = {"force": query.force, "volumes": query.volumes}
        message = await self._docker.containers.remove(id, force=query.force, volumes=query.volumes)
        return DockerContainerChange(id, "remove", message, True)

    async def _act(
        self, call: Call, id: str, action: Action, *, patience: int | None = None, signal: str | None = None
    ) -> DockerContainerChange:
        call.audit_object = id
        if signal is not None:
            call.audit_details["signal"] = signal
        message = await self._docker.containers.act(id, action, patience=patience, signal=signal)
        return DockerContainerChange(id, action, message, True)
