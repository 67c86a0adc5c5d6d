"""What a connection to the cluster failed with, in words for whoever asked."""

from collections.abc import Iterable

from OpenSSL import SSL
from twisted.internet.error import ConnectError, DNSLookupError

from appliance.host.errors import Unavailable
from appliance.host.kubernetes.errors import CLUSTER, ClusterAbsent, ClusterError
from appliance.host.kubernetes.trust import NotTrusted


def explained(error: BaseException | None, authority: str) -> Unavailable:
    """What `error` is told as that connecting to `authority` raised, or that a connection to it was lost with."""
    for cause in _causes(error):
        if isinstance(cause, NotTrusted):
            return NotTrusted(str(cause))
        if isinstance(cause, SSL.Error) and not isinstance(cause, SSL.SysCallError | SSL.ZeroReturnError):
            return ClusterError(f"TLS with {authority} fails: {_words(cause)}")
    if isinstance(error, DNSLookupError):
        return ClusterAbsent(f"There is no host by the name in {authority}")
    if isinstance(error, ConnectError):
        return ClusterAbsent(f"No cluster answers at {authority}")
    return CLUSTER.broke_after_asking()


def _causes(error: BaseException | None) -> Iterable[BaseException | None]:
    yield error
    for failure in getattr(error, "reasons", ()):  # of twisted.web.client's errors
        yield from _causes(failure.value)


def _words(error: SSL.Error) -> str:
    """OpenSSL's own words for what went wrong."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in queue) or "the connection ended in the middle of it"
