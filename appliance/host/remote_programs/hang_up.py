"""
The end of a program whose terminal nobody sees any more.

It runs on: its terminal stays in the hands of the container's runtime, which hangs up with neither containerd nor
others, and neither Kubernetes nor CRI can signal it. So each program bears a mark in its environment, and a second one
looks for that in the same container, and ends all of the session. That takes a shell there.
"""

import secrets
from collections.abc import Sequence

SHELL = "/bin/sh"
_TYPE = "xterm-256color"

_START = f'export TERM={_TYPE} APPLIANCE_EXEC="$1"; shift; exec "$@"'
_HANG_UP = """
exec 2>/dev/null
mark=$1 sessions=" " signal=HUP round=0
for each in /proc/[0-9]*; do
    read -r line < "$each/stat" || continue
    set -- ${line##*) }
    test "$5" != 0 && test "$4" != 0 || continue
    case $sessions in *" $4 "*) continue ;; esac
    case $(cat "$each/environ") in *"$mark"*) sessions="$sessions$4 " ;; esac
done
while test $round -lt 8; do
    found=
    for each in /proc/[0-9]*; do
        read -r line < "$each/stat" || continue
        set -- ${line##*) }
        test "$1" != Z || continue
        case $sessions in
            *" $4 "*) found=yes; test -z "$signal" || kill "-$signal" "${each#/proc/}"; kill -CONT "${each#/proc/}" ;;
        esac
    done
    test -n "$found" || exit 0
    round=$((round + 1))
    test $round -lt 5 && signal= || signal=KILL
    sleep 1
done
exit 1
"""
"""Finds the sessions on a terminal of which somebody bears the mark, hangs up, waits four seconds, then kills, as long
as anybody is there. Of proc(5)'s stat, behind the name: 1 is the state, 4 the session, 5 the terminal."""

TYPED = b"\x03\x04"
"""Ctrl-C and Ctrl-D: what may end a program where there is no shell to look for it."""

ASKS_FOR_SHELL = (SHELL, "-c", "exit 0")


class Mark:
    """What one program is known by; nobody can guess it."""

    def __init__(self) -> None:
        self._text = secrets.token_hex(16)

    def put_on(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` with the mark."""
        return [SHELL, "-c", _START, SHELL, self._text, *command]

    def hang_up(self) -> list[str]:
        """The command that ends who bears the mark, with all of the session."""
        return [SHELL, "-c", _HANG_UP, SHELL, self._text]
