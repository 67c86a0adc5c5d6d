"""Where a kubeconfig is looked for."""

from collections.abc import Sequence
from pathlib import Path

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the credentials of its service account."""

_ADMINISTRATOR = Path("/etc/kubernetes/admin.conf")
_DISTRIBUTIONS = (
    Path("/etc/rancher/k3s/k3s.yaml"),
    Path("/etc/rancher/rke2/rke2.yaml"),
    Path("/var/lib/k0s/pki/admin.conf"),
    Path("/var/snap/microk8s/current/credentials/client.config"),
)
"""Where k3s, RKE2, k0s and MicroK8s put that of their administrator."""


def search_order(setting: Path | None) -> Sequence[Path]:
    """The places to look at: the one that is set, or all that are usual, a folder being a service account's."""
    if setting is not None:
        return [setting]
    return [_ADMINISTRATOR, *_of_user(), *_DISTRIBUTIONS, SERVICE_ACCOUNT]


def _of_user() -> list[Path]:
    """kubectl's own, of the user that this service runs as."""
    try:
        return [Path.home() / ".kube" / "config"]
    except RuntimeError:  # no such user, as in some containers
        return []
