"""What can go wrong with a cluster besides what can go wrong with everything."""

from appliance.host.errors import HostError, Unavailable
from appliance.host.outgoing.peer import Peer


class ClusterAbsent(Unavailable):
    """No cluster is known of, or nothing answers where it should be: nothing was asked of it."""


class ClusterError(Unavailable):
    """The cluster cannot be trusted, refuses our credentials, or answers what is of no use."""


class Expired(ClusterError):
    """What a list or a watch goes on from is too old (410): begin anew."""


class Rejected(HostError):
    """The cluster understood what was asked and refuses it, for the reason that the text gives."""


CLUSTER = Peer("Kubernetes", ClusterError)
