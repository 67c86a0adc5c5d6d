"""What the machine is made of, or what pretends to be it."""

import os
from pathlib import Path

import msgspec

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.host.shared import Shared
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

NO_VIRTUALIZATION = "none"

_TIMEOUT = 10.0
_CPUINFO_LIMIT = 16 << 20  # 2 KB a processor
_FACT_LIMIT = 64 * 1024
_MODEL_KEYS = ("model name", "cpu model", "cpu", "Processor", "uarch")  # x86 and ARM, MIPS, POWER, old ARM, RISC-V

# What systemd-detect-virt(1) looks for in the firmware's tables, for machines without it (systemd, src/basic/virt.c).
_VENDORS = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Google Compute Engine", "google"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same as long as the machine runs; None is what the firmware does not tell."""

    virtualization: str
    vendor: str | None
    product: str | None
    serial: str | None
    cpu_model: str


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """
    The machine. `virtualization` is in the words of systemd-detect-virt(1), `none` on bare metal; `role` is `guest`
    inside a virtual machine or container, else `host`. `serial` is left out for those who may not know it.
    """

    hostname: str
    architecture: str
    virtualization: str
    role: str
    kernel_version: str
    vendor: str | None
    product: str | None
    cpu_model: str
    cpu_count: int
    serial: str | msgspec.UnsetType | None = msgspec.UNSET


class HardwareFacts:
    """Finds out once and remembers. `root` is where /sys and /proc are found."""

    def __init__(self, runner: ProcessRunner, threads: Threads, root: Path = Path("/")) -> None:
        self._runner = runner
        self._threads = threads
        self._root = root
        self._finding = Shared(self._find)
        self._facts: Facts | None = None

    async def facts(self) -> Facts:
        """What stays the same as long as the machine runs."""
        if self._facts is None:
            self._facts = await self._finding.result()
        return self._facts

    async def hardware(self) -> Hardware:
        """The machine as a whole, without its serial number."""
        facts = await self.facts()
        machine = os.uname()
        return Hardware(
            hostname=machine.nodename,
            architecture=machine.machine,
            virtualization=facts.virtualization,
            role="host" if facts.virtualization == NO_VIRTUALIZATION else "guest",
            kernel_version=machine.release,
            vendor=facts.vendor,
            product=facts.product,
            cpu_model=facts.cpu_model,
            cpu_count=os.cpu_count() or 1,
        )

    async def _find(self) -> Facts:
        facts = await self._threads.run(read_facts, self._root)
        told = await self._detected()
        return facts if told is None else msgspec.structs.replace(facts, virtualization=told)

    async def _detected(self) -> str | None:
        """What systemd-detect-virt says; it ends with 1 where it prints `none`. None where it is not installed."""
        try:
            finished = await self._runner.run(["systemd-detect-virt"], timeout=_TIMEOUT, output_limit=256)
        except ProcessError:
            return None
        word = finished.stdout.decode("ascii", "replace").strip()
        return word if finished.exit_code in (0, 1) and not finished.timed_out and word else None


def read_facts(root: Path) -> Facts:
    """Read what /sys and /proc below `root` tell. Blocking."""
    dmi = root / "sys/class/dmi/id"
    tree = root / "proc/device-tree"
    cpuinfo = (_text(root / "proc/cpuinfo", _CPUINFO_LIMIT) or "").splitlines()
    return Facts(
        virtualization=_virtualization(root, dmi, cpuinfo),
        vendor=_text(dmi / "sys_vendor"),
        product=_text(dmi / "product_name") or _text(tree / "model"),
        serial=_text(dmi / "product_serial") or _text(tree / "serial-number"),
        cpu_model=_cpu_model(cpuinfo) or os.uname().machine,
    )


def _virtualization(root: Path, dmi: Path, cpuinfo: list[str]) -> str:
    container = _text(root / "run/systemd/container")
    if container:
        return container
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / mark).exists():
            return name
    firmware = [_text(dmi / name) or "" for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor")]
    for text in firmware:
        for vendor, name in _VENDORS:
            if text.startswith(vendor):
                return name
    if firmware[:2] == ["Virtual Machine", "Microsoft Corporation"]:
        return "microsoft"
    if _text(root / "sys/hypervisor/type") == "xen":
        return "xen"
    flags = next((line for line in cpuinfo if line.startswith("flags")), "")
    return "vm-other" if "hypervisor" in flags.split() else NO_VIRTUALIZATION


def _cpu_model(cpuinfo: list[str]) -> str | None:
    named: dict[str, str] = {}
    for line in cpuinfo:
        key, _, value = line.partition(":")
        named.setdefault(key.strip(), value.strip())
    return next((named[key] for key in _MODEL_KEYS if named.get(key)), None)


def _text(path: Path, limit: int = _FACT_LIMIT) -> str | None:
    """The content of a file that may not be there or not be for us; None where there is nothing in it."""
    try:
        content = read_limited(path, limit)
    except (OSError, FileTooLarge, NotARegularFile):
        return None
    return content.decode("utf-8", "replace").strip("\0 \n\t") or None
