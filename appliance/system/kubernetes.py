"""What of the surface is about Kubernetes, put together."""

from pathlib import Path
from typing import Any

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.places import search_order
from appliance.process.run import ProcessRunner
from appliance.system.endpoints_kubernetes import KubernetesListEndpoints
from appliance.system.endpoints_kubernetes_apply import KubernetesApplyEndpoints
from appliance.system.endpoints_kubernetes_objects import KubernetesObjectEndpoints
from appliance.system.endpoints_kubernetes_pods import KubernetesPodEndpoints
from appliance.system.live.door import Door
from appliance.system.live.endpoints_kubernetes import LiveKubernetesEndpoints
from appliance.system.live.events import Source
from appliance.system.live.kubernetes_events import KubernetesEventsSource
from appliance.threads import Threads


class Cluster:
    """The cluster that this machine knows of, and all that is served of it."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        runner: ProcessRunner,
        background: Background,
        kubeconfig: Path | None,
    ) -> None:
        self._reactor = reactor
        self._background = background
        client = ClusterClient(reactor, threads, runner, search_order(kubeconfig))
        self._kubernetes = Kubernetes(reactor, threads, background, client)

    def endpoints(self) -> list[object]:
        """kubernetes/…"""
        return [
            KubernetesListEndpoints(self._kubernetes),
            KubernetesObjectEndpoints(self._kubernetes),
            KubernetesApplyEndpoints(self._kubernetes),
            KubernetesPodEndpoints(self._reactor, self._kubernetes),
        ]

    def live_endpoints(self, door: Door, trail: Trail) -> list[object]:
        """/ws/kubernetes/…"""
        return [LiveKubernetesEndpoints(door, self._kubernetes.executions, self._background, trail)]

    def sources(self) -> dict[str, Source]:
        """Channels of /ws/events."""
        return {"k8s-events": KubernetesEventsSource(self._kubernetes.events, self._background)}

    async def stop(self) -> None:
        """Return when the programs that were run in pods have ended, and let go of idle connections."""
        await self._kubernetes.executions.stop()
        self._kubernetes.client.forget()
