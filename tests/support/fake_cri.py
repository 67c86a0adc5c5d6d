"""A runtime that says by CRI what the test wants, for what the real one says too seldom, and in the words of CRI-O."""

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc

from appliance.host.containers.cri.schema import message_classes
from appliance.host.containers.cri.v1 import MESSAGES, METHODS, PACKAGE

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # other tests of this process fork

Answer = Callable[[Any, Any], Mapping[str, object]]
"""Takes the request and its context, which can refuse; gives the fields of the answer."""


class FakeRuntime(grpc.GenericRpcHandler):
    """Answers by `answers`, from the name of a method; what is not in it is not implemented."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="a b%")
        self.socket = Path(self._folder.name) / "cri.sock"
        self.answers: dict[str, Answer] = {"Version": lambda *_: {"runtime_name": "cri-o"}}
        self.asked: list[str] = []
        self._classes = message_classes(MESSAGES)
        self._server: Any = None

    def start(self) -> None:
        """Listen."""
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        self._server.add_insecure_port(f"unix:{quote(str(self.socket))}")
        self._server.start()

    def stop(self) -> None:
        """Listen no more, and break what is connected."""
        self._server.stop(0).wait()

    def close(self) -> None:
        """For good."""
        self.stop()
        self._folder.cleanup()

    def service(self, handler_call_details: Any) -> Any:
        """What gRPC calls to know who answers."""
        for name, service in METHODS.items():
            if handler_call_details.method == f"/{PACKAGE}.{service}/{name}" and name in self.answers:
                return grpc.unary_unary_rpc_method_handler(
                    functools.partial(self._answer, name),
                    request_deserializer=self._classes[f"{name}Request"].FromString,
                    response_serializer=self._classes[f"{name}Response"].SerializeToString,
                )
        return None

    def _answer(self, name: str, request: Any, context: Any) -> Any:
        self.asked.append(name)
        return self._classes[f"{name}Response"](**self.answers[name](request, context))
