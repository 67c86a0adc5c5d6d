"""An answer that is read as it comes."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import IO

from tests.support.machine import SystemServer


@contextlib.contextmanager
def following(server: SystemServer, path: str) -> Iterator[IO[bytes]]:
    """The body of a stream as it comes; a client that is not read from does not read itself."""
    argv = [*server.machine.prefix, "curl", "-sS", "--no-buffer", "--cacert", str(server.server.certificate)]
    argv += ["-H", f"Authorization: Bearer {server.tokens['admin']}", f"{server.server.base}/api/v1{path}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        try:
            yield client.stdout
        finally:
            client.kill()
