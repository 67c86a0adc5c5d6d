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


def give_unused_back() -> None:
    """
    Give the system back all whole pages of the heap on which nothing stands, wherever they are (malloc_trim(3)).

    By itself glibc gives back what is free at the heap's end, and there something always stands after many clients
    were there at once. It takes 1 to 5 ms for a heap of 30 MB and up to 20 ms for one of 120 MB of which half is free;
    who allocates meanwhile waits, so call it seldom, and in a thread. Other C libraries are left as they are.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
