"""How a call ended."""

from typing import Literal

import msgspec

Kind = Literal["exited", "signalled", "timeout", "too_large", "no_object", "no_method", "unavailable"]


class Outcome(msgspec.Struct, frozen=True):
    """
    How a call ended.

    - `exited`: by itself, with `exit_code` and its whole standard output as it is, JSON or not;
    - `signalled`: killed by `signal`, which was not ours;
    - `timeout`: its time was up; it and its process group have been ended;
    - `too_large`: it printed more than the limit, and was ended for that;
    - `no_object`, `no_method`: nothing was run;
    - `unavailable`: it could not be started, or how it ended cannot be known; the log says why.
    """

    kind: Kind
    exit_code: int = 0
    signal: int = 0
    output: bytes = b""
