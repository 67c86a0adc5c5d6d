"""The answers of the admin surface: plain JSON for what is asked for, `Status` and `Error-Message` for refusals."""

from collections.abc import Callable

import msgspec

from appliance.admin.models import Accepted, ErrorBody, Status
from appliance.http.call import Call
from appliance.http.errors import HttpError, MethodNotAllowed, reason
from appliance.http.replies import FileReply, Reply

_NO_CACHE = {"Cache-Control": "no-cache"}


class AdminEnvelope:
    """`first_run` tells whether the first run is pending (true) or over (false); None where it is not enabled."""

    def __init__(self, first_run: Callable[[], bool | None]) -> None:
        self._first_run = first_run
        self._encode = msgspec.json.Encoder().encode

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Encode a handler's value; the endpoint's declaration says its status."""
        status = call.endpoint.status if call.endpoint is not None else 200
        if isinstance(value, Accepted):
            body = {"Status": _status(202), "Location": value.location}
            if value.sha256 is not None:
                body["sha256"] = value.sha256
            return Reply(202, self._encode(body), headers={**_NO_CACHE, "Location": value.location})
        if isinstance(value, str):
            return Reply(status, value.encode("utf-8", "replace"), "text/plain; charset=utf-8", _NO_CACHE)
        if isinstance(value, bytes):
            return Reply(status, value, "text/plain; charset=utf-8", _NO_CACHE)
        return Reply(status, self._encode(Status(_status(200)) if value is None else value), headers=_NO_CACHE)

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Encode a refusal: the text stands in the body and in a header of the same name."""
        status, message = error.status, error.message
        if isinstance(error, MethodNotAllowed):
            # Contract: 400, and only after the credentials were found good.
            status = 400
            message = f"Invalid authentication method. Expected {' or '.join(sorted(error.allowed))}"
        body = ErrorBody(_status(status))
        headers = {**_NO_CACHE, **error.headers}
        if message is not None and status != 404:
            body.message = message
            headers["Error-Message"] = message
            first_run = self._first_run()
            if first_run is not None:
                body.first_run = first_run
        encoded = self._encode(body)
        if error.fields:
            encoded = self._encode({**msgspec.to_builtins(body), **error.fields})
        return Reply(status, encoded, headers=headers)


def _status(status: int) -> str:
    return f"{status} {reason(status)}"
