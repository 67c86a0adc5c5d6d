"""A cluster as a whole, put together of its parts."""

from typing import Any

from appliance.background import Background
from appliance.host.kubernetes.applying import Applier
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.executions import ClusterExecutions
from appliance.host.kubernetes.kinds import Kinds
from appliance.host.kubernetes.listing import Listing
from appliance.host.kubernetes.logs import PodLogs
from appliance.host.kubernetes.objects import Objects
from appliance.host.kubernetes.rollouts import Rollouts
from appliance.host.kubernetes.watch import ClusterEvents
from appliance.threads import Threads


class Kubernetes:
    """The cluster that `client` finds. Nothing is loaded or connected before something is asked of it."""

    def __init__(self, reactor: Any, threads: Threads, background: Background, client: ClusterClient) -> None:
        self.client = client
        self.kinds = Kinds(client)
        self.listing = Listing(reactor, threads, client)
        self.objects = Objects(reactor, threads, client)
        self.applier = Applier(reactor, threads, client, self.kinds)
        self.logs = PodLogs(client)
        self.rollouts = Rollouts(reactor, client)
        self.events = ClusterEvents(reactor, client, background)
        self.executions = ClusterExecutions(reactor, client, threads)
