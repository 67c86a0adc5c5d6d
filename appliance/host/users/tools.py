"""The system's own tools for accounts (the shadow suite), and what their exit codes mean.

The meanings are those of EXIT VALUES in useradd(8), userdel(8) and, for usermod, of src/usermod.c in the shadow suite,
whose manual page does not list them.
"""

from collections.abc import Mapping, Sequence

from twisted.logger import Logger

from appliance.host.errors import Conflict, HostError, Invalid, Unavailable, Unknown
from appliance.process.run import Finished, ProcessRunner
from appliance.secret import Secret

_TIMEOUT = 30.0
_REMOVAL_TIMEOUT = 300.0  # a home directory may hold millions of files
_OUTPUT_LIMIT = 16 * 1024

_HOME_NOT_REMOVED = 12
# How PAM modules say that they do not like a password; chpasswd's exit code is 1 whatever happened.
_REFUSALS = (b"BAD PASSWORD", b"Weak password", b"You must choose", b"Bad:", b"already used")


class AccountTools:
    """Runs useradd, usermod, userdel and chpasswd. One at a time is the caller's business."""

    _log = Logger()

    def __init__(self, runner: ProcessRunner) -> None:
        self._runner = runner

    async def base_of_homes(self) -> str:
        """The folder in which useradd makes home directories."""
        finished = await self._runner.run(["useradd", "-D"], timeout=_TIMEOUT, output_limit=_OUTPUT_LIMIT)
        for line in finished.stdout.decode("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            if key == "HOME" and value.startswith("/"):
                return value
        raise Unavailable("useradd does not tell where it makes home directories")

    async def add(self, name: str, *, home: str, groups: frozenset[str], shell: str | None) -> None:
        """Make a user and its home directory; it has no password yet. `shell` None is the system's default."""
        options = ["-m", "-d", home]
        if groups:
            options += ["-G", ",".join(sorted(groups))]
        if shell is not None:
            options += ["-s", shell]
        meanings = {
            3: Invalid("username", "this system does not accept it"),
            4: Conflict("No user id is free"),
            6: Invalid("groups", "one of them does not exist any more"),
            9: Conflict(f"A user or a group {name!r} exists already"),
            12: Unavailable(f"The home directory {home} cannot be made"),
        }
        await self._run(["useradd", *options, "--", name], meanings)

    async def modify(self, name: str, options: Sequence[str]) -> None:
        """Run usermod with `options`."""
        meanings = {6: Unknown(f"No user {name!r}, or one of the groups does not exist any more")}
        await self._run(["usermod", *options, "--", name], meanings)

    async def remove(self, name: str, *, with_home: bool) -> bool:
        """Remove a user; `with_home` also its home directory and mail. False where those had to be left."""
        meanings = {6: Unknown(f"No user {name!r}"), 8: Conflict(f"{name} is in use by running processes")}
        argv = ["userdel", *(["-r"] if with_home else []), "--", name]
        code = await self._run(argv, meanings, allowed=(0, _HOME_NOT_REMOVED), timeout=_REMOVAL_TIMEOUT)
        return code == 0

    async def set_password(self, name: str, password: Secret) -> None:
        """Give a password, hashed as this system does it. Raises `Invalid` where its rules refuse it."""
        line = f"{name}:{password.reveal()}\n".encode()
        argv = ["chpasswd"]
        finished = await self._runner.run(argv, stdin=line, timeout=_TIMEOUT, output_limit=_OUTPUT_LIMIT)
        if finished.succeeded:
            return
        self._log.warn("chpasswd: {ending}", ending=finished.describe())
        if any(words in finished.stdout + finished.stderr for words in _REFUSALS):  # it depends on the module
            raise Invalid("password", "this system's rules for passwords refuse it")
        raise _failed(argv, finished)

    async def _run(
        self,
        argv: Sequence[str],
        meanings: Mapping[int, HostError],
        *,
        allowed: tuple[int, ...] = (0,),
        timeout: float = _TIMEOUT,
    ) -> int:
        finished = await self._runner.run(argv, timeout=timeout, output_limit=_OUTPUT_LIMIT)
        if finished.exit_code in allowed and not finished.timed_out:
            return finished.exit_code
        self._log.warn(
            "{tool}: {ending}: {said}",
            tool=argv[0],
            ending=finished.describe(),
            said=finished.stderr.decode("utf-8", "replace").strip(),
        )
        meaning = None if finished.exit_code is None or finished.timed_out else meanings.get(finished.exit_code)
        raise meaning or _failed(argv, finished)


def _failed(argv: Sequence[str], finished: Finished) -> Unavailable:
    """Exit codes 1 and 10: the account files could not be locked or written."""
    if finished.exit_code in (1, 10) and not finished.timed_out:
        return Unavailable("The account files are in use by another program or cannot be written; try again")
    return Unavailable(f"{argv[0]}: {finished.describe()}")
