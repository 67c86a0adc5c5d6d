"""containers/…: the containers of whichever runtime is there."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from appliance.host.containers.log_text import read_text
from appliance.host.containers.runtime import Runtime, Runtimes
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import StreamReply
from appliance.identity.caller import Caller, administrator, reader
from appliance.system.envelope import NO_STORE
from appliance.system.models_containers import (
    TEXT_STREAM,
    ContainerChange,
    ContainerImageList,
    ContainerList,
    ContainerLog,
    ContainerReply,
    LogQuery,
    RemoveQuery,
    RuntimeQuery,
    StopQuery,
)


class ContainerEndpoints:
    """Containers of Docker, Podman and others, alike."""

    routes = Routes(prefix="/containers", tag="Containers")

    def __init__(self, reactor: Any, runtimes: Runtimes) -> None:
        self._reactor = reactor
        self._runtimes = runtimes

    @routes.get("", reply=ContainerList, who=reader, query=RuntimeQuery, statuses=(503,))
    async def list_containers(self, call: Call, query: RuntimeQuery) -> ContainerList:
        """All containers, also those that do not run."""
        found, runtime = await self._runtimes.ask(lambda runtime: runtime.containers(), query.runtime)
        if not sees_secrets(call):
            found = [each.masked() for each in found]
        return ContainerList(found, len(found), runtime)

    @routes.get("/images", reply=ContainerImageList, who=reader, query=RuntimeQuery, statuses=(503,))
    async def list_container_images(self, call: Call, query: RuntimeQuery) -> ContainerImageList:
        """All images that containers may be made of."""
        found, runtime = await self._runtimes.ask(lambda runtime: runtime.images(), query.runtime)
        return ContainerImageList(found, len(found), runtime)

    @routes.get("/<id>", reply=ContainerReply, who=reader, query=RuntimeQuery, statuses=(503,))
    async def get_container(self, call: Call, query: RuntimeQuery, id: str) -> ContainerReply:
        """A container by its id or name."""
        found, runtime = await self._runtimes.ask(lambda runtime: runtime.container(id), query.runtime)
        return ContainerReply(found if sees_secrets(call) else found.masked(), runtime)

    @routes.get("/<id>/logs", reply=ContainerLog, who=reader, query=LogQuery, streams=TEXT_STREAM, statuses=(503,))
    async def get_container_logs(self, call: Call, query: LogQuery, id: str) -> ContainerLog | StreamReply:
        """The log of a container, standard output and error in the order of writing.

        It has the last 2 MiB at the most; by `stream=true` all that is asked for comes as plain text, and by
        `follow=true` also what is written from then on.
        """
        options = query.options(self._reactor.seconds())
        log, runtime = await self._runtimes.ask(lambda runtime: runtime.log(id, options), query.runtime)
        if query.as_stream:
            return StreamReply(log, TEXT_STREAM, NO_STORE)
        read = await read_text(self._reactor, log)
        return ContainerLog(id, read.text, runtime, read.truncated)

    @routes.post(
        "/<id>/start",
        reply=ContainerChange,
        who=administrator,
        query=RuntimeQuery,
        audit="container.start",
        statuses=(409, 503),
    )
    async def start_container(self, call: Call, query: RuntimeQuery, id: str) -> ContainerChange:
        """Start a container; one that runs already is no error."""
        return await self._change(call, id, "start", query.runtime, lambda runtime: runtime.start(id))

    @routes.post(
        "/<id>/stop",
        reply=ContainerChange,
        who=administrator,
        query=StopQuery,
        audit="container.stop",
        statuses=(409, 503),
    )
    async def stop_container(self, call: Call, query: StopQuery, id: str) -> ContainerChange:
        """Stop a container; one that does not run is no error."""
        return await self._change(call, id, "stop", query.runtime, lambda runtime: runtime.stop(id, query.timeout))

    @routes.delete(
        "/<id>",
        reply=ContainerChange,
        who=administrator,
        query=RemoveQuery,
        audit="container.delete",
        statuses=(409, 503),
    )
    async def delete_container(self, call: Call, query: RemoveQuery, id: str) -> ContainerChange:
        """Remove a container; one that runs is a 409 unless `force=true`."""
        call.audit_details["force"] = query.force
        return await self._change(
            call, id, "remove", query.runtime, lambda runtime: runtime.remove(id, force=query.force)
        )

    async def _change(
        self, call: Call, id: str, action: str, named: str, work: Callable[[Runtime], Awaitable[str]]
    ) -> ContainerChange:
        call.audit_object = id
        message, runtime = await self._runtimes.ask(work, named)
        return ContainerChange(id, action, message, True, runtime)


def sees_secrets(call: Call) -> bool:
    """Whether whoever asks may see environments, commands and the like."""
    return administrator.admits(cast(Caller, call.caller))  # there is one: nothing here is public
