"""An admin directory with the default scripts run in it, as the server runs them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.admin import packages

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "data" / "scripts"
TOOLS = REPOSITORY / "appliance" / "admin" / "tools"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class AdminDirectory:
    """The directory A at `path`, with its folders."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> "AdminDirectory":
        for name in ("etc", "log", "bin", "tmp", "uploads"):
            (path / name).mkdir(parents=True)
        (path / "etc" / "version.txt").write_text("1.0.0\n")
        return cls(path)

    @property
    def etc(self) -> Path:
        return self.path / "etc"

    @property
    def uploads(self) -> Path:
        return self.path / "uploads"

    def environment(self, command: str, **extra: str) -> dict[str, str]:
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self.path),
            "SSH_ORIGINAL_COMMAND": command,
            "APPLIANCE_ADMIN": str(self.path),
            "APPLIANCE_UPLOADS": str(self.uploads),
            "APPLIANCE_APPLY": "0",
            "APPLIANCE_PYTHON": sys.executable,
            "APPLIANCE_TOOLS": str(TOOLS),
            "APPLIANCE_BACKUP_ROOT": str(self.path),
            "APPLIANCE_REBOOT_COMMAND": "/bin/true",
            "APPLIANCE_ALLOW_DOWNGRADE": "0",
            "APPLIANCE_ALLOW_REINSTALL": "0",
        } | extra

    def argv(self, command: str, *arguments: str) -> list[str]:
        return ["/bin/dash", str(SCRIPTS / command), *arguments]

    def run(self, command: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command, *arguments),
            env=self.environment(command, **extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def log(self, name: str) -> list[str]:
        return (self.path / "log" / name).read_text().splitlines()

    def everything(self) -> dict[str, bytes]:
        """Each file below the directory with its content."""
        return {
            str(file.relative_to(self.path)): file.read_bytes()
            for file in self.path.rglob("*")
            if file.is_file() and not file.is_symlink()
        }


def make_keys(folder: Path, admin: AdminDirectory) -> Path:
    """A set of package keys in `folder`, installed in the admin directory."""
    packages.make_keys(folder, admin_directory=admin.path)
    return folder


def make_package(
    folder: Path, keys: Path, output: Path, *, version: str = "1.0.1", files: dict[str, str] | None = None
) -> Path:
    """A package with these files; names that end in .sh are executable."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if name.endswith(".sh") else 0o644)
    packages.build(folder, version, keys, output)
    return output
