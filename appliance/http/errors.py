"""What can go wrong with a request, as exceptions that carry their answer.

Each surface's envelope turns an `HttpError` into that surface's own error form.
"""

import errno
from collections.abc import Mapping
from http import HTTPStatus


class HttpError(Exception):
    """A refusal: a status code, a text for the client and what else the envelope may show.

    `message` is None where the status says it all; `code` is the surface's own error code; `fields` are further
    members of the error body; `headers` are added to the response.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or reason(status))
        self.status = status
        self.message = message
        self.code = code
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})


class MethodNotAllowed(HttpError):
    """The path exists, but not with this method. `allowed` lists the methods it has."""

    def __init__(self, method: str, allowed: frozenset[str]) -> None:
        super().__init__(405, headers={"Allow": ", ".join(sorted(allowed))})
        self.method = method
        self.allowed = allowed


# Phrases that the standard library changed between Python 3.11 and 3.13: answers shall not depend on that.
_RFC_9110 = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}


def reason(status: int) -> str:
    """Return the standard phrase of a status code (RFC 9110 section 15), or "Unknown" for one that has none."""
    try:
        return _RFC_9110.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def bad_request(message: str | None = None) -> HttpError:
    """A 400 with a text that says which field is wrong and why."""
    return HttpError(400, message)


def forbidden(message: str) -> HttpError:
    """A 403."""
    return HttpError(403, message)


def not_found(message: str | None = None) -> HttpError:
    """A 404."""
    return HttpError(404, message)


def too_large(limit: int) -> HttpError:
    """A 413 that names the limit in bytes."""
    return HttpError(413, f"Request body too large. Allowed: <= {limit} bytes")


def insufficient_storage() -> HttpError:
    """A 507: the disk has no room for what the request brings or causes."""
    return HttpError(507, "Not enough free space to store the request body")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an operation failed for want of space or quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
