"""Domain errors of the admin surface become answers here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.admin.errors import Missing, Refused
from appliance.http.errors import HttpError, bad_request, insufficient_storage, is_disk_full, not_found
from appliance.process.errors import AlreadyRunning, JobError, ProcessError

_CODES = {"update": "E1004"}


@contextmanager
def as_answers() -> Iterator[None]:
    """Turn `Refused` and `AlreadyRunning` into 400, `Missing` into 404, a job that cannot be kept into 503 or 507."""
    try:
        yield
    except Refused as error:
        raise bad_request(str(error)) from None
    except AlreadyRunning as error:
        code = _CODES.get(error.kind)
        fields = {"error-code": code} if code is not None else {}
        raise HttpError(400, f"{error.kind.capitalize()} is already running", code=code, fields=fields) from None
    except JobError as error:
        if is_disk_full(error.__cause__):
            raise insufficient_storage() from error
        raise HttpError(503, str(error)) from error
    except ProcessError as error:
        raise bad_request(f"The script cannot be run: {error}") from None
    except Missing:
        raise not_found() from None
