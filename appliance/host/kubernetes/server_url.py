"""Where an API server is."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """An API server's address; `prefix` stands before every path and is empty or begins with a slash."""

    host: str
    port: int
    prefix: str
    secure: bool

    @property
    def authority(self) -> str:
        """`host:port` as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base(self) -> str:
        """What paths are put behind."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}"


def parse(text: str) -> ServerUrl:
    """The URL `text`; one without a scheme is HTTPS. HTTP goes to this machine only. Raises `ValueError`: why."""
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("https", "http"):
        raise ValueError("is neither https nor http")
    if url.username is not None or url.query or url.fragment:
        raise ValueError("has a user, a query or a fragment")
    host = host.rstrip(".")
    if not is_host(host):
        raise ValueError("has no host name")
    prefix = url.path.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("has a path that cannot be")
    secure = url.scheme == "https"
    address = _address(host)
    local = host == "localhost" or (address is not None and address.is_loopback)
    if not secure and not local:
        raise ValueError("is http, which is taken on this machine only; make it https")
    if port == 0:
        raise ValueError("has port 0")
    return ServerUrl(host, port or (443 if secure else 80), prefix, secure)


def is_host(text: str) -> bool:
    """Whether `text` may be a host's name, or is an address."""
    return _address(text) is not None or (len(text) <= 253 and _NAME.fullmatch(text) is not None)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
