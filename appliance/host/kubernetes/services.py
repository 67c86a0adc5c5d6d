"""Services as kubectl(1) shows them."""

from appliance.host.kubernetes.ages import age
from appliance.host.kubernetes.model import KubernetesService
from appliance.host.kubernetes.wire import LoadBalanced, LoadBalancer, Service, ServicePort, ServiceSpec
from appliance.host.kubernetes.workloads import pairs_text

PENDING = "<pending>"


def shown_service(found: Service, now: float) -> KubernetesService:
    """A line of `kubectl get services -o wide`; `now` in seconds since 1970."""
    spec = found.spec or ServiceSpec()
    return KubernetesService(
        name=found.metadata.name,
        namespace=found.metadata.namespace,
        type=spec.type,
        cluster_ip=spec.cluster_ip,
        external_ips=_external(spec, found.status),
        ports=[port_text(each) for each in spec.ports or []],
        age=age(found.metadata.creation_timestamp, now),
        created_at=found.metadata.creation_timestamp or "",
        selector=pairs_text(spec.selector),
        labels=found.metadata.labels or {},
    )


def port_text(port: ServicePort) -> str:
    """As `80/TCP`, or `80:30080/TCP` where each node has it too."""
    outside = f":{port.node_port}" if port.node_port else ""
    return f"{port.port}{outside}/{port.protocol}"


def balanced(status: LoadBalanced | None) -> list[str]:
    """The addresses or names that a load balancer has given."""
    balancer = (status.load_balancer if status is not None else None) or LoadBalancer()
    return [each.ip or each.hostname for each in balancer.ingress or [] if each.ip or each.hostname]


def _external(spec: ServiceSpec, status: LoadBalanced | None) -> list[str]:
    if spec.type == "ExternalName":
        return [spec.external_name] if spec.external_name else []
    given = list(spec.external_ips or [])
    if spec.type == "LoadBalancer":
        given = list(dict.fromkeys([*balanced(status), *given])) or [PENDING]
    return given
