"""What keeps the log on this machine, at this moment."""

import shutil
from pathlib import Path

import msgspec

from appliance.host.journal import syslog_files
from appliance.host.journal.command import PROGRAM
from appliance.host.journal.files import scan
from appliance.process.command import ENVIRONMENT

SYSLOG_FOLDER = Path("/var/log")


class Presence(msgspec.Struct, frozen=True):
    """Whether there is the program journalctl, a journal for it to read, and a syslog file."""

    journalctl: bool
    journal: bool
    syslog: bool


def look(directory: Path | None, syslog_folder: Path) -> Presence:
    """Look in the journal's `directory` (None: where journalctl looks by itself) and in `syslog_folder`. Blocking."""
    return Presence(
        journalctl=shutil.which(PROGRAM, path=ENVIRONMENT["PATH"]) is not None,
        journal=bool(scan(directory)),
        syslog=bool(syslog_files.present(syslog_folder)),
    )
