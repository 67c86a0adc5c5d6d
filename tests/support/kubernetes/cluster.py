"""What tests get: an API server with kubeconfigs for it, and a plain client that shares no code with the product."""

import base64
import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from tests.support.kubernetes import kubeconfig

Query = Mapping[str, str] | list[tuple[str, str]]
APPLY = "application/apply-patch+yaml"
_SECONDS = 60


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class Cluster:
    """An API server, a double or a real one. `folder` has a kubeconfig for each of admin (by certificate), admin-token,
    viewer, nobody, and broken-ca, which trusts another CA.

    `runs_pods` tells whether there is a node; a real one may lack it.
    """

    name: str
    folder: Path
    port: int
    authority: Path
    tokens: Mapping[str, str]
    runs_pods: bool = True
    namespaces: list[str] = field(default_factory=list)

    def kubeconfig(self, who: str = "admin") -> Path:
        """The file of a user."""
        return self.folder / f"{who}.conf"

    def write_kubeconfig(self, path: Path, user: Mapping[str, Any], namespace: str = "") -> Path:
        """A further kubeconfig of this cluster, with what stands under `user`."""
        return kubeconfig.write(path, f"https://127.0.0.1:{self.port}", self.authority, user, namespace)

    def connect(self, seconds: float = _SECONDS) -> http.client.HTTPSConnection:
        """A connection."""
        context = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=seconds)

    def headers(self, who: str | None) -> dict[str, str]:
        """What tells who asks: a user, or a token that nobody has; None says nothing."""
        return {} if who is None else {"Authorization": f"Bearer {self.tokens.get(who, who)}"}

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        *,
        query: Query | None = None,
        who: str | None = "admin",
    ) -> Reply:
        """Ask; a body that is no bytes is sent as JSON."""
        target = f"{path}?{urlencode(query)}" if query else path
        headers = self.headers(who)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = content_type
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers.get("Content-Type", ""), answer.read())

    def apply(self, path: str, document: Mapping[str, Any], manager: str = "test", **query: str) -> Reply:
        """Apply an object on the server's side; `path` is its own."""
        return self.request("PATCH", path, document, APPLY, query={"fieldManager": manager, **query})

    def must(self, reply: Reply) -> Any:
        """The body of an answer that is no refusal."""
        assert reply.status < 400, reply
        return reply.json

    def namespace(self, name: str) -> str:
        """Make a namespace, which is deleted at the end."""
        self.must(self.apply(f"/api/v1/namespaces/{name}", _named("v1", "Namespace", name)))
        self.namespaces.append(name)
        return name

    def pod(self, namespace: str, name: str, *command: str, running: bool = True, **spec: Any) -> Any:
        """Make a pod with a container `main` of busybox, and wait until it runs."""
        container = {"name": "main", "image": "bb:1", "command": list(command or ("sleep", "1000"))}
        content = {"containers": [container], "hostNetwork": True, "terminationGracePeriodSeconds": 1, **spec}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.must(self.apply(path, {**_named("v1", "Pod", name), "spec": content}))
        return self.wait_for(path, lambda pod: pod["status"]["phase"] != "Pending") if running else None

    def wait_for(self, path: str, condition: Callable[[Any], object]) -> Any:
        """Wait until an object is as wanted."""
        deadline = time.monotonic() + _SECONDS
        while True:
            reply = self.request("GET", path)
            if reply.status == 200 and condition(reply.json):
                return reply.json
            assert time.monotonic() < deadline, reply
            time.sleep(0.05)

    def wait_until_gone(self, path: str) -> None:
        """Wait until there is no such object."""
        deadline = time.monotonic() + _SECONDS
        while (reply := self.request("GET", path)).status != 404:
            assert time.monotonic() < deadline, reply
            time.sleep(0.05)

    def clean(self) -> None:
        """Delete the namespaces that were made."""
        while self.namespaces:
            self.request("DELETE", f"/api/v1/namespaces/{self.namespaces.pop()}")


def _named(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def real(path: Path) -> Cluster:
    """The server that a kubeconfig names. Beside it lie those of the other users, which have tokens."""
    found = yaml.safe_load(path.read_text())
    (cluster,) = [each["cluster"] for each in found["clusters"]]
    authority = path.parent / "authority-of-the-real-one.crt"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    users = {"admin": "admin-token.conf", "viewer": "viewer.conf", "nobody": "nobody.conf"}
    tokens = {
        user: yaml.safe_load((path.parent / file).read_text())["users"][0]["user"]["token"]
        for user, file in users.items()
    }
    port = urlsplit(cluster["server"]).port
    assert port is not None
    made = Cluster("real", path.parent, port, authority, tokens)
    nodes = made.must(made.request("GET", "/api/v1/nodes"))["items"]
    made.runs_pods = bool(nodes)
    return made


@contextlib.contextmanager
def cleaned(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, without what was made in it afterwards."""
    try:
        yield cluster
    finally:
        cluster.clean()
