"""What every change of the network has in common: it is prepared, made whole or not at all, and can be undone.

A change looks at the state before, and from that says what would undo it, before anything is touched. The undoing is
a list of requests that may be sent at any moment after (`netlink.ensure`): to make what was removed and is missing, to
remove what was added and is there. So it is right whatever of the change has come about, and another program can send
it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import EOPNOTSUPP, EPERM
from typing import Protocol

from appliance.host.errors import Conflict, HostError, Unavailable
from appliance.host.network.carriers import Carriers
from appliance.host.network.netlink import KernelRefusal, Netlink, Request, ensure
from appliance.host.network.state import State


@dataclass(frozen=True, slots=True)
class Before:
    """What a change is prepared from: the kernel to ask more of, the state, and who must be spared."""

    net: Netlink
    state: State
    carriers: Carriers


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change that may be made: what it will have been ("eth0 brought up"), how it is made, what undoes it, in order.

    `make` raises a `HostError`, with nothing changed. `remark` is what else there is to say; `irreversible` says why it
    cannot be undone whole, if so.
    """

    what: str
    make: Callable[[Netlink], None]
    undo: Sequence[Request]
    remark: str = ""
    irreversible: str = ""

    @property
    def message(self) -> str:
        """What to say when it is made."""
        return f"{self.what} successfully{self.remark}"


class Change(Protocol):
    """Something to be changed."""

    def prepare(self, before: Before) -> Prepared:
        """Refuse what cannot or must not be, by a `HostError`, or return what is to be done."""


@contextlib.contextmanager
def whole(net: Netlink, requests: Sequence[Request]) -> Iterator[None]:
    """Whatever goes wrong within undoes what was done before, by `requests`."""
    try:
        yield
    except BaseException:
        ensure(net, requests)
        raise


def refused(refusal: KernelRefusal, what: str, meanings: Mapping[int, HostError] | None = None) -> HostError:
    """The kernel's refusal in our words; `what` could not be done, `meanings` are those of error numbers."""
    known = (meanings or {}).get(refusal.number)
    if known is not None:
        return known
    if refusal.number == EPERM:
        return Unavailable("This server may not change the network")
    if refusal.number == EOPNOTSUPP:
        return Conflict(f"{what}: the kernel has no support for it")
    return Conflict(f"{what}: {refusal}")
