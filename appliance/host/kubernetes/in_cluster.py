"""The cluster that this service itself runs in, as a pod (Kubernetes, "Accessing the Kubernetes API from a Pod")."""

from collections.abc import Mapping
from pathlib import Path

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kubeconfig import Cluster, Selected, User

NAMESPACE = "namespace"
_NAME = "in-cluster"
_NAMESPACE_LIMIT = 1024


def selected(folder: Path, environment: Mapping[str, str]) -> Selected | None:
    """What the service account in `folder` and the pod's environment say; None in no pod. Raises `ClusterError`."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        namespace = read_limited(folder / NAMESPACE, _NAMESPACE_LIMIT).decode().strip()
    except FileNotFoundError:
        namespace = ""
    except (OSError, FileTooLarge, NotARegularFile, UnicodeDecodeError) as error:
        raise ClusterError(f"The namespace of the service account cannot be read: {error}") from None
    return Selected(
        file=folder,
        folder=folder,
        context=_NAME,
        namespace=namespace or "default",
        cluster_name=_NAME,
        cluster=Cluster(server=server, certificate_authority="ca.crt"),
        user_name=_NAME,
        user=User(token_file="token"),  # noqa: S106 - a file's name
    )
