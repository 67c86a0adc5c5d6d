"""Telling a secret to whoever stands at the machine, and not to all who may read its journal."""

import os

CONSOLE = "/dev/console"


def goes_to_journal(descriptor: int = 1, variable: str | None = None) -> bool:
    """Whether what is written to `descriptor` ends up in the journal (systemd.exec(5), JOURNAL_STREAM)."""
    stream = os.environ.get("JOURNAL_STREAM", "") if variable is None else variable
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def to_console(text: str, path: str = CONSOLE) -> bool:
    """Write a line to the machine's console, if it takes it at once; whether it did."""
    line = f"\r\n{text}\r\n".encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(descriptor, line) == len(line)
    except OSError:
        return False
    finally:
        os.close(descriptor)
