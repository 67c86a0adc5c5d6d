"""Figures of the machine as a whole."""

from typing import cast

import msgspec

from appliance.host.figures import CpuMeter, Figures, Memory, load_average
from appliance.host.hardware import Hardware, HardwareFacts
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import Caller, administrator, reader
from appliance.system.models_system import CpuInformation, SystemSummary


class SystemEndpoints:
    """GET system/summary, cpu, memory, hardware."""

    routes = Routes(prefix="/system", tag="System")

    def __init__(self, figures: Figures, cpu: CpuMeter, hardware: HardwareFacts) -> None:
        self._figures = figures
        self._cpu = cpu
        self._hardware = hardware

    @routes.get("/summary", reply=SystemSummary, who=reader)
    async def summary(self, call: Call) -> SystemSummary:
        """What the machine runs, since when, and its load."""
        found = self._figures.summary()
        return SystemSummary(
            hostname=found.hostname,
            os=found.os,
            platform=found.platform,
            platform_family=found.platform_family,
            platform_version=found.platform_version,
            kernel=found.kernel,
            kernel_version=found.kernel,
            uptime=found.uptime,
            boot_time=found.boot_time,
            load_average=found.load_average,
            cpu_count=found.cpu_count,
        )

    @routes.get("/cpu", reply=CpuInformation, who=reader)
    async def cpu(self, call: Call) -> CpuInformation:
        """The processors and how busy they are.

        The first question after a long time takes 0.2 s, in which they are watched.
        """
        facts = await self._hardware.facts()
        use = await self._cpu.use()
        one, five, fifteen = load_average()
        return CpuInformation(facts.cpu_model, len(use.per_core), use.total, use.per_core, one, five, fifteen)

    @routes.get("/memory", reply=Memory, who=reader)
    async def memory(self, call: Call) -> Memory:
        """Memory and swap, in bytes."""
        return self._figures.memory()

    @routes.get("/hardware", reply=Hardware, who=reader)
    async def hardware(self, call: Call) -> Hardware:
        """What the machine is made of, or what pretends to be it.

        The serial number is for administrators only, as the kernel shows it to root only.
        """
        found = await self._hardware.hardware()
        if not administrator.admits(cast(Caller, call.caller)):
            return found
        facts = await self._hardware.facts()
        return msgspec.structs.replace(found, serial=facts.serial)
