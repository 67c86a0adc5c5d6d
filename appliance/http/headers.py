"""Header lines that every response bears, encoded once, and the pieces a response head is joined from."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache

from appliance.http.errors import reason

API_CSP = "default-src 'none'; frame-ancestors 'none'"

# RFC 6797, RFC 9110 section 5.5, and the header table of the admin contract.
PLAIN_SECURITY_HEADERS = b"X-Frame-Options: deny\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
SECURITY_HEADERS = b"Strict-Transport-Security: max-age=31536000\r\n" + PLAIN_SECURITY_HEADERS

_FORBIDDEN = dict.fromkeys([*range(0x20), 0x7F], " ")
_status_lines: dict[int, bytes] = {}


def status_line(status: int) -> bytes:
    """Return the encoded status line of `status`, remembered (RFC 9112 section 4)."""
    line = _status_lines.get(status)
    if line is None:
        line = _status_lines[status] = f"HTTP/1.1 {status} {reason(status)}\r\n".encode("ascii")
    return line


def header_line(name: str, value: str) -> bytes:
    """Encode one header line; control characters become blanks and what is not ASCII `?` (no header injection)."""
    return f"{name}: {value.translate(_FORBIDDEN)}\r\n".encode("ascii", "replace")


@lru_cache(maxsize=64)
def csp_line(policy: str) -> bytes:
    """Encode a Content-Security-Policy line, remembered: a surface has one, and every response bears it."""
    return header_line("Content-Security-Policy", policy)


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Encode several header lines."""
    return b"".join([header_line(name, value) for name, value in headers])


def date_line(seconds: float) -> bytes:
    """Encode the Date header (RFC 9110 section 6.6.1) of `seconds` since the epoch."""
    return b"Date: " + formatdate(seconds, usegmt=True).encode("ascii") + b"\r\n"
