"""Uploads that can be taken up again after a broken connection: files that grow until they are complete.

The file is all the state there is: its name holds the upload's id, its size is the offset. A killed server loses
nothing of an upload but the bytes it had not written yet, and the client asks where to go on.
"""

import hashlib
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from appliance.admin.directory import AdminDirectory
from appliance.admin.errors import Missing, Refused
from appliance.http.uploads import Upload

PREFIX = ".resumable-"
KEEP_SECONDS = 86400.0
MAX_UNFINISHED = 8
_ID = re.compile(r"[0-9a-f]{32}")
_BLOCK = 1024 * 1024


class ResumableUploads:
    """The unfinished uploads of the hand-over folder. Every method blocks and belongs in a thread."""

    def __init__(self, directory: AdminDirectory) -> None:
        self._directory = directory

    def new_path(self) -> Path:
        """Return where a new upload goes. Raises `Refused` when there are eight younger than a day already."""
        self.sweep()
        if len(self._unfinished()) >= MAX_UNFINISHED:
            raise Refused(f"Too many unfinished uploads. Allowed: <= {MAX_UNFINISHED}")
        return self._directory.uploads / f"{PREFIX}{secrets.token_hex(16)}"

    def path(self, id: str) -> Path:
        """Return the file of an upload. Raises `Missing` for an id that is none of ours."""
        if _ID.fullmatch(id):
            for path in self._unfinished():
                if path.name == f"{PREFIX}{id}":
                    return path
        raise Missing

    def offset(self, id: str) -> int:
        """Return how many bytes there are. Raises `Missing`."""
        try:
            return self.path(id).stat().st_size
        except FileNotFoundError:
            raise Missing from None

    def cancel(self, id: str) -> None:
        """Delete an upload. Raises `Missing`."""
        self.path(id).unlink(missing_ok=True)

    def complete(self, id: str) -> Upload:
        """Return the finished file with its hash. Raises `Missing`."""
        path = self.path(id)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return Upload(path, path.stat().st_size, digest.hexdigest(), None)

    def sweep(self) -> None:
        """Delete uploads that nothing was added to for a day."""
        for path in self._unfinished():
            with suppress(FileNotFoundError):  # finished or given up meanwhile
                if time.time() - path.stat().st_mtime > KEEP_SECONDS:
                    path.unlink()

    def _unfinished(self) -> list[Path]:
        return list(self._directory.uploads.glob(f"{PREFIX}*"))
