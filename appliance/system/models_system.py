"""The system figures in the names that the reference and its web interface use."""

import msgspec


class SystemSummary(msgspec.Struct):
    """
    The machine in short. `uptime` in seconds, `boot_time` in seconds since 1970; `kernel` and `kernel_version` are the
    same, under two names.
    """

    hostname: str
    os: str
    platform: str
    platform_family: str
    platform_version: str
    kernel: str
    kernel_version: str
    uptime: int
    boot_time: int
    load_average: tuple[float, float, float]
    cpu_count: int


class CpuInformation(msgspec.Struct):
    """The processors: `usage` and `per_core` in percent over the last moments, the load of 1, 5 and 15 minutes."""

    model_name: str
    cores: int
    usage: float
    per_core: tuple[float, ...]
    load1: float
    load5: float
    load15: float
