"""What all processes of ours have in common, set once: a call then needs no exec prefix to set it."""

import os

UMASK = 0o077
DIRECTORY = "/"


def settle() -> None:
    """
    Work in `/`, and let new files be their owner's alone. For the whole process: call once, when the server starts.

    Files of ours that others may read get their mode explicitly. A service manager may have set the same.
    """
    os.chdir(DIRECTORY)
    os.umask(UMASK)
