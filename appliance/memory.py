"""How memory that is not needed any more goes back to the system."""

import ctypes

_M_MMAP_THRESHOLD = -3  # malloc.h
_THRESHOLD = 128 * 1024


def give_large_blocks_back() -> None:
    """
    Have every block of 128 KiB and more mapped by itself, so that freeing it gives it back.

    That is what glibc begins with, but it raises the threshold to the largest block that was ever freed (mallopt(3)):
    after one body of 16 MB all others would lie in a heap that hardly shrinks. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
