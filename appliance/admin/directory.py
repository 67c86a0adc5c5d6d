"""The admin directory `A`: where scripts, vendors and we leave files for one another."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.files import remove_temporaries, write_atomic

_FOLDERS = ("etc", "log", "bin", "tmp", "uploads")
_PREPARED = ".prepared"

# What a new directory starts with; contract, "Contract: the admin surface".
_FIRST_FILES = {
    "version.txt": "1.0.0\n",
    "changelog.txt": "# Changelog\n\n## 1.0.0\n\n  * First installation\n",
    "logs.txt": "/var/log/syslog\n/var/log/messages\n/var/log/dpkg.log\n",
    "debug.txt": "uname -a\nuptime\ndf -h\nfree -m\nps aux\nip address\nip route\nss -tunlp\nmount\n",
    "backup.txt": "etc/app.json\netc/network.json\netc/storage.json\netc/license.asc\n",
    "services.txt": "ssh\n",
}


@dataclass(frozen=True)
class AdminDirectory:
    """Names of the files in `A` that we read or write; scripts know them by the same names."""

    root: Path

    @property
    def etc(self) -> Path:
        """What is installed: settings, token, version, certificates, status files."""
        return self.root / "etc"

    @property
    def log(self) -> Path:
        """What scripts and we write down."""
        return self.root / "log"

    @property
    def bin(self) -> Path:
        """A vendor's own scripts."""
        return self.root / "bin"

    @property
    def tmp(self) -> Path:
        """Scratch space of the scripts."""
        return self.root / "tmp"

    @property
    def uploads(self) -> Path:
        """The hand-over folder: a vendor's `A/home/sftp/uploads` where that exists, else `A/uploads`."""
        legacy = self.root / "home" / "sftp" / "uploads"
        return legacy if legacy.is_dir() else self.root / "uploads"

    def clear_uploads(self, names: Iterable[str]) -> None:
        """Remove files from the hand-over folder that no script has taken: they may hold secrets. Blocking."""
        for name in names:
            (self.uploads / name).unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make what is missing, never overwriting. Blocking; raises OSError.

        The first files are made once: what is removed later stays away.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in _FOLDERS:
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)
        remove_temporaries(self.etc)
        remove_temporaries(self.uploads)
        if not os.path.lexists(self.etc / _PREPARED):
            for name, content in _FIRST_FILES.items():
                if not os.path.lexists(self.etc / name):
                    write_atomic(self.etc / name, content.encode(), mode=0o644)
            write_atomic(self.etc / _PREPARED, b"", mode=0o644)
