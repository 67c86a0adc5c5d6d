"""
The end of a program whose terminal nobody sees any more.

It runs on: its terminal stays in the hands of the container's runtime, which hangs up with neither containerd nor
others, and neither Kubernetes nor CRI can signal it. So each program bears a mark in its environment, which its
children inherit, and a second program looks for the mark in the same container. That takes a shell there.
"""

import secrets
from collections.abc import Sequence

SHELL = "/bin/sh"
_TYPE = "xterm-256color"

_START = f'export TERM={_TYPE} APPLIANCE_EXEC="$1"; shift; exec "$@"'
_HANG_UP = """
exec 2>/dev/null
signal=HUP round=0
while test $round -lt 8; do
    found=
    for each in /proc/[0-9]*; do
        case $(cat "$each/environ") in
            *"$1"*) found=yes; test -z "$signal" || kill "-$signal" "${each#/proc/}"; kill -CONT "${each#/proc/}" ;;
        esac
    done
    test -n "$found" || exit 0
    round=$((round + 1))
    test $round -lt 5 && signal= || signal=KILL
    sleep 1
done
exit 1
"""
"""Hangs up, waits four seconds, then kills, as long as anybody is there who bears the mark."""

TYPED = b"\x03\x04"
"""Ctrl-C and Ctrl-D: what may end a program where there is no shell to look for it."""

ASKS_FOR_SHELL = (SHELL, "-c", "exit 0")


class Mark:
    """What one program and its children are known by; nobody can guess it."""

    def __init__(self) -> None:
        self._text = secrets.token_hex(16)

    def put_on(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` with the mark."""
        return [SHELL, "-c", _START, SHELL, self._text, *command]

    def hang_up(self) -> list[str]:
        """The command that ends whoever bears the mark."""
        return [SHELL, "-c", _HANG_UP, SHELL, self._text]
