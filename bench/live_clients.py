"""
Many clients of /ws/metrics over TLS in one process, for bench/live.py; the token comes on standard input.

They subscribe to all metrics every second. The first line on standard output says that all have had a sample; after
--seconds a second one, in JSON, says what was seen: the timestamps, by how many clients each, and the bytes.
"""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import task
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

HOST = "127.0.0.1"
AT_ONCE = 20


class Client(WebSocketClientProtocol):
    """One subscriber."""

    factory: "Clients"

    def __init__(self) -> None:
        super().__init__()
        self.ready: Deferred[None] = Deferred()
        self.bytes = 0
        self.seen: set[str] = set()

    def onOpen(self) -> None:
        self.sendMessage(b'{"type":"subscribe","payload":{"interval":1}}')

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.bytes += len(payload)
        if payload.startswith(b'{"type":"metric","metric":"load"'):  # the last of a sample
            self.seen.add(json.loads(payload)["timestamp"])
            if not self.ready.called:
                self.ready.callback(None)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self.ready.called:
            self.ready.errback(ConnectionError(f"{code}: {reason}"))
        elif not self.factory.done:
            sys.exit(f"a client was closed with {code}: {reason}")


class Clients(WebSocketClientFactory):
    """Makes them."""

    protocol: Any = Client
    done = False


async def run(reactor: Any, port: int, certificate: str, count: int, seconds: float) -> None:
    """Connect all, wait, tell."""
    token = sys.stdin.readline().strip()
    factory = Clients(f"wss://{HOST}:{port}/ws/metrics", headers={"Authorization": f"Bearer {token}"}, reactor=reactor)
    with open(certificate, "rb") as file:
        trust = trustRootFromCertificates([Certificate.loadPEM(file.read())])
    gate = DeferredSemaphore(AT_ONCE)

    async def connect() -> Client:
        endpoint = wrapClientTLS(
            optionsForClientTLS(HOST, trustRoot=trust), TCP4ClientEndpoint(reactor, HOST, port, timeout=120)
        )
        client: Any = await endpoint.connect(factory)
        await client.ready
        return client  # type: ignore[no-any-return]  # it is one

    clients = await gatherResults([gate.run(lambda: Deferred.fromCoroutine(connect())) for _ in range(count)])
    print("ready", flush=True)
    for client in clients:
        client.seen.clear()
        client.bytes = 0
    await task.deferLater(reactor, seconds)
    seen = Counter(timestamp for client in clients for timestamp in client.seen)
    factory.done = True
    print(json.dumps({"seen": seen, "bytes": sum(client.bytes for client in clients)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("certificate")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    task.react(
        lambda reactor: Deferred.fromCoroutine(run(reactor, given.port, given.certificate, given.count, given.seconds))
    )


if __name__ == "__main__":
    main()
