"""kubernetes/pods/…/logs, kubernetes/…/rollout and …/scale: what pods write, their replacement, their number."""

from typing import Any

from appliance.host.containers.log_text import read_text
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.rollouts import ROLLED_OUT
from appliance.host.kubernetes.scaling import SCALED, scale
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import StreamReply
from appliance.identity.caller import administrator, reader
from appliance.system.envelope import NO_STORE
from appliance.system.models_containers import TEXT_STREAM
from appliance.system.models_kubernetes import (
    KubernetesPodLog,
    KubernetesRestarted,
    KubernetesRolloutStatus,
    KubernetesScaled,
    PodLogQuery,
    ScaleBody,
)

_ROLLED_OUT = f"any({', '.join(ROLLED_OUT)})"
_SCALED = f"any({', '.join(SCALED)})"


class KubernetesPodEndpoints:
    """Logs, rollouts and numbers of pods."""

    routes = Routes(prefix="/kubernetes", tag="Kubernetes")

    def __init__(self, reactor: Any, kubernetes: Kubernetes) -> None:
        self._reactor = reactor
        self._logs = kubernetes.logs
        self._rollouts = kubernetes.rollouts
        self._client = kubernetes.client

    @routes.get(
        "/pods/<namespace>/<name>/logs",
        reply=KubernetesPodLog,
        who=reader,
        query=PodLogQuery,
        streams=TEXT_STREAM,
        statuses=(404, 422, 503),
    )
    async def get_kubernetes_pod_logs(
        self, call: Call, query: PodLogQuery, namespace: str, name: str
    ) -> KubernetesPodLog | StreamReply:
        """The log of a pod's container, standard output and error in the order of writing.

        It has the last 2 MiB at the most; by `stream=true` all that is asked for comes as plain text, and by
        `follow=true` also what is written from then on.
        """
        log = await self._logs.open(namespace, name, query.options(self._reactor.seconds()))
        if query.as_stream:
            return StreamReply(log, TEXT_STREAM, NO_STORE)
        read = await read_text(self._reactor, log)
        return KubernetesPodLog(name, namespace, query.container, read.text, read.truncated)

    @routes.patch(
        f"/<{_ROLLED_OUT}:kind>/<namespace>/<name>/rollout/restart",
        reply=KubernetesRestarted,
        who=administrator,
        audit="kubernetes.rollout.restart",
        statuses=(404, 409, 422, 503),
    )
    async def restart_kubernetes_rollout(self, call: Call, kind: str, namespace: str, name: str) -> KubernetesRestarted:
        """Have all pods replaced by new ones, a few at a time. It has begun when the answer comes."""
        call.audit_object = f"{kind} {namespace}/{name}"
        found = ROLLED_OUT[kind]
        moment = await self._rollouts.restart(found, namespace, name)
        return KubernetesRestarted(found.kind, namespace, name, moment, f"{found.kind} {name} restarted", True)

    @routes.get(
        f"/<{_ROLLED_OUT}:kind>/<namespace>/<name>/rollout/status",
        reply=KubernetesRolloutStatus,
        who=reader,
        statuses=(404, 422, 503),
    )
    async def get_kubernetes_rollout_status(
        self, call: Call, kind: str, namespace: str, name: str
    ) -> KubernetesRolloutStatus:
        """How far the replacement of pods has come."""
        found = ROLLED_OUT[kind]
        rollout = await self._rollouts.status(found, namespace, name)
        return KubernetesRolloutStatus(found.kind, namespace, name, rollout.complete, rollout.message)

    @routes.patch(
        f"/<{_SCALED}:kind>/<namespace>/<name>/scale",
        reply=KubernetesScaled,
        who=administrator,
        body=JsonBody(ScaleBody),
        audit="kubernetes.scale",
        statuses=(404, 409, 422, 503),
    )
    async def scale_kubernetes_resource(
        self, call: Call, body: ScaleBody, kind: str, namespace: str, name: str
    ) -> KubernetesScaled:
        """Set the number of pods. They come or go after the answer."""
        call.audit_object = f"{kind} {namespace}/{name}"
        call.audit_details["replicas"] = body.replicas
        found = SCALED[kind]
        replicas = await scale(self._client, found, namespace, name, body.replicas)
        return KubernetesScaled(found.kind, namespace, name, replicas, f"{found.kind} {name} scaled", True)
