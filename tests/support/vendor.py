"""What a vendor and an administrator do around the server: keys, packages, wrapper scripts, openssl and tar."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.admin_directory import SCRIPTS
from tests.support.server import ROOT, Server

MEMBER_TRAPS = {
    "absolute": ("/tmp/appliance-trap", tarfile.REGTYPE, ""),
    "parent": ("../../trap", tarfile.REGTYPE, ""),
    "inner parent": ("etc/../../trap", tarfile.REGTYPE, ""),
    "link out": ("etc/link", tarfile.SYMTYPE, "../../../etc/passwd"),
    "absolute link": ("etc/link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link out": ("etc/hard", tarfile.LNKTYPE, "/etc/passwd"),
    "character device": ("etc/null", tarfile.CHRTYPE, ""),
    "block device": ("etc/disk", tarfile.BLKTYPE, ""),
    "fifo": ("etc/fifo", tarfile.FIFOTYPE, ""),
}
"""Members that no archive may bring: name, kind and link target."""


def command(*argv: str | Path, stdin: bytes | None = None, cwd: Path | None = None) -> bytes:
    """Run a command line and return what it prints; it must succeed."""
    finished = subprocess.run(
        [str(word) for word in argv], input=stdin, capture_output=True, timeout=120, check=False, cwd=cwd
    )
    assert finished.returncode == 0, (argv, finished.stderr)
    return finished.stdout


def openssl(*argv: str | Path, stdin: bytes | None = None) -> bytes:
    """Run openssl and return what it prints."""
    return command("openssl", *argv, stdin=stdin)


def cli(*argv: str | Path) -> bytes:
    """Run the command line `appliance` of this checkout."""
    return command(sys.executable, "-m", "appliance.cli", *argv, cwd=ROOT)


def make_keys(folder: Path, server: Server) -> Path:
    """Make a set of package keys, installed in the server's admin directory."""
    cli("package", "keys", folder, "--admin-directory", server.admin)
    return folder


def build(keys: Path, output: Path, files: dict[str, str | bytes], version: str = "1.0.1", *, level: int = 1) -> Path:
    """Build a package of these files by the command line."""
    payload = output.with_suffix(".payload")
    for name, content in files.items():
        path = payload / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    payload.mkdir(parents=True, exist_ok=True)
    options = ("--version", version, "--keys", keys, "--output", output, "--level", str(level))
    cli("package", "build", payload, *options)
    return output


def archive(*members: tuple[str, bytes, str] | tuple[str, bytes, str, bytes], compress: bool = False) -> bytes:
    """A tar archive of (name, kind, link target, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w") as writer:
        for name, kind, target, *rest in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            content = rest[0] if rest else b"trap" if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def seal(keys: Path, folder: Path, inner: bytes, *, sign: bool = True) -> Path:
    """A package around any inner archive, made by openssl and tar as a vendor's build server would."""
    folder.mkdir()
    (folder / "software_package.tar.gz").write_bytes(inner)
    names = ["software_package.tar.gz"]
    if sign:
        names.append("software_package.tar.gz.sign")
        signed = openssl("dgst", "-sha256", "-sign", keys / "updates.private.pem", folder / names[0])
        (folder / names[1]).write_bytes(signed)
    command("tar", "-cf", "outer.tar", *names, cwd=folder)
    return encrypt(keys / "updates.key", folder / "outer.tar", folder / "software_package.enc")


def encrypt(key: Path, source: Path, output: Path) -> Path:
    """`openssl enc` as the package format says."""
    options = ("-aes-256-cbc", "-md", "sha256", "-pbkdf2", "-pass", f"file:{key}")
    openssl("enc", *options, "-in", source, "-out", output)
    return output


def decrypt(key: Path, source: bytes) -> bytes:
    """The way back."""
    options = ("-aes-256-cbc", "-md", "sha256", "-pbkdf2", "-pass", f"file:{key}")
    return openssl("enc", "-d", *options, stdin=source)


def wrapper(server: Server, text: str) -> Path:
    """Install a vendor's wrapper.sh."""
    path = server.admin / "bin" / "wrapper.sh"
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return path


DEFAULT_SCRIPT = f'exec /bin/sh "{SCRIPTS}/$SSH_ORIGINAL_COMMAND" "$@"\n'
"""The end of a wrapper that hands over to our own scripts."""


def json_file(path: Path, value: object) -> Path:
    """Write a JSON file, ASCII only, to be uploaded."""
    path.write_text(json.dumps(value))
    return path


def files_below(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Each file below a folder with its content, those excepted whose path begins with one of `without`."""
    return {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not (name := str(path.relative_to(folder))).startswith(without)
    }
