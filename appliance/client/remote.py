"""Which server a command talks to, and why it may be trusted."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from OpenSSL import crypto
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

from appliance.client.errors import ClientError
from appliance.files import FileTooLarge, NotARegularFile, read_limited

DEFAULT_PORT = 443
_CERTIFICATES_LIMIT = 4 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Remote:
    """A server by name (or address) and port; `trust` says whose certificates are believed."""

    host: str
    port: int
    trust: Any

    @property
    def authority(self) -> str:
        """Name and port as a URL has them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORT else f"{name}:{self.port}"

    def tls(self) -> Any:
        """What checks the server's certificate against its name (RFC 9525)."""
        return optionsForClientTLS(self.host, trustRoot=self.trust)


def remote(url: str, ca: Path | None = None) -> Remote:
    """The server of `https://host[:port]`, trusted by the certificates in file `ca` or by those of this machine.

    Raises `ClientError`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ClientError(f"{url!r} is no URL: {error}") from None
    if parts.scheme != "https" or not host or "@" in parts.netloc or parts.path not in ("", "/"):
        raise ClientError(f"{url!r} is not of the form https://host[:port]")
    if parts.query or parts.fragment:
        raise ClientError("The URL must not have a query or a fragment")
    return Remote(host, port or DEFAULT_PORT, platformTrust() if ca is None else _certificates(ca))


def _certificates(path: Path) -> Any:
    try:
        found = _PEM.findall(read_limited(path, _CERTIFICATES_LIMIT))
        if not found:
            raise ClientError(f"{path} has no certificate in PEM form")
        trust: Any = trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise ClientError(f"{path} cannot be read: {error}") from None
    except (crypto.Error, ValueError):
        raise ClientError(f"{path} has a certificate that cannot be read") from None
    return trust
