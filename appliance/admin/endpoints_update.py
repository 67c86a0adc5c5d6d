"""Sections 3 and 4 of the reference: updates, log files and the debug bundle."""

from pathlib import Path

from appliance.admin.directory import AdminDirectory
from appliance.admin.endpoints_information import NO_CACHE, PREFIX
from appliance.admin.models import Accepted, UpdateForm, UpdateStatus
from appliance.admin.scripts import Scripts
from appliance.admin.translate import as_answers
from appliance.admin.update import Updates
from appliance.http.call import Call
from appliance.http.endpoints import FormBody, Routes
from appliance.http.errors import bad_request
from appliance.http.replies import FileReply
from appliance.identity.caller import administrator
from appliance.process.run import Finished


class UpdateEndpoints:
    """Updates of the system."""

    routes = Routes(prefix="/update", tag="Updates")

    def __init__(self, updates: Updates) -> None:
        self._updates = updates

    async def ensure_idle(self, call: Call) -> None:
        """Refuse an upload before it is read while an update runs."""
        with as_answers():
            await self._updates.ensure_idle()

    @routes.post(
        "",
        reply=Accepted,
        who=administrator,
        body=FormBody(UpdateForm, needs=("update",)),
        audit="update.post",
        status=202,
        statuses=(400, 413, 507),
        guard=ensure_idle,
    )
    async def post_update(self, call: Call, form: UpdateForm) -> Accepted:
        """Upload an update package and start the update.

        The file part `update` is streamed to disk; its SHA-256 is returned. Poll GET update for how it goes.
        """
        package = form.update
        if package is None or package.size == 0:
            raise bad_request("Missing or empty file: update")
        call.audit_details.update(sha256=package.sha256, size=package.size)
        with as_answers():
            await self._updates.start(package, call.address)
        return Accepted(f"{PREFIX}/update", package.sha256)

    @routes.get("", reply=UpdateStatus, who=administrator)
    async def get_update(self, call: Call) -> UpdateStatus:
        """Status, percentage and last ten log lines of the last update."""
        return await self._updates.status()

    @routes.get("/log", reply=str, who=administrator, statuses=(404,), produces="text/plain")
    async def update_log(self, call: Call) -> FileReply:
        """The whole update log."""
        return FileReply(self._updates.log, "text/plain; charset=utf-8", NO_CACHE)


class SupportEndpoints:
    """Files for whoever helps."""

    routes = Routes(tag="Support")

    def __init__(self, directory: AdminDirectory, scripts: Scripts) -> None:
        self._directory = directory
        self._scripts = scripts

    @routes.get(
        "/logs",
        reply=bytes,
        who=administrator,
        audit="logs.get",
        statuses=(400, 404),
        produces="application/octet-stream",
    )
    async def logs(self, call: Call) -> FileReply:
        """The log files, as logs.tar.gz."""
        return await self._made_by("logs", "logs.tar.gz")

    @routes.get(
        "/debug",
        reply=bytes,
        who=administrator,
        audit="debug.get",
        statuses=(400, 404),
        produces="application/octet-stream",
    )
    async def debug(self, call: Call) -> FileReply:
        """The encrypted debug bundle, as debug-bundle.tar."""
        return await self._made_by("debug", "debug-bundle.tar")

    async def _made_by(self, script: str, name: str) -> FileReply:
        with as_answers():
            finished = await self._scripts.run(script, timeout=600.0)
        if not finished.succeeded:
            raise bad_request(f"Making {name} failed: {last_words(finished)}")
        return attachment(self._directory.uploads / name)


def attachment(path: Path) -> FileReply:
    """A download under the file's own name; `Filename` is the reference's header, the other RFC 6266."""
    headers = {**NO_CACHE, "Filename": path.name, "Content-Disposition": f'attachment; filename="{path.name}"'}
    return FileReply(path, "application/octet-stream", headers)


def last_words(finished: Finished) -> str:
    """What a failed script said last on standard error, or how it ended where it said nothing."""
    lines = finished.stderr.decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:200] if said else finished.describe()
