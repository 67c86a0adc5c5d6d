"""Whether a script is one for Python 3, and by which command line the kernel runs it (execve(2))."""

import os
import re

HEAD = 256
"""Bytes of a file that the kernel looks at for its first line."""

_PROGRAM = re.compile(r"python(3(\.\d+)?)?")

# Only what changes nothing about how a script is found and run: `-i`, `-c`, `-m`, `-x` do, `-v` prints, and with
# `-Xdev` some versions of Python do not survive a fork.
_FLAG = re.compile(r"-[bBEIOPqRsSu]+|-Xutf8(=[01])?|-W[\w.:]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


def python_command(head: bytes) -> tuple[str, ...] | None:
    """
    The command that the kernel puts before the path of a script beginning with `head`; None where it is not Python.

    `("/usr/bin/python3", "-I")`, `("/usr/bin/env", "python3")`. Python 2 may hide behind the name `python`.
    """
    if not head.startswith(b"#!"):
        return None
    line, newline, _ = head[2:HEAD].partition(b"\n")
    if not newline and len(head) >= HEAD:
        return None  # cut off: the kernel runs what is left of it, or refuses
    program, *rest = os.fsdecode(line).strip(" \t").split(None, 1) or [""]
    # The kernel hands all that stands behind the program over as one argument.
    words = [word.strip(" \t") for word in rest]
    if not program.startswith("/"):
        return None
    run = [program, *words] if os.path.basename(program) != "env" else _behind_env(words)
    if not run or not _PROGRAM.fullmatch(os.path.basename(run[0])):
        return None
    return (program, *words) if all(_FLAG.fullmatch(word) for word in run[1:]) else None


def _behind_env(words: list[str]) -> list[str]:
    """What env(1) runs; nothing where it is told more than the program, by `-S`, and variables to set."""
    if len(words) != 1:
        return []
    split = re.fullmatch(r"(?:-S|--split-string=)\s*([\w ./=+-]+)", words[0])
    if split is None:
        return words if " " not in words[0] and "\t" not in words[0] else []
    run = split[1].split()
    while run and _ASSIGNMENT.fullmatch(run[0]):
        del run[0]
    return run
