"""The reports of LVM. Groups and physical volumes are as LVM 2.03.16 printed them on a real machine; the logical
volumes after lvs(8) and lvmreport(7), for this kernel has no device mapper to make one."""

import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Unavailable
from appliance.host.storage.lvm import RECENT_SECONDS, Lvm, logical_volume, parse_report, physical_volume, volume_group
from appliance.process.run import ProcessRunner

reactor: Any = global_reactor

GROUPS = b"""
  {
      "report": [
          {
              "vg": [
                  {"vg_name":"data", "vg_uuid":"lViFJZ-iJAI-xeOe-dUlG-KtY8-MiUA-7vzb58", "vg_attr":"wz--n-",
                   "vg_size":"205520896", "vg_free":"205520896", "vg_extent_size":"4194304", "pv_count":"1",
                   "lv_count":"0", "snap_count":"0"}
              ]
          }
      ]
  }
"""
PHYSICAL = b"""
  {
      "report": [
          {
              "pv": [
                  {"pv_name":"/dev/loop0", "vg_name":"data", "pv_uuid":"vnBq81-Bt6Y-ztRB-G845-JSYT-pwzn-DGSb9f",
                   "pv_fmt":"lvm2", "pv_attr":"a--", "pv_size":"205520896", "pv_free":"205520896", "pv_used":"0"},
                  {"pv_name":"/dev/loop1", "vg_name":"", "pv_uuid":"juKrZg-l6e3-C0sS-KLcK-BLgz-tVmV-HJcE4Y",
                   "pv_fmt":"lvm2", "pv_attr":"---", "pv_size":"104857600", "pv_free":"104857600", "pv_used":"0"}
              ]
          }
      ]
  }
"""
NO_VOLUMES = b"""
  {
      "report": [
          {
              "lv": [
              ]
          }
      ]
  }
"""
LOGICAL = b"""
  {"report": [{"lv": [
    {"lv_name":"root", "vg_name":"vg", "lv_uuid":"a-b", "lv_path":"/dev/vg/root", "lv_attr":"-wi-ao----",
     "lv_layout":"linear", "lv_active":"active", "lv_size":"10737418240", "pool_lv":"", "origin":"",
     "data_percent":"", "lv_health_status":""},
    {"lv_name":"thin", "vg_name":"vg", "lv_uuid":"c-d", "lv_path":"/dev/vg/thin", "lv_attr":"Vwi---tz--",
     "lv_layout":"thin,sparse", "lv_active":"", "lv_size":"1073741824", "pool_lv":"pool", "origin":"base",
     "data_percent":"37.52", "lv_health_status":""}]}]}
"""


def test_volume_groups() -> None:
    (group,) = (volume_group(row) for row in parse_report(GROUPS, "vg"))
    assert (group.name, group.size, group.free, group.extent_size) == ("data", 205520896, 205520896, 4194304)
    assert (group.pv_count, group.lv_count, group.snapshot_count, group.attributes) == (1, 0, 0, "wz--n-")


def test_physical_volumes() -> None:
    used, spare = (physical_volume(row) for row in parse_report(PHYSICAL, "pv"))
    assert (used.name, used.path, used.vg_name, used.format, used.size) == (
        "loop0",
        "/dev/loop0",
        "data",
        "lvm2",
        205520896,
    )
    assert (spare.vg_name, spare.free, spare.used, spare.attributes) == ("", 104857600, 0, "---")


def test_logical_volumes() -> None:
    assert parse_report(NO_VOLUMES, "lv") == []
    root, thin = (logical_volume(row) for row in parse_report(LOGICAL, "lv"))
    assert (root.name, root.path, root.size, root.type, root.active, root.data_percent) == (
        "root",
        "/dev/vg/root",
        10 << 30,
        "linear",
        True,
        0.0,
    )
    assert (thin.active, thin.pool, thin.origin, thin.data_percent) == (False, "pool", "base", 37.52)


@pytest.mark.parametrize("output", [b"", b"{", b"[]", b'{"report": {}}', b'{"report": [{"vg": [{"vg_name": 1}]}]}'])
def test_what_is_no_report(output: bytes) -> None:
    with pytest.raises(Unavailable):
        parse_report(output, "vg")


class LvmTests(TestCase):
    """The tools as programs: one that prints a report, one that fails, none."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.clock = Clock()
        self.lvm = Lvm(self.clock, ProcessRunner(reactor), {"PATH": f"{self.folder}:/usr/bin:/bin", "LANG": "C.UTF-8"})

    def tool(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    async def test_without_the_tools_there_is_nothing(self) -> None:
        self.assertEqual(await self.lvm.volume_groups(), [])
        self.assertEqual(await self.lvm.logical_volumes(), [])
        self.assertEqual(await self.lvm.physical_volumes(), [])

    async def test_how_they_are_asked(self) -> None:
        (self.folder / "report").write_bytes(GROUPS)
        self.tool("vgs", f'echo "$@" > {self.folder}/asked; echo warning >&2; cat {self.folder}/report')
        self.assertEqual([group.name for group in await self.lvm.volume_groups()], ["data"])
        asked = (self.folder / "asked").read_text()
        self.assertIn("--reportformat json --units b --nosuffix", asked)

    async def test_a_failure(self) -> None:
        self.tool("lvs", "exit 5")
        error = await self.assertFailure(Deferred.fromCoroutine(self.lvm.logical_volumes()), Unavailable)
        self.assertEqual(str(error), "lvs: exit code 5")

    async def test_many_who_ask_cost_one_process(self) -> None:
        (self.folder / "report").write_bytes(GROUPS)
        self.tool("vgs", f"echo run >> {self.folder}/runs; cat {self.folder}/report")

        def runs() -> int:
            return (self.folder / "runs").read_text().count("run")

        asking = [Deferred.fromCoroutine(self.lvm.volume_groups()) for _ in range(20)]
        self.assertEqual([len(found) for found in await gatherResults(asking)], [1] * 20)
        await self.lvm.volume_groups()
        self.assertEqual(runs(), 1)
        self.clock.advance(RECENT_SECONDS)
        await self.lvm.volume_groups()
        self.assertEqual(runs(), 2)
