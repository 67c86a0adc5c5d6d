"""Audit of the admin surface: the log that all surfaces share, and the line format existing tools read."""

import fcntl
import os
import secrets
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from appliance.admin.directory import AdminDirectory
from appliance.database.audit import AuditLog
from appliance.database.trail import Trail
from appliance.http.call import Call
from appliance.threads import Threads

FILE_LIMIT = 10 * 1024 * 1024


class AdminAudit:
    """Writes each entry to the database first, then as a line to `A/log/jidoteki-audit.log`."""

    def __init__(self, clock: IReactorTime, log: AuditLog, directory: AdminDirectory, threads: Threads) -> None:
        self._clock = clock
        self._trail = Trail(log, "admin")
        self._path = directory.log / "jidoteki-audit.log"
        self._threads = threads

    async def record(self, call: Call, action: str, outcome: str) -> None:
        """Return once the entry is durable in the database and handed to the file. Never raises."""
        await self._trail.record(call, action, outcome)
        target = _quotable(call.audit_object or call.path)
        line = f'{self._clock.seconds():.9f},{secrets.token_hex(8)},web,admin,{action},"{target}"\n'
        try:
            await self._threads.run(append_line, self._path, line.encode())
        except OSError as error:
            self._trail.missed(call, action, outcome, error)


def append_line(path: Path, line: bytes, limit: int = FILE_LIMIT) -> None:
    """Append a line in one write; a file beyond `limit` bytes is set aside as `.1` first. Blocking; raises OSError."""
    while not _append(path, line, limit):
        pass


def _append(path: Path, line: bytes, limit: int) -> bool:
    """Append, or return False where the file that was opened is, or was meanwhile, set aside."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        opened = os.fstat(file)
        try:
            if not os.path.samestat(opened, os.stat(path, follow_symlinks=False)):
                return False
        except FileNotFoundError:
            return False
        if opened.st_size > limit:
            os.replace(path, path.with_name(path.name + ".1"))
            return False
        os.write(file, line)
        return True
    finally:
        os.close(file)


def _quotable(text: str) -> str:
    return "".join(character if character.isprintable() and character != '"' else "_" for character in text)
