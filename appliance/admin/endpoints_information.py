"""Sections 5 to 7 of the reference: version, changelog, build, health, endpoints, services, reboot."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.admin import figures
from appliance.admin.directory import AdminDirectory
from appliance.admin.models import Endpoints, Health, Services, Status, Version
from appliance.admin.power import Power
from appliance.admin.scripts import Scripts
from appliance.admin.small_file import SmallFile
from appliance.admin.translate import as_answers
from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.errors import bad_request, not_found
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import administrator
from appliance.threads import Threads

PREFIX = "/api/v1/admin"
NO_CACHE = {"Cache-Control": "no-cache"}
_BUILD_LIMIT = 1024 * 1024


class InformationEndpoints:
    """What can be asked of the appliance."""

    routes = Routes(tag="Information")

    def __init__(
        self,
        clock: IReactorTime,
        directory: AdminDirectory,
        build_file: Path,
        scripts: Scripts,
        threads: Threads,
    ) -> None:
        self._directory = directory
        self._build_file = build_file
        self._scripts = scripts
        self._threads = threads
        self.paths: Sequence[str] = ()
        self._version = SmallFile(clock, directory.etc / "version.txt", _first_line)

    @routes.get("/version", reply=Version, who=administrator, statuses=(404,))
    async def version(self, call: Call) -> Version:
        """The installed version."""
        version = self._version.get()
        if version is None:
            raise not_found()
        return Version(version)

    @routes.get("/changelog", reply=str, who=administrator, statuses=(404,), produces="text/plain")
    async def changelog(self, call: Call) -> FileReply:
        """What the last update changed, as plain text."""
        return FileReply(self._directory.etc / "changelog.txt", "text/plain; charset=utf-8", NO_CACHE)

    @routes.get("/build", reply=dict[str, object], who=administrator, statuses=(404,))
    async def build(self, call: Call) -> Reply:
        """Facts of the build, as the vendor wrote them."""
        try:
            content = await self._threads.run(read_limited, self._build_file, _BUILD_LIMIT)
            msgspec.json.decode(content)
        except (OSError, FileTooLarge, NotARegularFile, msgspec.DecodeError, UnicodeDecodeError):
            raise not_found() from None
        return Reply(200, content, headers=NO_CACHE)

    @routes.get("/health", reply=Health, who=administrator)
    async def health(self, call: Call) -> Health | dict[str, object]:
        """Disk, memory and processor figures of this moment, or the vendor's own where they are fresh."""
        vendors = await self._threads.run(figures.vendors, self._directory.etc / "health.json")
        return vendors if vendors is not None else await self._threads.run(figures.live, self._directory.root)

    @routes.get("/endpoints", reply=Endpoints, who=administrator)
    async def endpoints(self, call: Call) -> Endpoints:
        """The first-level endpoints that are enabled."""
        return Endpoints([*(PREFIX + path for path in self.paths), "/docs"])

    @routes.get("/services", reply=Services, who=administrator, statuses=(400,))
    async def services(self, call: Call) -> Services:
        """Which services run: `running` or `not running`."""
        with as_answers():
            finished = await self._scripts.run("services")
        if not finished.succeeded:
            raise bad_request("The services' status is not to be had")
        try:
            return msgspec.json.decode(finished.stdout, type=Services)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise bad_request("The services' status is not to be had") from None


class RebootEndpoints:
    """Rebooting the machine."""

    routes = Routes(tag="Administration")

    def __init__(self, power: Power) -> None:
        self._power = power

    @routes.get(
        "/reboot",
        reply=Status,
        who=administrator,
        audit="reboot.get",
        status=202,
        statuses=(400,),
        cancellable=False,
    )
    async def reboot(self, call: Call) -> Reply:
        """Back up the settings, then reboot."""
        purpose = (call.header("Sec-Purpose") or call.header("Purpose") or "").lower()
        if "prefetch" in purpose:
            raise bad_request("Reboot is not available: the request is a prefetch")
        with as_answers():
            await self._power.reboot(call.address)
        headers = {**NO_CACHE, "Location": f"{PREFIX}/reboot"}
        return Reply(202, b'{"Status":"202 Accepted"}', headers=headers)


def _first_line(content: bytes) -> str | None:
    lines = content.decode("utf-8", "replace").splitlines()
    return lines[0].strip() if lines and lines[0].strip() else None
