"""
One password checked by `su USER -c COMMAND` on a terminal: where PAM cannot be asked directly.

That is so without libpam (BusyBox), without a service file, and without root: pam_unix then checks the password of the
asking user only (unix_chkpwd(8)), while su brings its own root. Root itself is never asked for a password by su, so su
is started as an unprivileged user. Users whose shell refuses to run a command cannot be checked and are refused.
"""

import os
import pty
import re
import select
import termios
import time

from appliance.identity.helper_frames import Outcome, Request

PROGRAMS = ("/usr/bin/su", "/bin/su")
NOBODY = 65534
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TERM": "dumb"}

_PROMPT = re.compile(rb"password[^\r\n]*:[ \t]*\Z", re.IGNORECASE)
_POLL = 0.02
_MAX_OUTPUT = 1 << 16


def find_su() -> str | None:
    """The program, None where there is none."""
    return next((path for path in PROGRAMS if os.access(path, os.X_OK)), None)


class SuCheck:
    """Asks `su`, the path of that program; `why` says why not PAM."""

    def __init__(self, su: str, why: str) -> None:
        self.ready = Outcome.READY_SU
        self.means = f"{su} as user {NOBODY if os.geteuid() == 0 else os.geteuid()} ({why})"
        self._su = su

    def __call__(self, request: Request) -> tuple[Outcome, str]:
        """Check; return the outcome and the reason for the log. `request` is wiped."""
        halves = os.urandom(12).hex(), os.urandom(12).hex()
        # What the shell prints stands nowhere in the command line, which others could repeat.
        pid, terminal = self._start(request.name, f"echo {halves[0]}''{halves[1]}")
        talk = _Talk(pid, terminal, request.password)
        try:
            while talk.status is None and not talk.asked_again:
                talk.listen()
        finally:
            request.wipe()
            os.close(terminal)  # hangs up whoever still is on it
        if talk.asked_again:
            return Outcome.EXPIRED, "su asked for another password"
        if talk.status != 0 or f"{halves[0]}{halves[1]}".encode() not in talk.output:
            return Outcome.REFUSED, f"su ended with {talk.status}"
        if not talk.answered:
            return Outcome.UNASKED, "su did not ask for a password"
        return Outcome.ACCEPTED, ""

    def _start(self, name: str, command: str) -> tuple[int, int]:
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setresgid(NOBODY, NOBODY, NOBODY)
                    os.setresuid(NOBODY, NOBODY, NOBODY)
                os.chdir("/")
                os.execve(self._su, ["su", name, "-c", command], ENVIRONMENT)  # noqa: S606 (no shell is the point)
            finally:
                os._exit(127)
        return pid, terminal


class _Talk:
    """What is said on the terminal until su ends; then its exit code is `status`."""

    def __init__(self, pid: int, terminal: int, password: bytearray) -> None:
        self.output = bytearray()
        self.answered = False
        self.asked_again = False
        self.status: int | None = None
        self._pid = pid
        self._terminal = terminal
        self._password = password

    def listen(self) -> None:
        """Take what comes next, and give the password once it is asked for and would not show."""
        if not self._read(_POLL):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                while self._read(0.0):
                    pass
        if self.status is None and _PROMPT.search(self.output) and not self._echoes():
            self._answer()

    def _answer(self) -> None:
        if self.answered:
            self.asked_again = True
            return
        self.answered = True
        self.output.clear()
        os.write(self._terminal, self._password)
        os.write(self._terminal, b"\n")

    def _read(self, wait: float) -> bool:
        if not select.select([self._terminal], [], [], wait)[0]:
            return False
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # EIO: nobody is on the terminal any more
            time.sleep(wait)
            return False
        self.output += data[: _MAX_OUTPUT - len(self.output)]
        return True

    def _echoes(self) -> bool:
        return bool(termios.tcgetattr(self._terminal)[3] & termios.ECHO)
