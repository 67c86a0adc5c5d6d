"""The settings that scripts have accepted into `A/etc`, as they are shown."""

from pathlib import Path

import msgspec

from appliance.admin.directory import AdminDirectory
from appliance.admin.errors import Missing
from appliance.admin.models import SettingsView
from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.threads import Threads

_LIMIT = 2 * 1024 * 1024


class AcceptedSettings:
    """Reads app.json, network.json and storage.json. Every method raises `Missing` where there is nothing to show."""

    def __init__(self, directory: AdminDirectory, threads: Threads) -> None:
        self._directory = directory
        self._threads = threads

    async def settings(self) -> SettingsView:
        """Network and application settings; both files must be there."""
        network = await self._threads.run(_read, self._directory.etc / "network.json")
        app = await self._threads.run(_read, self._directory.etc / "app.json")
        if not isinstance(network, dict):
            raise Missing
        return SettingsView(network, app)

    async def storage(self) -> dict[str, object]:
        """The storage settings."""
        document = await self._threads.run(_read, self._directory.etc / "storage.json")
        storage = document.get("storage") if isinstance(document, dict) else None
        if not isinstance(storage, dict):
            raise Missing
        return storage


def _read(path: Path) -> object:
    try:
        return msgspec.json.decode(read_limited(path, _LIMIT))
    except (OSError, FileTooLarge, NotARegularFile, msgspec.DecodeError, UnicodeDecodeError):
        raise Missing from None
