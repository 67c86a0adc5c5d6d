"""Asks the provider over HTTP: bounded in time and size, and never waited for by anybody else."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IResponse

from appliance.mesh.errors import ProviderRefused, ProviderUnavailable
from appliance.process.reactor import within
from appliance.threads import Threads

SECONDS = 10.0
LIMIT = 1 << 20
_FILE_LIMIT = 1 << 20


class ProviderClient:
    """Fetches JSON documents. `ca_file` holds the CA that is trusted instead of the system's."""

    def __init__(self, reactor: Any, threads: Threads, ca_file: Path | None) -> None:
        self._reactor = reactor
        self._threads = threads
        self._ca_file = ca_file
        self._http: HTTPClient | None = None

    async def get(self, url: str, token: str | None = None) -> Mapping[str, Any]:
        """Fetch a JSON object. Raises `ProviderUnavailable`."""
        headers: dict[bytes | str, bytes | str] = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        status, content = await self._ask("GET", url, headers, None)
        if status != 200:
            raise ProviderUnavailable(f"{url} answers {status}")
        return content

    async def post(self, url: str, fields: Mapping[str, str], credentials: tuple[str, str] | None) -> Mapping[str, Any]:
        """Send a form and return the JSON object. Raises `ProviderUnavailable`, `ProviderRefused`."""
        headers: dict[bytes | str, bytes | str] = {"Accept": "application/json"}
        if credentials is not None:
            pair = base64.b64encode(":".join(credentials).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        status, content = await self._ask("POST", url, headers, dict(fields))
        if 400 <= status < 500:
            raise ProviderRefused(str(content.get("error", status))[:200])
        if status != 200:
            raise ProviderUnavailable(f"{url} answers {status}")
        return content

    async def _ask(
        self, method: str, url: str, headers: dict[bytes | str, bytes | str], fields: dict[str, str] | None
    ) -> tuple[int, Mapping[str, Any]]:
        try:
            http = self._http or await self._connect()
            response = await within(
                self._reactor, SECONDS, http.request(method, url, headers=headers, data=fields, timeout=SECONDS)
            )
            body = await within(self._reactor, SECONDS, Deferred.fromCoroutine(_read(response)))
            content = msgspec.json.decode(body)
        except Exception as error:  # what connecting, TLS and decoding may fail with has no common base
            raise ProviderUnavailable(f"{url}: {type(error).__name__}: {error}") from error
        if not isinstance(content, dict):
            raise ProviderUnavailable(f"{url} answers with no JSON object")
        return response.code, content

    async def _connect(self) -> HTTPClient:
        trust = None
        if self._ca_file is not None:
            trust = trustRootFromCertificates([Certificate.loadPEM(await self._threads.run(_content, self._ca_file))])
        agent = Agent(self._reactor, BrowserLikePolicyForHTTPS(trust), connectTimeout=SECONDS)
        self._http = HTTPClient(agent)
        return self._http


async def _read(response: IResponse) -> bytes:
    pieces: list[bytes] = []

    def take(piece: bytes) -> None:
        pieces.append(piece)
        if sum(map(len, pieces)) > LIMIT:
            raise ProviderUnavailable("the provider's answer is too large")

    await treq.collect(response, take)
    return b"".join(pieces)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FILE_LIMIT)
