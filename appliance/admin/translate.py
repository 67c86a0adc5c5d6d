"""Domain errors of the admin surface become answers here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.admin.errors import Missing, Refused
from appliance.http.errors import HttpError, bad_request, not_found
from appliance.process.errors import AlreadyRunning, ProcessError

_CODES = {"update": "E1004"}


@contextmanager
def as_answers() -> Iterator[None]:
    """Turn `Refused` and `AlreadyRunning` into 400 and `Missing` into 404."""
    try:
        yield
    except Refused as error:
        raise bad_request(str(error)) from None
    except AlreadyRunning as error:
        code = _CODES.get(error.kind)
        fields = {"error-code": code} if code is not None else {}
        raise HttpError(400, f"{error.kind.capitalize()} is already running", code=code, fields=fields) from None
    except ProcessError as error:
        raise bad_request(f"The script cannot be run: {error}") from None
    except Missing:
        raise not_found() from None
