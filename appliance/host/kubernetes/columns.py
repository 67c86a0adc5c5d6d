"""What kubectl(1) shows of further kinds, beside name and age, under its own names for the columns."""

from collections.abc import Callable, Mapping
from typing import Any

from appliance.host.kubernetes.ages import age, duration, seconds_between
from appliance.host.kubernetes.events import for_readers
from appliance.host.kubernetes.services import balanced
from appliance.host.kubernetes.wire import (
    ConfigMap,
    CronJob,
    CronJobSpec,
    CronJobStatus,
    Event,
    IngressObject,
    IngressSpec,
    Job,
    JobSpec,
    JobStatus,
    Reference,
    ServiceAccount,
    Volume,
    VolumeSpec,
    VolumeStatus,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from appliance.host.kubernetes.workloads import images, wanted

Columns = dict[str, str]

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def config_map(found: ConfigMap, now: float) -> Columns:
    return {"data": str(len(found.data or {}) + len(found.binary_data or {}))}


def secret(found: ConfigMap, now: float) -> Columns:
    return {"type": found.type, "data": str(len(found.data or {}))}


def stateful_set(found: Workload, now: float) -> Columns:
    spec, status = found.spec or WorkloadSpec(), found.status or WorkloadStatus()
    return {"ready": f"{status.ready_replicas}/{wanted(spec)}", "images": ",".join(images(spec))}


def daemon_set(found: Workload, now: float) -> Columns:
    spec, status = found.spec or WorkloadSpec(), found.status or WorkloadStatus()
    return {
        "desired": str(status.desired_number_scheduled),
        "current": str(status.current_number_scheduled),
        "ready": str(status.number_ready),
        "up-to-date": str(status.updated_number_scheduled),
        "available": str(status.number_available),
        "images": ",".join(images(spec)),
    }


def replica_set(found: Workload, now: float) -> Columns:
    spec, status = found.spec or WorkloadSpec(), found.status or WorkloadStatus()
    return {
        "desired": str(wanted(spec)),
        "current": str(status.replicas),
        "ready": str(status.ready_replicas),
        "images": ",".join(images(spec)),
    }


def job(found: Job, now: float) -> Columns:
    spec, status = found.spec or JobSpec(), found.status or JobStatus()
    parallelism = spec.parallelism or 0
    total = str(spec.completions) if spec.completions is not None else "1"
    if spec.completions is None and parallelism > 1:
        total = f"1 of {parallelism}"
    took = seconds_between(status.start_time, status.completion_time, now)
    return {"completions": f"{status.succeeded}/{total}", "duration": "" if took is None else duration(took)}


def cron_job(found: CronJob, now: float) -> Columns:
    spec, status = found.spec or CronJobSpec(), found.status or CronJobStatus()
    last = status.last_schedule_time
    return {
        "schedule": spec.schedule,
        "suspend": str(bool(spec.suspend)),
        "active": str(len(status.active or [])),
        "last schedule": age(last, now) if last else "<none>",
    }


def ingress(found: IngressObject, now: float) -> Columns:
    spec = found.spec or IngressSpec()
    return {
        "class": spec.ingress_class_name or "<none>",
        "hosts": ",".join(each.host for each in spec.rules or [] if each.host) or "*",
        "address": ",".join(balanced(found.status)),
        "ports": "80, 443" if spec.tls else "80",
    }


def event(found: Event, now: float) -> Columns:
    series = found.series
    last = (series.last_observed_time if series is not None else None) or found.last_timestamp or found.event_time
    about = found.involved_object or Reference()
    count = series.count if series is not None else found.count
    return {
        "last seen": age(last or found.first_timestamp, now),
        "type": found.type,
        "reason": found.reason,
        "object": f"{about.kind.lower()}/{about.name}",
        "count": str(count or 1),
        "message": found.message.strip(),
    }


def event_for_readers(found: Event, now: float) -> Columns:
    return {**event(found, now), "message": for_readers(found.reason, found.message.strip())}


def volume(found: Volume, now: float) -> Columns:
    spec, status = found.spec or VolumeSpec(), found.status or VolumeStatus()
    claim = spec.claim_ref
    return {
        "capacity": (spec.capacity or {}).get("storage", ""),
        "access modes": _modes(spec.access_modes),
        "reclaim policy": spec.persistent_volume_reclaim_policy,
        "status": status.phase,
        "claim": f"{claim.namespace}/{claim.name}" if claim is not None else "",
        "storageclass": spec.storage_class_name or "",
    }


def claim(found: Volume, now: float) -> Columns:
    spec, status = found.spec or VolumeSpec(), found.status or VolumeStatus()
    return {
        "status": status.phase,
        "volume": spec.volume_name,
        "capacity": (status.capacity or {}).get("storage", ""),
        "access modes": _modes(status.access_modes),
        "storageclass": spec.storage_class_name or "",
    }


def service_account(found: ServiceAccount, now: float) -> Columns:
    return {"secrets": str(len(found.secrets or []))}


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES.get(each, each) for each in modes or [])


COLUMNS: Mapping[tuple[str, str], tuple[Any, Callable[[Any, float], Columns]]] = {
    ("", "configmaps"): (ConfigMap, config_map),
    ("", "secrets"): (ConfigMap, secret),
    ("", "serviceaccounts"): (ServiceAccount, service_account),
    ("", "events"): (Event, event),
    ("", "persistentvolumes"): (Volume, volume),
    ("", "persistentvolumeclaims"): (Volume, claim),
    ("apps", "statefulsets"): (Workload, stateful_set),
    ("apps", "daemonsets"): (Workload, daemon_set),
    ("apps", "replicasets"): (Workload, replica_set),
    ("batch", "jobs"): (Job, job),
    ("batch", "cronjobs"): (CronJob, cron_job),
    ("networking.k8s.io", "ingresses"): (IngressObject, ingress),
}
"""By API group and plural: what is read of an object, and what makes its columns; `now` is in seconds since 1970."""

FOR_READERS: Mapping[tuple[str, str], Callable[[Any, float], Columns]] = {("", "events"): event_for_readers}
"""What makes the columns for those who are no administrators, where these may see less."""
