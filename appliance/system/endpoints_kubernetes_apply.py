"""POST kubernetes/…: objects are applied, as JSON or as YAML."""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.host.errors import HostError
from appliance.host.kubernetes.applying import Applied, Interrupted
from appliance.host.kubernetes.documents import SIZE_LIMIT
from appliance.host.kubernetes.errors import Rejected
from appliance.host.kubernetes.kinds import DEPLOYMENTS, PODS, SERVICES, Kind
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.views import View, view_of
from appliance.http.bodies import content_type
from appliance.http.call import Call
from appliance.http.endpoints import RawBody, Routes
from appliance.http.errors import HttpError
from appliance.identity.caller import administrator
from appliance.system.endpoints_kubernetes_objects import (
    deployment_detail,
    pod_detail,
    resource_detail,
    service_detail,
)
from appliance.system.models_kubernetes import (
    ApplyQuery,
    KubernetesApplied,
    KubernetesDeploymentApplied,
    KubernetesObject,
    KubernetesPodApplied,
    KubernetesResourceApplied,
    KubernetesServiceApplied,
)

_JSON, _YAML = ("application/json",), ("application/yaml", "text/yaml")
_ALSO_YAML = ("application/x-yaml", "application/vnd.yaml", "text/x-yaml")
_TITLES_IN_AUDIT = 20


class KubernetesApplyEndpoints:
    """Server-side apply, under the name `appliance`: what the object says becomes so, and what it does not say stays
    as it is."""

    routes = Routes(prefix="/kubernetes", tag="Kubernetes")

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kinds = kubernetes.kinds
        self._applier = kubernetes.applier

    async def _known_type(self, call: Call) -> None:
        """Refuse other media types before the body is read."""
        if content_type(call)[0] not in ("", *_JSON, *_YAML, *_ALSO_YAML):
            raise HttpError(415, f"Unsupported media type. Expected {', '.join(_JSON + _YAML)}")

    _options: Mapping[str, Any] = {
        "who": administrator,
        "body": RawBody(KubernetesObject, limit=SIZE_LIMIT, media_types=_JSON + _YAML),
        "query": ApplyQuery,
        "audit": "kubernetes.apply",
        "guard": _known_type,
        "statuses": (404, 409, 415, 422, 503),
    }

    @routes.post("/pods", reply=KubernetesPodApplied, **_options)
    async def apply_kubernetes_pods(self, call: Call, body: bytes, query: ApplyQuery) -> KubernetesPodApplied:
        """Make a pod, or change it."""
        done = await self._apply(call, body, query, PODS, view_of(PODS))
        return KubernetesPodApplied(
            pod_detail=pod_detail(done[0].found), results=_results(done), message=_message(done, query)
        )

    @routes.post("/deployments", reply=KubernetesDeploymentApplied, **_options)
    async def apply_kubernetes_deployments(
        self, call: Call, body: bytes, query: ApplyQuery
    ) -> KubernetesDeploymentApplied:
        """Make a deployment, or change it."""
        done = await self._apply(call, body, query, DEPLOYMENTS, view_of(DEPLOYMENTS))
        return KubernetesDeploymentApplied(
            deployment_detail=deployment_detail(done[0].found), results=_results(done), message=_message(done, query)
        )

    @routes.post("/services", reply=KubernetesServiceApplied, **_options)
    async def apply_kubernetes_services(self, call: Call, body: bytes, query: ApplyQuery) -> KubernetesServiceApplied:
        """Make a service, or change it."""
        done = await self._apply(call, body, query, SERVICES, view_of(SERVICES))
        return KubernetesServiceApplied(
            service_detail=service_detail(done[0].found), results=_results(done), message=_message(done, query)
        )

    @routes.post("/apply", reply=KubernetesResourceApplied, **_options)
    async def apply_kubernetes_resources(self, call: Call, body: bytes, query: ApplyQuery) -> KubernetesResourceApplied:
        """Make objects of any kinds, or change them.

        All are looked through before the first is sent, and then applied in their order: as several documents of YAML,
        or as a `List`. Where the cluster refuses one, those before it stay applied, those after it are not tried, and
        the refusal names all of them. What names no namespace goes into that of the kubeconfig's context.
        """
        done = await self._apply(call, body, query)
        return _resources_applied(done, query)

    @routes.post("/<kind>", reply=KubernetesResourceApplied, **_options)
    async def apply_kubernetes_resources_of_kind(
        self, call: Call, body: bytes, query: ApplyQuery, kind: str
    ) -> KubernetesResourceApplied:
        """Make objects of one kind, or change them; kinds are called as in lists."""
        done = await self._apply(call, body, query, await self._kinds.named(kind))
        return _resources_applied(done, query)

    async def _apply(
        self, call: Call, body: bytes, query: ApplyQuery, only: Kind | None = None, view: View | None = None
    ) -> list[Applied]:
        how = query.applying
        call.audit_details = {"force": how.force, "dry_run": how.dry_run}
        documents = await self._applier.read(body, is_yaml=content_type(call)[0] not in ("", *_JSON))
        _name_in_audit(call, [each.title for each in documents])
        planned = await self._applier.plan(documents, only)
        _name_in_audit(call, planned.titles)
        try:
            return await self._applier.apply(planned, how, view)
        except Interrupted as error:
            call.audit_details["applied"] = list(error.applied)
            _keep_words_from_audit(call, error.cause)
            raise
        except Rejected as error:
            _keep_words_from_audit(call, error)
            raise


def _name_in_audit(call: Call, titles: Sequence[str]) -> None:
    more = len(titles) - _TITLES_IN_AUDIT
    shown = ", ".join(titles[:_TITLES_IN_AUDIT])
    call.audit_object = f"{shown} and {more} more" if more > 0 else shown


def _keep_words_from_audit(call: Call, error: HostError) -> None:
    """The cluster quotes the values that it does not accept, and one may be a password."""
    if isinstance(error, Rejected):
        call.audit_outcome = "refused: not accepted by the cluster"


def _resources_applied(done: Sequence[Applied], query: ApplyQuery) -> KubernetesResourceApplied:
    return KubernetesResourceApplied(
        resource_detail=resource_detail(done[0].found), results=_results(done), message=_message(done, query)
    )


def _results(done: Sequence[Applied]) -> list[KubernetesApplied]:
    return [
        KubernetesApplied(each.kind.api_version, each.kind.kind, each.namespace, each.name, each.created)
        for each in done
    ]


def _message(done: Sequence[Applied], query: ApplyQuery) -> str:
    what = f"{done[0].kind.kind} {done[0].name}" if len(done) == 1 else f"{len(done)} objects"
    if query.applying.dry_run:
        return f"{what} would be applied"
    return f"{what} created" if all(each.created for each in done) else f"{what} applied"
