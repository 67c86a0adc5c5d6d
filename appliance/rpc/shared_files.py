"""Two folders for clients and plugins to exchange files: downloads, and uploads under names of ours."""

import os
import stat
import time
import unicodedata
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import quote

from appliance.http import uploads
from appliance.http.uploads import Upload

KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long an upload lies that no plugin takes."""

_MAX_NAME: Final = 255
_PREFIX: Final = "upload-"


class InvalidFilename(Exception):
    """Not the name of a file that we would give or delete."""


class NoSuchFile(Exception):
    """There is no file of that name."""


class SharedFiles:
    """Every method blocks and raises OSError besides what it names. Links are never followed."""

    def __init__(self, downloads: Path, uploads: Path) -> None:
        self._downloads = downloads
        self.uploads = uploads

    def prepare(self) -> None:
        """Make the folders, sweep what a killed server left of unfinished uploads."""
        for folder in (self._downloads, self.uploads):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        uploads.sweep(self.uploads)

    def find(self, name: str) -> Path:
        """The download of that name. Raises `InvalidFilename` and `NoSuchFile`."""
        path = self._downloads / checked(name)
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchFile(name) from None
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchFile(name)
        return path

    def remove(self, name: str) -> None:
        """Delete a download. Raises `InvalidFilename` and `NoSuchFile`."""
        try:
            self.find(name).unlink()
        except FileNotFoundError:
            raise NoSuchFile(name) from None

    def keep(self, upload: Upload) -> str:
        """Give an upload the name under which plugins find it, and return that."""
        name = f"{_PREFIX}{uuid.uuid4()}"
        upload.take(self.uploads / name)
        return name

    def prune(self) -> None:
        """Delete uploads that nobody has taken for a week: they would fill the disk some day."""
        until = time.time() - KEPT_SECONDS
        for path in self.uploads.glob(f"{_PREFIX}*"):
            try:
                if os.lstat(path).st_mtime < until:
                    path.unlink()
            except (FileNotFoundError, IsADirectoryError):
                continue


def checked(name: str) -> str:
    """
    The name, if it is one of a file in a folder of ours; those that begin with a dot are being written, or hidden.

    Raises `InvalidFilename`.
    """
    if (
        not name
        or name[0] == "."
        or "/" in name
        or "\\" in name
        or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME
        or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
    ):
        raise InvalidFilename(name)
    return name


def disposition(name: str) -> str:
    """The value of Content-Disposition for a download (RFC 6266): a quoted name, and the exact one for all others."""
    plain = "".join(letter if 0x20 <= ord(letter) < 0x7F else "_" for letter in name)
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{quoted}"{exact}'
