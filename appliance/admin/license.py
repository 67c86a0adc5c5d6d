"""The licence: checked and kept by the script `license`, shown by it or by the vendor's own."""

import msgspec
from twisted.internet.defer import DeferredLock

from appliance.admin.directory import AdminDirectory
from appliance.admin.errors import Missing, Refused
from appliance.admin.scripts import Scripts
from appliance.files import write_atomic
from appliance.threads import Threads


class Licenses:
    """One licence at a time; an invalid one never replaces it."""

    def __init__(self, directory: AdminDirectory, scripts: Scripts, threads: Threads) -> None:
        self._directory = directory
        self._scripts = scripts
        self._threads = threads
        self._installing = DeferredLock()

    async def install(self, license: bytes) -> dict[str, object]:
        """Check and keep `license`; return its details. Raises `Refused` where the script refuses it."""
        await self._installing.acquire()
        try:
            await self._threads.run(write_atomic, self._directory.uploads / "license.asc", license, mode=0o600)
            finished = await self._scripts.run("license")
            await self._threads.run(self._directory.clear_uploads, ("license.asc",))
            if not finished.succeeded:
                raise Refused("Invalid license file")
            return await self.details()
        finally:
            self._installing.release()

    async def details(self) -> dict[str, object]:
        """Return the licence's details. Raises `Missing` where there is none, or none that is valid."""
        shown = await self._scripts.show_license()
        if not shown.succeeded:
            raise Missing
        try:
            return msgspec.json.decode(shown.stdout, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Missing from None
