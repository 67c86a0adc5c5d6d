"""Kubeconfig files."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def write(path: Path, server: str, authority: Path, user: Mapping[str, Any], namespace: str = "") -> Path:
    """Write a file with one cluster, one user and one context; `user` is what stands under `user`."""
    data = base64.b64encode(authority.read_bytes()).decode()
    context = {"cluster": "main", "user": "main", **({"namespace": namespace} if namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": server, "certificate-authority-data": data}}],
        "contexts": [{"name": "main", "context": context}],
        "users": [{"name": "main", "user": dict(user)}],
    }
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def certificate(certificate: Path, key: Path) -> dict[str, str]:
    """A user with a client certificate."""
    encode = {"client-certificate-data": certificate, "client-key-data": key}
    return {name: base64.b64encode(file.read_bytes()).decode() for name, file in encode.items()}
