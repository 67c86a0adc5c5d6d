"""A real server with the mesh on it, asked over HTTPS; users and tokens as a provider would have made them."""

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault
from tests.support.server import Server

EXEMPT = '[mesh]\nrate_limit_exempt = ["127.0.0.1"]\n'


@dataclass(frozen=True)
class MeshAnswer:
    """An answer; `headers` by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body; None for an empty one."""
        return json.loads(self.body) if self.body else None


@dataclass
class MeshServer:
    """A running server; `tokens` by the names of users."""

    server: Server
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._connection: http.client.HTTPSConnection | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> MeshAnswer:
        """Send a request to a path below /api, with a JSON body where one is given (bytes go as they are)."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        encoded = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        for attempt in (1, 2):
            connection = self._connection or self._connect()
            try:
                connection.request(method, f"/api{path}", encoded, {**sent, **(headers or {})})
                answer = connection.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return MeshAnswer(answer.status, found, answer.read())
            except (http.client.HTTPException, OSError):
                self.disconnect()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def api(self, who: str | None, method: str, path: str, body: object = None) -> MeshAnswer:
        """The same as a user, who is made where there is none of that name; None sends no token."""
        return self.ask(method, path, body, token=None if who is None else self.token(who))

    def good(self, who: str | None, method: str, path: str, body: object = None) -> Any:
        """The decoded answer of a request that succeeds."""
        answer = self.api(who, method, path, body)
        assert answer.status in (200, 201, 204), (method, path, answer)
        return answer.json

    def token(self, who: str) -> str:
        """A user's token. `admin` is a system admin: the user of the development token."""
        if who not in self.tokens:
            if who == "admin":
                self.tokens[who] = self.ask("GET", "/auth/dev-token").json["token"]
            else:
                self.tokens[who] = self.mint(who)
        return self.tokens[who]

    def mint(self, who: str, at: float | None = None) -> str:
        """A token as the server itself would sign it, at that time."""
        return self.signer(at).of_user(who, email=f"{who}@example.test", name=who, system_role="user")

    def signer(self, at: float | None = None) -> Tokens:
        """What signs tokens as the server does."""
        clock, vault = Clock(), Vault()
        clock.advance(time.time() if at is None else at)
        vault.prepare(self.server.state / "mesh" / "master.key")
        return Tokens(clock, vault)

    def user_id(self, who: str) -> int:
        """The id of a user."""
        self.good(who, "GET", "/networks")
        found = [each["id"] for each in self.good("admin", "GET", "/users") if each["oidc_sub"] == who]
        return int(found[0])

    def new_network(self, who: str, name: str, subnet: str = "10.77.0.0/24", **more: object) -> int:
        """Make a network; its id."""
        body = {"name": name, "subnet_cidr": subnet, "allow_overlap": True, **more}
        return int(self.good(who, "POST", "/networks", body)["id"])

    def new_node(self, who: str, network: int, name: str, **more: object) -> Any:
        """Make a node; what the server said."""
        return self.good(who, "POST", "/certificates/create", {"network_id": network, "name": name, **more})

    def enroll(self, who: str, node_id: int) -> str:
        """Enrol a node's device; its token."""
        code = self.good(who, "POST", "/device/enrollment-codes", {"node_id": node_id})["code"]
        return str(self.good(None, "POST", "/device/enroll", {"code": code})["device_token"])

    def disconnect(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.server.certificate))
        self._connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=60, context=context)
        return self._connection


@contextlib.contextmanager
def mesh_server(folder: Path, config: str = EXEMPT) -> Iterator[MeshServer]:
    """A server, ended afterwards."""
    server = Server(folder, config)
    found = MeshServer(server)
    try:
        server.start()
        yield found
    finally:
        found.disconnect()
        if server.process is not None:
            server.stop()
