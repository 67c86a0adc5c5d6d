"""
Clients that come and go, for bench/soak.py; the token comes on standard input.

Each of them opens a path of `VISITS`, says what stands there, stays for a while and leaves: in good order, by cutting
the connection, in the middle of the handshake, or thrown out for a wrong token. Then it comes again. At the end one
line of JSON tells how often each has happened.
"""

import argparse
import json
import random
import sys
from collections import Counter
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

HOST = "127.0.0.1"
LONGEST_STAY = 4.0
LEAVES = ("close", "abort", "close", "abort", "handshake", "wrong token")

VISITS: dict[str, list[str]] = {
    "/ws/metrics": ['{"type":"subscribe","payload":{"interval":1}}'],
    "/ws/events": ['{"type":"subscribe","payload":{"channel":"metrics"}}', '{"type":"ping"}'],
    "/ws/logs": ['{"type":"subscribe","payload":{"filters":{"priority":"info"}}}'],
    "/ws/terminal": ['{"type":"subscribe"}', '{"type":"input","data":"seq 1000\\n"}'],
}
"""What is said on each path after `auth`."""
WEIGHTS = (8, 8, 4, 1)
"""How often a path is visited: a shell costs far more than the rest."""


class Visitor(WebSocketClientProtocol):
    """One visit."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[None] = Deferred()
        self.gone: Deferred[int] = Deferred()
        self.heard = 0

    def onOpen(self) -> None:
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard += 1

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self.opened.called:
            self.opened.callback(None)
        self.gone.callback(code or 0)


class Crowd:
    """All of them."""

    def __init__(self, reactor: Any, port: int, certificate: str, token: str) -> None:
        self.reactor = reactor
        self.port = port
        self.token = token
        self.counts: Counter[str] = Counter()
        with open(certificate, "rb") as file:
            self.trust = trustRootFromCertificates([Certificate.loadPEM(file.read())])

    async def one(self, until: float) -> None:
        """A client that comes until the end."""
        while self.reactor.seconds() < until:
            try:
                await self.visit(random.choices(list(VISITS), WEIGHTS)[0], random.choice(LEAVES))
            except Exception as error:  # the server's refusals are counted, whatever they are
                self.counts[f"failed: {type(error).__name__}"] += 1
                await task.deferLater(self.reactor, 0.5)

    async def visit(self, path: str, leave: str) -> None:
        """Come, stay and leave."""
        factory = WebSocketClientFactory(f"wss://{HOST}:{self.port}{path}", reactor=self.reactor)
        factory.protocol = Visitor
        factory.setProtocolOptions(openHandshakeTimeout=60)
        endpoint = wrapClientTLS(
            optionsForClientTLS(HOST, trustRoot=self.trust), TCP4ClientEndpoint(self.reactor, HOST, self.port)
        )
        visitor: Any = await endpoint.connect(factory)
        if leave == "handshake":
            visitor.transport.abortConnection()
            self.counts[leave] += 1
            await visitor.gone
            return
        await visitor.opened
        token = "wrong" if leave == "wrong token" else self.token
        visitor.sendMessage(json.dumps({"type": "auth", "token": token}).encode())
        if leave != "wrong token":
            for message in VISITS[path]:
                visitor.sendMessage(message.encode())
            await task.deferLater(self.reactor, random.uniform(0, LONGEST_STAY))
            if leave == "close":
                visitor.sendClose(1000)
            else:
                visitor.transport.abortConnection()
        code = await visitor.gone
        if leave == "wrong token" and code != 4401:
            self.counts[f"a wrong token was answered with {code}"] += 1
        self.counts[leave] += 1
        self.counts["messages"] += visitor.heard


async def run(reactor: Any, given: argparse.Namespace) -> None:
    """Let them come and go; tell."""
    crowd = Crowd(reactor, given.port, given.certificate, sys.stdin.readline().strip())
    until = reactor.seconds() + given.seconds
    await gatherResults([Deferred.fromCoroutine(crowd.one(until)) for _ in range(given.count)])
    print(json.dumps(crowd.counts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("certificate")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor, given)))


if __name__ == "__main__":
    main()
