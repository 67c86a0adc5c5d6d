"""From an argument list to what is really executed: program found, directory and session set by exec
prefixes."""

import os
import shutil
from collections.abc import Mapping, Sequence

from appliance.process.errors import ProcessError

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""What a child gets when the caller gives no environment. Nothing of the server's own environment ever
reaches one."""

_ENV = "/usr/bin/env"
_SETSID = "/usr/bin/setsid"


def find_program(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None) -> list[str]:
    """
    `argv` with its program as an absolute path, looked up in the child's own PATH (or from `cwd` if it has
    a slash).

    Raises `ProcessError` for an empty list, a program that is missing or not executable, a directory that
    is none. Without this a missing program would show only as exit code 127 of a prefix.
    """
    if not argv or not argv[0]:
        raise ProcessError("cannot start a process without a program")
    if cwd is not None and not os.path.isdir(cwd):
        raise ProcessError(f"cannot start {argv[0]}: its working directory {cwd} does not exist")
    if "\0" in "".join(argv) or "\0" in "".join([*env, *env.values()]):
        raise ProcessError(f"cannot start {argv[0]!r}: a NUL character in its arguments or environment")
    program = argv[0]
    if "/" in program:
        program = os.path.join(cwd or os.getcwd(), program)
    found = shutil.which(program, path=env.get("PATH", ENVIRONMENT["PATH"]))
    if found is None:
        reason = "it is not executable" if os.path.exists(program) else "there is no such program"
        raise ProcessError(f"cannot start {argv[0]}: {reason}")
    return [os.path.abspath(found), *argv[1:]]


def in_own_session(argv: Sequence[str], cwd: str | None = None) -> list[str]:
    """
    The command line that runs `argv` in `cwd` and in a session and process group of its own.

    Exec prefixes, since Twisted falls back from posix_spawn to fork when told to do it itself. setsid(1)
    forks when its process leads a group already; one made by posix_spawn is in the server's group and never
    leads one, so the child's pid is the number of its group. `env` stands first: it would take a program
    with a `=` in its path for a variable.
    """
    directory = [] if cwd is None else [_ENV, "-C", cwd, "--"]
    return [*directory, _SETSID, "--", *argv]
