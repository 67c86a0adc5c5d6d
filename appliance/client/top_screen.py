"""A sample as text: the lines of a screen, or one line."""

from collections.abc import Iterator, Sequence

from appliance.client.sample import Cpu, Disk, Interface, Memory, Sample
from appliance.client.text import printable

_UNITS = ("B", "K", "M", "G", "T", "P")
_BAR = 30
_NAME = 20


def screen(sample: Sample, width: int) -> list[str]:
    """The lines of a screen that is `width` characters wide."""
    load = sample.load
    title = f"{printable(sample.timestamp)}   load {load.load1:.2f} {load.load5:.2f} {load.load15:.2f}"
    return [
        title[:width],
        "",
        *_processors(sample.cpu, width),
        "",
        *_memory(sample.memory),
        "",
        *_disks(sample.disk.disks),
        "",
        *_interfaces(sample.network.interfaces),
    ]


def line(sample: Sample) -> str:
    """One line: time, processors and memory in per cent, load, and bytes a second in and out of all interfaces."""
    interfaces = [each for each in sample.network.interfaces if each.name != "lo"]
    received = sum(each.rx_bytes_per_sec for each in interfaces)
    sent = sum(each.tx_bytes_per_sec for each in interfaces)
    busy, full = sample.cpu.usage_percent, sample.memory.used_percent
    return (
        f"{printable(sample.timestamp)} cpu {busy:5.1f}% mem {full:5.1f}% load {sample.load.load1:.2f} "
        f"rx {amount(received)}/s tx {amount(sent)}/s"
    )


def amount(number: float) -> str:
    """A number of bytes in at most five characters: `512B`, `1.5K`, `20G`."""
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            break
        number /= 1024
    return f"{number:.0f}{unit}" if unit == "B" or number >= 10 else f"{number:.1f}{unit}"


def bar(percent: float) -> str:
    """A bar for a share."""
    full = round(max(0.0, min(100.0, percent)) / 100 * _BAR)
    return f"[{'█' * full}{'·' * (_BAR - full)}] {percent:5.1f}%"


def _processors(cpu: Cpu, width: int) -> Iterator[str]:
    yield f"{'cpu':<8}{bar(cpu.usage_percent)}"
    cells = [f"{core.core:>4}{core.usage_percent:6.1f}%" for core in cpu.cores]
    in_a_row = max(1, (width - 8) // 13)
    for begin in range(0, len(cells), in_a_row):
        yield " " * 6 + "  ".join(cells[begin : begin + in_a_row])


def _memory(memory: Memory) -> Iterator[str]:
    yield f"{'memory':<8}{bar(memory.used_percent)}  {amount(memory.used)} of {amount(memory.total)}"
    if memory.swap_total:
        used = f"{amount(memory.swap_used)} of {amount(memory.swap_total)}"
        yield f"{'swap':<8}{bar(memory.swap_used_percent)}  {used}"


def _disks(disks: Sequence[Disk]) -> Iterator[str]:
    yield f"{'mounted on':<{_NAME}} {'used':>7} {'of':>6} {'free':>6}   {'read/s':>7} {'write/s':>7}"
    for disk in disks:
        io = disk.io_stats
        yield (
            f"{_name(disk.mount_point)} {disk.used_percent:6.1f}% {amount(disk.total):>6} "
            f"{amount(disk.free):>6}   {amount(io.read_bytes_per_sec):>7} {amount(io.write_bytes_per_sec):>7}"
        )


def _interfaces(interfaces: Sequence[Interface]) -> Iterator[str]:
    yield f"{'interface':<{_NAME}} {'in/s':>7} {'out/s':>7} {'packets in/s':>13} {'out/s':>7} {'errors':>7}"
    for each in interfaces:
        errors = each.rx_errors + each.tx_errors
        yield (
            f"{_name(each.name)} {amount(each.rx_bytes_per_sec):>7} {amount(each.tx_bytes_per_sec):>7} "
            f"{each.rx_packets_per_sec:>13.0f} {each.tx_packets_per_sec:>7.0f} {errors:>7}"
        )


def _name(text: str) -> str:
    """A name in its column."""
    clean = printable(text)
    return f"{clean if len(clean) <= _NAME else '…' + clean[1 - _NAME :]:<{_NAME}}"
