"""Loop devices over sparse files: disks that a test may partition, format and mount."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


def run(*argv: str, stdin: str | None = None) -> str:
    """Run a tool that must succeed; return what it printed."""
    finished = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, (argv, finished.returncode, finished.stdout, finished.stderr)
    return finished.stdout


@contextlib.contextmanager
def loop(folder: Path, megabytes: int = 64, *options: str) -> Iterator[str]:
    """The path of a loop device of that size, detached afterwards with the partitions it may have got."""
    file = folder / f"disk-{len(list(folder.glob('disk-*')))}.img"
    with file.open("xb") as image:
        image.truncate(megabytes << 20)
    device = run("losetup", "--find", "--show", *options, str(file)).strip()
    try:
        yield device
    finally:
        subprocess.run(["partx", "--delete", device], capture_output=True, check=False)
        run("losetup", "--detach", device)
        file.unlink()


def partition(device: str, *megabytes: int) -> list[str]:
    """Give a disk a table and partitions of those sizes; return their paths. This kernel may not read tables itself."""
    lines = "\n".join(["label: gpt", *(f"size={each}M" for each in megabytes)])
    run("sfdisk", "--quiet", device, stdin=lines)
    run("partx", "--update", device)
    return [f"{device}p{number}" for number in range(1, len(megabytes) + 1)]


def signature(device: str, name: str = "TYPE") -> str:
    """What blkid finds on a device now, "" where it finds nothing."""
    argv = ["blkid", "-p", "-o", "value", "-s", name, device]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@contextlib.contextmanager
def swapped_to(device: str) -> Iterator[None]:
    """Swap to a device meanwhile."""
    run("mkswap", device)
    run("swapon", device)
    try:
        yield
    finally:
        run("swapoff", device)
