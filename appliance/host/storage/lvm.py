"""Volume groups, logical and physical volumes, as LVM reports them (lvmreport(7), `--reportformat json`)."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.host.errors import Unavailable
from appliance.host.shared import Recent
from appliance.process.command import ENVIRONMENT
from appliance.process.run import ProcessRunner

RECENT_SECONDS = 2.0
"""How old a report may be."""

_SECONDS = 30.0
_OUTPUT_LIMIT = 8 << 20
_REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options")

_GROUP_COLUMNS = "vg_name,vg_uuid,vg_attr,vg_size,vg_free,vg_extent_size,pv_count,lv_count,snap_count"
_LOGICAL_COLUMNS = (
    "lv_name,vg_name,lv_uuid,lv_path,lv_attr,lv_layout,lv_active,lv_size,pool_lv,origin,data_percent,lv_health_status"
)
_PHYSICAL_COLUMNS = "pv_name,vg_name,pv_uuid,pv_fmt,pv_attr,pv_size,pv_free,pv_used"


class VolumeGroup(msgspec.Struct, frozen=True):
    """A volume group; sizes in bytes."""

    name: str
    uuid: str
    size: int
    free: int
    extent_size: int
    pv_count: int
    lv_count: int
    snapshot_count: int
    attributes: str


class LogicalVolume(msgspec.Struct, frozen=True):
    """A logical volume; `type` is its layout (`linear`, `thin,pool`, …), `data_percent` how full a thin one is."""

    name: str
    vg_name: str
    path: str
    uuid: str
    size: int
    type: str
    active: bool
    pool: str
    origin: str
    data_percent: float
    health: str
    attributes: str


class PhysicalVolume(msgspec.Struct, frozen=True):
    """A device that is part of a volume group, or made ready for one (`vg_name` is empty then); sizes in bytes."""

    name: str
    path: str
    vg_name: str
    uuid: str
    format: str
    size: int
    free: int
    used: int
    attributes: str


Row = dict[str, str]


class _Report(msgspec.Struct):
    report: list[dict[str, list[Row]]]


class Lvm:
    """Asks the tools of LVM, each once in two seconds at the most; a machine without them has no volumes."""

    def __init__(
        self, clock: IReactorTime, runner: ProcessRunner, environment: Mapping[str, str] = ENVIRONMENT
    ) -> None:
        self._runner = runner
        self._environment = environment
        self._groups = Recent(clock, partial(self._report, "vgs", "vg", _GROUP_COLUMNS), RECENT_SECONDS)
        self._logical = Recent(clock, partial(self._report, "lvs", "lv", _LOGICAL_COLUMNS), RECENT_SECONDS)
        self._physical = Recent(clock, partial(self._report, "pvs", "pv", _PHYSICAL_COLUMNS), RECENT_SECONDS)

    async def volume_groups(self) -> list[VolumeGroup]:
        """All volume groups. Raises `Unavailable`."""
        return [volume_group(row) for row in await self._groups.get()]

    async def logical_volumes(self) -> list[LogicalVolume]:
        """All logical volumes. Raises `Unavailable`."""
        return [logical_volume(row) for row in await self._logical.get()]

    async def physical_volumes(self) -> list[PhysicalVolume]:
        """All physical volumes. Raises `Unavailable`."""
        return [physical_volume(row) for row in await self._physical.get()]

    async def _report(self, program: str, key: str, columns: str) -> Sequence[Row]:
        if shutil.which(program, path=self._environment["PATH"]) is None:
            return []
        argv = [program, *_REPORT, columns]
        finished = await self._runner.run(argv, env=self._environment, timeout=_SECONDS, output_limit=_OUTPUT_LIMIT)
        if not finished.succeeded:
            raise Unavailable(f"{program}: {finished.describe()}")
        return parse_report(finished.stdout, key)


def parse_report(output: bytes, key: str) -> Sequence[Row]:
    """The rows of a report, each value as text. Raises `Unavailable` for what is none."""
    try:
        reports = msgspec.json.decode(output, type=_Report).report
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable("LVM printed something else than a report") from None
    return [row for report in reports for row in report.get(key, [])]


def volume_group(row: Row) -> VolumeGroup:
    """A row of vgs."""
    return VolumeGroup(
        name=row.get("vg_name", ""),
        uuid=row.get("vg_uuid", ""),
        size=_number(row, "vg_size"),
        free=_number(row, "vg_free"),
        extent_size=_number(row, "vg_extent_size"),
        pv_count=_number(row, "pv_count"),
        lv_count=_number(row, "lv_count"),
        snapshot_count=_number(row, "snap_count"),
        attributes=row.get("vg_attr", ""),
    )


def logical_volume(row: Row) -> LogicalVolume:
    """A row of lvs."""
    return LogicalVolume(
        name=row.get("lv_name", ""),
        vg_name=row.get("vg_name", ""),
        path=row.get("lv_path", ""),
        uuid=row.get("lv_uuid", ""),
        size=_number(row, "lv_size"),
        type=row.get("lv_layout", ""),
        active=row.get("lv_active", "") not in ("", "inactive", "unknown"),
        pool=row.get("pool_lv", ""),
        origin=row.get("origin", ""),
        data_percent=_fraction(row.get("data_percent", "")),
        health=row.get("lv_health_status", ""),
        attributes=row.get("lv_attr", ""),
    )


def physical_volume(row: Row) -> PhysicalVolume:
    """A row of pvs."""
    path = row.get("pv_name", "")
    return PhysicalVolume(
        name=path.removeprefix("/dev/"),
        path=path,
        vg_name=row.get("vg_name", ""),
        uuid=row.get("pv_uuid", ""),
        format=row.get("pv_fmt", ""),
        size=_number(row, "pv_size"),
        free=_number(row, "pv_free"),
        used=_number(row, "pv_used"),
        attributes=row.get("pv_attr", ""),
    )


def _number(row: Row, name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _fraction(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
