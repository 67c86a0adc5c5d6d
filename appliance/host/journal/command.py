"""From a filter to journalctl's arguments. Every value of a client stands behind a `--name=` or a `FIELD=` of ours."""

import re
from collections.abc import Sequence
from pathlib import Path

from appliance.host.journal.query import LogFilter

PROGRAM = "journalctl"

_UNIT_TYPES = (
    *(".service", ".socket", ".device", ".mount", ".automount", ".swap"),
    *(".target", ".path", ".timer", ".slice", ".scope"),
)
_COREDUMP = "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1"


def command(directory: Path | None, wanted: LogFilter, *options: str) -> list[str]:
    """Return journalctl's argument list for `wanted` (but not its times, see `span`) with further `options`."""
    argv = [PROGRAM, "--quiet", "--no-pager", *options]
    if directory is not None:
        argv.append(f"--directory={directory}")
    if wanted.priority is not None:
        argv.append(f"--priority={wanted.priority}")
    if wanted.search is not None:
        argv += [f"--grep={re.escape(wanted.search)}", "--case-sensitive=no"]
    if wanted.service is not None:
        argv += ["--", *_matches(wanted.service)]
    return argv


def span(wanted: LogFilter) -> Sequence[str]:
    """Return the options for the filter's times; journalctl takes no `--since` beside a cursor."""
    since = [] if wanted.since is None else [f"--since={_time(wanted.since)}"]
    return [*since, *until(wanted)]


def until(wanted: LogFilter) -> Sequence[str]:
    """Return the option for the end of the time asked for."""
    return [] if wanted.until is None else [f"--until={_time(wanted.until)}"]


def _time(microseconds: int) -> str:
    """Seconds since 1970 (systemd.time(7), "Parsing timestamps")."""
    return f"@{microseconds // 1_000_000}.{microseconds % 1_000_000:06}"


def _matches(service: str) -> list[str]:
    """
    The entries of a unit, as `journalctl --unit` finds them (systemd.journal-fields(7)), or of a syslog identifier.

    Its own; what the service manager, other privileged processes and the core dump handler say of it.
    """
    unit = service if service.endswith(_UNIT_TYPES) else f"{service}.service"
    return [
        *(f"_SYSTEMD_UNIT={unit}", "+"),
        *(f"UNIT={unit}", "_PID=1", "+"),
        *(f"OBJECT_SYSTEMD_UNIT={unit}", "_UID=0", "+"),
        *(f"COREDUMP_UNIT={unit}", "_UID=0", _COREDUMP, "+"),
        f"SYSLOG_IDENTIFIER={service}",
    ]
