"""Refusals in the words of the rpc contract, which clients match."""

import math

from appliance.http.errors import HttpError

REALM = {"WWW-Authenticate": "JWT realm=nethserver"}


class RpcError(HttpError):
    """A refusal with `data`; `code` is that of the envelope where it is not the status."""

    def __init__(
        self,
        status: int,
        message: str,
        data: object = None,
        *,
        code: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        envelope_code = status if code is None else code
        super().__init__(status, message, fields={"code": envelope_code, "data": data}, headers=headers)


def unauthorized(message: str) -> RpcError:
    """A 401 of the token layer."""
    return RpcError(401, message, headers=REALM)


def no_permission() -> RpcError:
    """The token was revoked, or waits for the second factor."""
    return RpcError(403, "you don't have permission to access this resource", headers=REALM)


def sudo_required() -> RpcError:
    """The password has not been given once more, or too long ago."""
    return RpcError(403, "sudo mode required", code=0)


def malformed(why: str) -> RpcError:
    """The request is not what it should be."""
    return RpcError(400, "request fields malformed", why)


def validation_failed(message: str, parameter: str) -> RpcError:
    """A field is wrong; its value is not repeated."""
    error = {"message": message, "parameter": parameter, "value": ""}
    return RpcError(400, "validation_failed", {"validation": {"errors": [error]}})


def too_many(message: str, retry_after: float) -> RpcError:
    """Try again later."""
    return RpcError(429, message, headers={"Retry-After": str(max(1, math.ceil(retry_after)))})


def unavailable(message: str) -> RpcError:
    """What it takes is not there now."""
    return RpcError(503, message, headers={"Retry-After": "5"})
