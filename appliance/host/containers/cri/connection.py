"""A gRPC channel to a runtime's socket, whose answers come to the reactor. Importing this loads gRPC and protobuf.

Calls are gRPC's futures, not its blocking stubs in the threads that files are read in: a runtime that hangs would hold
one of those for each request, and who goes away meanwhile could not give up his call. A future is answered in a thread
of gRPC's own, from where it is handed on.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from twisted.internet.defer import Deferred

from appliance.host.containers.cri.failures import CallFailed
from appliance.host.containers.cri.schema import message_classes
from appliance.host.containers.cri.v1 import MESSAGES, METHODS, PACKAGE

ANSWER_LIMIT = 16 << 20
"""Bytes of an answer: as many as the kubelet takes."""

_OPTIONS = (
    ("grpc.max_receive_message_length", ANSWER_LIMIT),
    # What gRPC makes of the socket's path is not a host, and newer servers refuse it.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    # One that was closed must not lend its connection to the next.
    ("grpc.use_local_subchannel_pool", 1),
    # A runtime that has come back is found at once; by gRPC's own choice it may take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Connection:
    """Calls of the methods in `METHODS` over one socket. Making one takes up to a tenth of a second."""

    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._channel = grpc.insecure_channel(f"unix:{quote(str(path))}", _OPTIONS)
        self._classes = message_classes(MESSAGES)
        self._methods = {name: self._method(name, service) for name, service in METHODS.items()}

    def call(self, name: str, seconds: float, fields: dict[str, object]) -> "Deferred[Any]":
        """The answer to a method, called with a message of these `fields`; cancelling it cancels the call.

        Fails with `CallFailed`.
        """
        waited: Deferred[Any] = Deferred(lambda _: future.cancel())
        future = self._methods[name].future(self._classes[f"{name}Request"](**fields), timeout=seconds)
        future.add_done_callback(lambda done: self._reactor.callFromThread(_settle, waited, done))
        return waited

    def close(self) -> None:
        """End it, and with it what is still asked."""
        self._channel.close()

    def _method(self, name: str, service: str) -> Any:
        return self._channel.unary_unary(
            f"/{PACKAGE}.{service}/{name}",
            request_serializer=self._classes[f"{name}Request"].SerializeToString,
            response_deserializer=self._classes[f"{name}Response"].FromString,
        )


def _settle(waited: "Deferred[Any]", done: Any) -> None:
    if waited.called:  # it was cancelled
        return
    code = done.code()
    if code is grpc.StatusCode.OK:
        waited.callback(done.result())
    else:
        waited.errback(CallFailed(code.name, done.details() or ""))
