"""Status and log files that scripts write and we read, and the few words we write into them ourselves.

Everything here blocks and belongs in a thread.
"""

import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from appliance.admin.audit import append_line
from appliance.admin.directory import AdminDirectory
from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic

STATUS_LIMIT = 64 * 1024
LOG_LIMIT = 64 * 1024 * 1024
TAIL_BYTES = 64 * 1024
TAIL_LINES = 10
RETRIES = 3
RETRY_PAUSE = 0.01

T = TypeVar("T")


class UpdateProgress(msgspec.Struct):
    """status_update.json."""

    status: str
    percentage: int | None = None


class JsonStatus:
    """A JSON status file; a half-written one is read again, and then the last good value stands for it."""

    def __init__(self) -> None:
        self._last: dict[Path, object] = {}

    def read(self, path: Path, type: type[T]) -> T | None:
        """Return the decoded file, None where there is none or it never was good."""
        for _ in range(RETRIES):
            try:
                value = msgspec.json.decode(read_limited(path, STATUS_LIMIT), type=type)
            except FileNotFoundError:
                self._last.pop(path, None)
                return None
            except (OSError, FileTooLarge, NotARegularFile, ValueError, msgspec.DecodeError):
                time.sleep(RETRY_PAUSE)
            else:
                self._last[path] = value
                return value
        last = self._last.get(path)
        return last if isinstance(last, type) else None


def read_word(path: Path) -> str | None:
    """Return the text of a small file without white space around it, None where it is missing or empty."""
    try:
        return read_limited(path, STATUS_LIMIT).decode("utf-8", "replace").strip() or None
    except (OSError, FileTooLarge, NotARegularFile):
        return None


def tail(path: Path) -> str | None:
    """Return a log's last ten lines joined by a backslash and an `n` (contract, "GET update"); None without a log."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    return "\\n".join(text.splitlines()[-TAIL_LINES:]) or None


def note(path: Path, text: str) -> None:
    """Append a line as the scripts do: `[epoch][SYSTEM] text`."""
    append_line(path, f"[{int(time.time())}][SYSTEM] {' '.join(text.splitlines())}\n".encode(), LOG_LIMIT)


class UpdateFiles:
    """The status of updates: status_update.json or the older status_update.txt, error files, log."""

    def __init__(self, directory: AdminDirectory) -> None:
        self.log = directory.log / "update.log"
        self._json = directory.etc / "status_update.json"
        self._text = directory.etc / "status_update.txt"
        self._message = directory.etc / "status_error_message.txt"
        self._code = directory.etc / "status_error_code.txt"
        self._reader = JsonStatus()

    def progress(self) -> UpdateProgress | None:
        """Return status and percentage, None where there was no update yet. The newer of both files counts."""
        progress = self._reader.read(self._json, UpdateProgress)
        word = read_word(self._text)
        if word is not None and (progress is None or _changed(self._text) > _changed(self._json)):
            return UpdateProgress(word)
        return progress

    def error(self) -> tuple[str | None, str | None]:
        """Return message and code of the last failure."""
        return read_word(self._message), read_word(self._code)

    def begin(self) -> None:
        """An update has been accepted: what an earlier one left must not explain the end of this one."""
        self._write(UpdateProgress("running", 0))
        for path in (self._text, self._message, self._code):
            path.unlink(missing_ok=True)

    def succeed(self) -> None:
        """The script ended well without saying so."""
        self._message.unlink(missing_ok=True)
        self._code.unlink(missing_ok=True)
        self._write(UpdateProgress("success", 100))
        note(self.log, "Updating system successful")

    def fail(self, message: str, code: str) -> None:
        """The script ended without telling how; the percentage stays what it was."""
        progress = self.progress()
        write_atomic(self._message, f"{message}\n".encode(), mode=0o644)
        write_atomic(self._code, f"{code}\n".encode(), mode=0o644)
        self._write(UpdateProgress("failed", progress.percentage if progress is not None else 0))
        self._text.unlink(missing_ok=True)
        note(self.log, f"Failed updating: {message}")

    def _write(self, progress: UpdateProgress) -> None:
        write_atomic(self._json, msgspec.json.encode(progress), mode=0o644)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
