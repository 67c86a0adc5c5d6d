"""What readers see of whole objects."""

import json

from appliance.host.kubernetes.kinds import DEPLOYMENTS, PODS, Kind
from appliance.host.kubernetes.masking import masked

SECRET = "s3cr3t"


def test_a_workload() -> None:
    container = {
        "name": "c",
        "image": "i",
        "command": ["sh", SECRET],
        "args": [SECRET],
        "env": [{"name": "A", "value": SECRET}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
        "livenessProbe": {
            "exec": {"command": [SECRET]},
            "httpGet": {"path": "/", "httpHeaders": [{"name": "Authorization", "value": SECRET}]},
        },
        "lifecycle": {"preStop": {"exec": {"command": [SECRET]}}},
    }
    volumes = [
        {"name": "v", "csi": {"driver": "d", "volumeAttributes": {"password": SECRET}}},
        {"name": "f", "flexVolume": {"driver": "d", "options": {"password": SECRET}}},
    ]
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"a": SECRET}, "labels": {"app": "web"}},
        "spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}},
    }
    kept = json.dumps(content)
    found = masked(DEPLOYMENTS, content)
    assert SECRET not in json.dumps(found)
    assert json.dumps(content) == kept
    shown = found["spec"]["template"]["spec"]["containers"][0]
    assert (shown["name"], shown["image"], shown["command"]) == ("c", "i", ["***"])
    assert shown["env"] == [
        {"name": "A", "value": "***"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}},
    ]
    assert found["metadata"] == {"name": "web", "annotations": {"a": "***"}, "labels": {"app": "web"}}


def test_what_is_kept() -> None:
    kind = Kind("", "v1", "configmaps", "ConfigMap")
    found = masked(kind, {"metadata": {"name": "c"}, "data": {"a": SECRET}, "binaryData": {"b": SECRET}})
    assert found == {"metadata": {"name": "c"}, "data": {"a": "***"}, "binaryData": {"b": "***"}}


def test_what_states_of_containers_quote() -> None:
    quoted = {"reason": "CreateContainerError", "message": f'exec: "mysql -p{SECRET}": executable file not found'}
    statuses = [{"name": "c", "state": {"waiting": quoted}, "lastState": {"terminated": {**quoted, "exitCode": 128}}}]
    status = {"phase": "Pending", "message": "kept", "containerStatuses": statuses, "initContainerStatuses": statuses}
    found = masked(PODS, {"metadata": {"name": "p"}, "status": status})["status"]
    assert SECRET not in json.dumps(found) and SECRET in json.dumps(status)
    assert found["message"] == "kept"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "CreateContainerError", "message": "***"}}


def test_options_of_mounts() -> None:
    kind = Kind("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
    found = masked(kind, {"metadata": {"name": "v"}, "spec": {"mountOptions": [f"password={SECRET}"]}})
    assert found["spec"] == {"mountOptions": ["***"]}


def test_what_events_quote() -> None:
    kind = Kind("", "v1", "events", "Event")
    for reason, shown in (("Unhealthy", "***"), ("Started", SECRET)):
        found = masked(kind, {"metadata": {"name": "e"}, "reason": reason, "message": SECRET})
        assert found == {"metadata": {"name": "e"}, "reason": reason, "message": shown}


def test_what_nobody_here_knows() -> None:
    kind = Kind("example.com", "v1", "things", "Thing", built_in=False)
    content = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "annotations": {"a": SECRET}},
        "spec": {"password": SECRET, "nested": {"deep": SECRET}},
        "other": [SECRET],
        "empty": [],
        "word": SECRET,
    }
    assert masked(kind, content) == {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "annotations": {"a": "***"}},
        "spec": {"password": "***", "nested": "***"},
        "other": ["***"],
        "empty": [],
        "word": "***",
    }
