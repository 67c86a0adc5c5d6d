"""What of the surface is about Kubernetes, put together."""

from pathlib import Path
from typing import Any

from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.places import search_order
from appliance.process.run import ProcessRunner
from appliance.system.endpoints_kubernetes import KubernetesListEndpoints
from appliance.system.endpoints_kubernetes_apply import KubernetesApplyEndpoints
from appliance.system.endpoints_kubernetes_objects import KubernetesObjectEndpoints
from appliance.system.endpoints_kubernetes_pods import KubernetesPodEndpoints
from appliance.threads import Threads


class Cluster:
    """The cluster that this machine knows of, and all that is served of it."""

    def __init__(self, reactor: Any, threads: Threads, runner: ProcessRunner, kubeconfig: Path | None) -> None:
        self._reactor = reactor
        client = ClusterClient(reactor, threads, runner, search_order(kubeconfig))
        self._kubernetes = Kubernetes(reactor, threads, client)

    def endpoints(self) -> list[object]:
        """kubernetes/…"""
        return [
            KubernetesListEndpoints(self._kubernetes),
            KubernetesObjectEndpoints(self._kubernetes),
            KubernetesApplyEndpoints(self._kubernetes),
            KubernetesPodEndpoints(self._reactor, self._kubernetes),
        ]

    def stop(self) -> None:
        """Let go of idle connections."""
        self._kubernetes.client.forget()
