"""An API server that says what the test wants, for what real ones say too seldom: HTTP by hand over TLS."""

import base64
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet import reactor as global_reactor
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from appliance.host.kubernetes.client import ClusterClient
from appliance.process.run import ProcessRunner
from appliance.threads import Threads
from tests.support.authority import Issued, issue
from tests.support.fake_engine import Connection, answer

reactor: Any = global_reactor

ADDRESS = "127.0.0.1"


def authority(name: str = "cluster CA", issuer: Issued | None = None) -> Issued:
    """A certificate authority, valid now."""
    return issue(name, issuer, ca=True, now=datetime.now(UTC))


def certificate(name: str, issuer: Issued, **more: Any) -> Issued:
    """A certificate for `name`, localhost and our address, valid now."""
    return issue(name, issuer, **{"now": datetime.now(UTC), "addresses": [ADDRESS], **more})


@implementer(IOpenSSLServerConnectionCreator)
class _Shows:
    """Shows a chain; asks for a certificate of the client and takes whatever comes, as API servers do, unless
    it is `demanding`."""

    def __init__(
        self,
        *chain: Issued,
        versions: tuple[int, int] = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION),
        demanding: bool = False,
    ) -> None:
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        first, *others = chain
        context.use_certificate(first.certificate)
        context.use_privatekey(first.key)
        for each in others:
            context.add_extra_chain_cert(each.certificate)
        context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if demanding else 0), lambda *_: True)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class FakeCluster:
    """Listens; answers by path. What is a bytes is sent, what is a function is called with the connection."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))
        self.authority = authority()
        self.said: dict[str, bytes | Callable[[Connection], None]] = {"GET /x": answer(b"1")}
        self.heard: list[str] = []
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections: list[Connection] = []
        self.number = 0
        self._port: Any = None
        self._shows: _Shows | None = _Shows(certificate("api", self.authority))

    def listen(self) -> None:
        """Begin, or again at the same port."""
        plain: Any = Factory.forProtocol(Connection)
        plain.engine = self
        plain.noisy = False
        factory = plain if self._shows is None else TLSMemoryBIOFactory(self._shows, False, plain)
        self._port = cast(IListeningPort, reactor.listenTCP(self.number, factory, interface=ADDRESS))
        self.number = self._port.getHost().port

    async def show(self, *chain: Issued, **more: Any) -> None:
        """Go on with another certificate, or without TLS."""
        await self.stop()
        self._shows = _Shows(*chain, **more) if chain else None
        self.listen()

    def receive(self, connection: Connection, method: str, target: str, head: bytes, body: bytes) -> None:
        """A whole request."""
        self.heard.append(f"{method} {target}")
        self.heads.append(head)
        self.bodies.append(body)
        said = self.said.get(f"{method} {target.partition('?')[0]}")
        if callable(said):
            said(connection)
        else:
            connection.write(said if said is not None else answer(b'{"kind":"Status","message":"no such thing"}', 404))

    def shown(self, name: str, number: int = -1) -> list[str]:
        """The values of a header of a request, the last one by default."""
        lines = self.heads[number].decode().split("\r\n")[1:]
        return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name.lower()}: ")]

    def identity(self, number: int = -1) -> str | None:
        """The common name in the certificate that a connection's client showed."""
        found: crypto.X509 | None = self.connections[number].transport.getPeerCertificate()
        if found is None:
            return None
        (name,) = found.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(name.value)

    def config(self, *, cluster: Any = None, user: Any = None, context: Any = None, **more: Any) -> dict[str, Any]:
        """A kubeconfig for this server, with changes; None takes a key away."""
        base = {
            "server": f"https://{ADDRESS}:{self.number}",
            "certificate-authority-data": base64.b64encode(self.authority.pem).decode(),
        }
        chosen = {key: value for key, value in {**base, **(cluster or {})}.items() if value is not None}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": chosen}],
            "users": [{"name": "u", "user": {"token": "a-token"} if user is None else user}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **(context or {})}}],
            "current-context": "here",
            "preferences": {},
            **more,
        }

    async def stop(self) -> None:
        """Listen no longer, and end what there is."""
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
        for connection in self.connections:
            if not connection.closed:
                connection.transport.abortConnection()


class ClusterTestCase(TestCase):
    """A case with a fake cluster, a kubeconfig of it and a client."""

    timeout = 60

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.cluster.listen()
        self.folder = self.cluster.folder
        self.file = self.folder / "config"
        self.write()
        self.runner = ProcessRunner(reactor)
        self.client = ClusterClient(reactor, Threads(reactor), self.runner, [self.file])
        self.addCleanup(self._end)

    def write(self, **changes: Any) -> None:
        """Write the kubeconfig of the cluster, with changes."""
        self.put("config", json.dumps(self.cluster.config(**changes)).encode())

    def put(self, name: str, content: bytes, mode: int = 0o600) -> Path:
        """Write a file beside it as editors do, by a rename."""
        path = self.folder / name
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_bytes(content)
        fresh.chmod(mode)
        return fresh.rename(path)

    async def get(self, path: str = "/x", **more: Any) -> bytes:
        """The body of an answer."""
        return (await self.client.call("GET", path, **more)).body

    async def failure(self, waited: Any) -> Exception:
        """What a coroutine fails with."""
        try:
            await waited
        except Exception as error:
            return error
        raise AssertionError("it did not fail")

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when `condition` holds; the case's own time limit bounds it."""
        while not condition():
            await deferLater(reactor, 0.005, lambda: None)

    async def _end(self) -> None:
        await deferLater(reactor, 0, lambda: None)  # a connection is put away after its answer has been told
        self.client.forget()
        await self.runner.stop()
        await self.cluster.stop()
        await self.until(lambda: all(connection.closed for connection in self.cluster.connections))
        await deferLater(reactor, 0.01, lambda: None)
        shutil.rmtree(self.folder)
