"""What goes wrong with the database, in words for whoever runs the appliance."""

from pathlib import Path


class DatabaseError(Exception):
    """Base of all errors of this package."""


class DatabaseBusy(DatabaseError):
    """Too many callers wait already, or another process holds the file; try again later."""


class DatabaseClosed(DatabaseError):
    """The database is not open (not yet, or no longer)."""


class DatabaseUnavailable(DatabaseError):
    """The file cannot be opened, read or written: disk full, input/output error, permissions."""


class TransactionLost(DatabaseError):
    """The transaction ended before its commit; nothing of it was stored."""


class DatabaseCorrupt(DatabaseError):
    """The content of the file is damaged, or it is no database at all."""

    def __init__(self, path: Path, reason: str, backup: Path | None) -> None:
        advice = f"the newest backup is {backup}" if backup else "there is no backup beside it"
        super().__init__(f"database {path} is damaged ({reason}); {advice}")
        self.path = path
        self.backup = backup


class MigrationError(DatabaseError):
    """The file could not be brought to the schema of this version; it is as it was before."""


class NewerDatabase(MigrationError):
    """The file was made by a newer version of this program."""
