"""The files of a folder, found through a map of what is there: nothing a client sends is joined to a path."""

import mimetypes
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.background import Background
from appliance.http.call import Call
from appliance.threads import Threads

RESCAN_AFTER = 5.0
MAX_ENTRIES = 20_000
MAX_DEPTH = 32

# Python's own table differs between its versions and lacks some of these.
_TYPES = {
    ".avif": "image/avif",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is now: its true path, and what tells this content from another."""

    path: Path
    size: int
    modified_ns: int

    @property
    def etag(self) -> str:
        """An entity tag (RFC 9110 section 8.8.3), new with each change of size or time."""
        return f'"{self.modified_ns:x}-{self.size:x}"'

    @property
    def last_modified(self) -> str:
        """The time of the last change as an HTTP date."""
        return formatdate(self.modified_ns // 1_000_000_000, usegmt=True)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at the folder found: paths below it (`assets/app.js`) with where they lie."""

    files: dict[str, Path]
    complete: bool


class StaticFiles:
    """The files below `folder`; with `only`, those of these names at its top and what lies below them.

    Names that begin with a dot are not served, nor are links that lead out of the folder. `refresh` looks
    through the folder, which may be absent.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, threads: Threads, folder: Path, only: Collection[str] | None = None
    ) -> None:
        self._clock = clock
        self._threads = threads
        self._folder = folder
        self._only = only
        self._types = ContentTypes()
        self._files: dict[str, Path] = {}
        self._scanned: float | None = None
        self._background = Background()
        self._waiting: list[Deferred[None]] | None = None

    async def refresh(self) -> None:
        """Look again, unless that was done in the last five seconds; who comes meanwhile shares one look."""
        if self._waiting is None:
            now = self._clock.seconds()
            if self._scanned is not None and 0 <= now - self._scanned < RESCAN_AFTER:
                return
            self._waiting = []
            self._background.spawn("looking through the web root", self._look(now))
        if self._waiting is not None:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn

    async def get(self, name: str) -> StaticFile | None:
        """Return the file `name` (`assets/app.js`) as it is now.

        None where the last look did not find it, or it is gone or leads out of the folder meanwhile.
        """
        path = self._files.get(name)
        return None if path is None else await self._threads.run(_examine, self._folder, path)

    def content_type(self, name: str) -> str:
        """Return the media type that belongs to a file name's ending."""
        return self._types.of(name)

    async def _look(self, now: float) -> None:
        try:
            found = await self._threads.run(scan, self._folder, self._only)
            self._files = found.files
            if not found.complete:
                self._log.warn(
                    "{folder} holds more than {limit} files and folders: the rest is not served",
                    folder=str(self._folder),
                    limit=MAX_ENTRIES,
                )
        finally:
            self._scanned = now
            waiting, self._waiting = self._waiting or [], None
            for turn in waiting:
                if not turn.called:  # cancelled: its client has gone
                    turn.callback(None)


class ContentTypes:
    """Media types by file name: Python's own table and ours, nothing of the machine's."""

    def __init__(self) -> None:
        self._table = mimetypes.MimeTypes()
        for ending, media_type in _TYPES.items():
            self._table.add_type(media_type, ending)

    def of(self, name: str) -> str:
        """Return the media type of `name`; text is UTF-8, what is unknown application/octet-stream."""
        media_type, encoding = self._table.guess_type("file" + os.path.splitext(name)[1])
        if encoding is not None:
            return _COMPRESSED.get(encoding, "application/octet-stream")
        if media_type is None:
            return "application/octet-stream"
        return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def scan(folder: Path, only: Collection[str] | None = None, limit: int = MAX_ENTRIES) -> Scan:
    """Look through `folder`, at `limit` entries at most. What cannot be read is left out. Blocking."""
    root = os.path.realpath(folder)
    files: dict[str, Path] = {}
    waiting: list[tuple[str, Path, frozenset[str]]] = [("", folder, frozenset({root}))]
    seen = 0
    while waiting:
        prefix, directory, above = waiting.pop()
        for entry in _entries(directory):
            if not prefix and only is not None and entry.name not in only:
                continue
            seen += 1
            if seen > limit:
                return Scan(files, complete=False)
            name, path = prefix + entry.name, directory / entry.name
            real = os.path.realpath(path) if entry.is_symlink() else ""
            if real and not _is_within(real, root):
                continue
            kind = _kind(path)
            if stat.S_ISREG(kind):
                files[name] = path
            elif stat.S_ISDIR(kind) and len(above) <= MAX_DEPTH:
                real = real or os.path.realpath(path)
                if real not in above:  # a link to a folder it lies in would never end
                    waiting.append((name + "/", path, above | {real}))
    return Scan(files, complete=True)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """The folder's visible entries whose names are Unicode, sorted; none where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
    return sorted((entry for entry in found if _is_unicode(entry.name)), key=lambda entry: entry.name)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _is_within(real: str, root: str) -> bool:
    return real.startswith(root.rstrip("/") + "/")


def _examine(folder: Path, path: Path) -> StaticFile | None:
    """Look at a file again: since the scan it or a folder above it may have become a link that leads away."""
    real = os.path.realpath(path)
    if not _is_within(real, os.path.realpath(folder)):
        return None
    try:
        status = os.lstat(real)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return StaticFile(Path(real), status.st_size, status.st_mtime_ns)


def is_unchanged(call: Call, etag: str, modified_ns: int | None = None) -> bool:
    """Whether the client holds this content already, so that a 304 will do (RFC 9110 section 13.2.2)."""
    match = call.header("If-None-Match")
    if match is not None:
        tags = {tag.strip().removeprefix("W/") for tag in match.split(",")}
        return etag in tags or tags == {"*"}
    since = call.header("If-Modified-Since")
    if since is None or modified_ns is None:
        return False
    try:
        given = parsedate_to_datetime(since)
        if given.tzinfo is None:
            given = given.replace(tzinfo=UTC)
        return modified_ns // 1_000_000_000 <= given.timestamp()
    except (ValueError, TypeError, OverflowError):
        return False  # a date that is none is to be ignored
