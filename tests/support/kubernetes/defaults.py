"""What the server adds to an object that says nothing about it."""

import base64
import itertools
from typing import Any

Document = dict[str, Any]
_addresses = itertools.count(2)
_node_ports = itertools.count(30000)


def complete(document: Document) -> None:
    """Fill in the defaults of a built-in kind. May be called again on what it has filled in."""
    for place, names in ((document, ("data",)), (document["metadata"], ("labels", "annotations", "finalizers"))):
        for name in names:
            if name in place and not place[name]:
                del place[name]
    filling = {
        "Pod": _pod,
        "Deployment": _deployment,
        "ReplicaSet": _replica_set,
        "Service": _service,
        "Namespace": _namespace,
        "Secret": _secret,
        "Event": _event,
        "Node": _node,
        "CustomResourceDefinition": _definition,
    }.get(document["kind"])
    if filling is not None:
        filling(document)


def admit(document: Document) -> None:
    """Add what admission adds to a pod, and the state it begins in: nobody manages these."""
    if document["kind"] != "Pod":
        return
    spec = document["spec"]
    _fill(spec, priority=0, preemptionPolicy="PreemptLowerPriority")
    if spec.get("tolerations") is None:
        spec["tolerations"] = [
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in ("not-ready", "unreachable")
        ]
    limits = [each["resources"] for each in spec.get("containers") or []]
    if not any(limits):
        quality = "BestEffort"
    elif all(each.get("limits") and each.get("limits") == each.get("requests") for each in limits):
        quality = "Guaranteed"
    else:
        quality = "Burstable"
    _fill(document.setdefault("status", {}), phase="Pending", qosClass=quality)


def _fill(target: Document, **values: Any) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def _pod(pod: Document) -> None:
    spec = pod.setdefault("spec", {})
    _pod_spec(spec)
    _fill(spec, enableServiceLinks=True)


def _pod_spec(spec: Document) -> None:
    _fill(spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst")
    _fill(spec, securityContext={}, schedulerName="default-scheduler")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        tag = str(container.get("image", "")).rpartition("/")[2].partition(":")[2]
        policy = "Always" if tag in ("", "latest") else "IfNotPresent"
        _fill(container, resources={}, terminationMessagePath="/dev/termination-log")
        _fill(container, terminationMessagePolicy="File", imagePullPolicy=policy)
        for port in container.get("ports") or []:
            _fill(port, protocol="TCP")
            if spec.get("hostNetwork"):
                _fill(port, hostPort=port.get("containerPort"))
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(probe):
                _fill(container[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret"):
            if volume.get(source) is not None:
                _fill(volume[source], defaultMode=420)
        if volume.get("hostPath") is not None:
            _fill(volume["hostPath"], type="")
        if len(volume) == 1:
            volume["emptyDir"] = {}


def _template(spec: Document) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    _pod_spec(template.setdefault("spec", {}))


def _deployment(deployment: Document) -> None:
    spec = deployment.setdefault("spec", {})
    _fill(spec, replicas=1)
    _template(spec)
    _fill(spec, strategy={})
    _fill(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _fill(spec["strategy"], rollingUpdate={})
        _fill(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _fill(spec, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    _fill(deployment, status={})


def _replica_set(replicas: Document) -> None:
    spec = replicas.setdefault("spec", {})
    _fill(spec, replicas=1)
    _template(spec)
    _fill(replicas, status={"replicas": 0})


def _service(service: Document) -> None:
    spec = service.setdefault("spec", {})
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    for port in spec.get("ports") or []:
        _fill(port, protocol="TCP", targetPort=port.get("port"))
        if spec["type"] in ("NodePort", "LoadBalancer"):
            _fill(port, nodePort=next(_node_ports))
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName" and spec.get("ports"):
        if not spec.get("clusterIP"):
            spec["clusterIP"] = f"10.0.0.{next(_addresses) % 250 + 2}"
        _fill(spec, clusterIPs=[spec["clusterIP"]])
    _fill(service, status={"loadBalancer": {}})


def _namespace(namespace: Document) -> None:
    _fill(namespace, spec={}, status={})
    _fill(namespace["spec"], finalizers=["kubernetes"])
    _fill(namespace["status"], phase="Active")


def _secret(secret: Document) -> None:
    _fill(secret, type="Opaque")
    for name, value in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[name] = base64.b64encode(str(value).encode()).decode()


def _event(event: Document) -> None:
    _fill(event, involvedObject={}, source={}, reportingComponent="", reportingInstance="")
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        event.setdefault(name, None)


def _node(node: Document) -> None:
    _fill(node, spec={}, status={})


def _definition(definition: Document) -> None:
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = str(names.get("kind", ""))
    _fill(names, singular=kind.lower(), listKind=f"{kind}List")
    _fill(spec, conversion={"strategy": "None"})
    storage = [version["name"] for version in spec.get("versions") or [] if version.get("storage")]
    _fill(definition, status={})
    if "acceptedNames" not in definition["status"]:
        accepted = {"plural": "", "kind": ""}
        definition["status"] = {"conditions": None, "acceptedNames": accepted, "storedVersions": storage}
