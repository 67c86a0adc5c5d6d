"""How far mke2fs has come, from what it prints; the other programs print nothing until they are done."""

import re
from collections.abc import Sequence

# The stages in their order, with the share of the whole at which each begins: writing inode tables takes the time,
# where the kernel does not do it later, and discarding where the device is large and slow at it.
_STAGES: Sequence[tuple[bytes, int]] = (
    (b"Discarding device blocks:", 0),
    (b"Allocating group tables:", 10),
    (b"Writing inode tables:", 15),
    (b"Creating journal", 85),
    (b"Writing superblocks and filesystem accounting information:", 90),
)
_END = 99
_COUNT = re.compile(rb"(\d+)/\s*(\d+)")


def percentage_in(output: bytes) -> int | None:
    """The percentage that the end of mke2fs's output tells of; None where it is not its output.

    It counts in the form `12/80`, goes back over it by backspaces and writes the next.
    """
    begin, stage = max((output.rfind(words), index) for index, (words, _) in enumerate(_STAGES))
    if begin < 0:
        return None
    words, first = _STAGES[stage]
    last = _STAGES[stage + 1][1] if stage + 1 < len(_STAGES) else _END
    rest = output[begin + len(words) :]
    if b"done" in rest:
        return last
    counts = _COUNT.findall(rest)
    done, of = (int(counts[-1][0]), int(counts[-1][1])) if counts else (0, 1)
    return first + (last - first) * min(done, of) // max(of, 1)
