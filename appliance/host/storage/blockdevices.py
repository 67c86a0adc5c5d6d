"""The block devices of this machine as lsblk(8) tells of them, and what lies on them where it cannot tell."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from appliance.host.errors import Unavailable
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner

_COLUMNS = "NAME,KNAME,MAJ:MIN,TYPE,SIZE,RO,RM,ROTA,MODEL,SERIAL,VENDOR,TRAN,FSTYPE,LABEL,UUID,PTTYPE"
_LIST_SECONDS = 20.0
_PROBE_SECONDS = 5.0
_PROBES_AT_ONCE = 4
_OUTPUT_LIMIT = 8 << 20
_UDEV_DATABASE = Path("/run/udev/data")
_FLOPPY = "2:"
_ESCAPED = re.compile(r"\\(.)")


class Block(msgspec.Struct):
    """One device as lsblk prints it, with what is built on it. `name` and `kname` are paths, `size` is in bytes."""

    name: str
    kname: str
    type: str
    number: str = msgspec.field(name="maj:min")
    size: int | None = None
    ro: bool = False
    rm: bool = False
    rota: bool = False
    model: str | None = None
    serial: str | None = None
    vendor: str | None = None
    tran: str | None = None
    fstype: str | None = None
    label: str | None = None
    uuid: str | None = None
    pttype: str | None = None
    children: list["Block"] = msgspec.field(default_factory=list)

    def family(self) -> Iterator["Block"]:
        """This device and all that is built on it."""
        yield self
        for child in self.children:
            yield from child.family()


class _Listing(msgspec.Struct):
    blockdevices: list[Block]


def parse_lsblk(output: bytes) -> list[Block]:
    """The devices in the output of `lsblk -J -b -p`; older ones print every value as text. Raises `Unavailable`."""
    if not output.strip():
        return []
    try:
        return msgspec.json.decode(output, type=_Listing, strict=False).blockdevices
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable("lsblk printed something else than a list of devices") from None


def parse_blkid(output: bytes) -> dict[str, str]:
    """The values of one device in the output of `blkid -o export`, in which a backslash escapes the next character."""
    lines = output.decode("utf-8", "replace").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: _ESCAPED.sub(r"\1", value) for name, _, value in pairs}


class BlockDevices:
    """Asks lsblk; and blkid, where no udev has filled the database from which lsblk takes the file systems."""

    def __init__(self, runner: ProcessRunner, udev_database: Path = _UDEV_DATABASE) -> None:
        self._runner = runner
        self._udev_database = udev_database
        self._probes = DeferredSemaphore(_PROBES_AT_ONCE)

    @property
    def has_udev(self) -> bool:
        """Whether lsblk knows the file systems, and changes of them are told by uevents."""
        return os.path.isdir(self._udev_database)

    async def read(self) -> list[Block]:
        """The disks, without those in memory and those without a medium.

        Raises `Unavailable`, or `ProcessError` where there is no lsblk.
        """
        finished = await self._runner.run(
            ["lsblk", "-J", "-b", "-p", "-o", _COLUMNS], timeout=_LIST_SECONDS, output_limit=_OUTPUT_LIMIT
        )
        if not finished.succeeded and not (finished.exit_code == 32 and not finished.stdout):  # 32: there are none
            raise Unavailable(f"lsblk: {finished.describe()}")
        blocks = [block for block in parse_lsblk(finished.stdout) if _is_disk(block)]
        if not self.has_udev:
            by_device: dict[str, list[Block]] = {}  # what lies on two disks is listed twice
            for block in (member for disk in blocks for member in disk.family() if _may_be_read(member)):
                by_device.setdefault(block.kname, []).append(block)
            await gatherResults([Deferred.fromCoroutine(self._fill_in(same)) for same in by_device.values()])
        return blocks

    async def probe(self, path: str) -> dict[str, str]:
        """What blkid finds on the device at `path`, by blkid's names; nothing where it finds or can read nothing."""
        # One device a process: blkid ends at the first on which it finds nothing.
        await self._probes.acquire()
        try:
            finished = await self._runner.run(["blkid", "-p", "-o", "export", "--", path], timeout=_PROBE_SECONDS)
        except ProcessError:
            return {}
        finally:
            self._probes.release()
        return parse_blkid(finished.stdout) if finished.succeeded else {}

    async def _fill_in(self, same: Sequence[Block]) -> None:
        found = await self.probe(same[0].kname)
        for block in same:
            block.fstype = found.get("TYPE")
            block.label = found.get("LABEL")
            block.uuid = found.get("UUID")
            block.pttype = found.get("PTTYPE")


def _is_disk(block: Block) -> bool:
    """Not memory, which is no place to keep things (zram), nor an empty drive or loop device."""
    return bool(block.size) and not block.kname.startswith(("/dev/zram", "/dev/ram"))


def _may_be_read(block: Block) -> bool:
    """Whether to look at the content: an empty drive may take many seconds to say that it is empty."""
    return block.fstype is None and block.type != "rom" and not block.number.startswith(_FLOPPY)
