"""The credentials of a log-in, whatever way a client sends them: JSON, or a form of either kind."""

import io

import msgspec
from multipart import MultipartError, MultipartParser, parse_options_header

from appliance.http.call import parse_query
from appliance.http.errors import HttpError
from appliance.rpc.models import LoginRequest


class Missing(Exception):
    """There are no credentials in it."""


def decode(content_type: str, body: bytes) -> LoginRequest:
    """The credentials in a body of that Content-Type. Raises `Missing`."""
    media_type, options = parse_options_header(content_type)
    try:
        if media_type == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
            fields = {name: values[-1] for name, values in parse_query(body).items()}
        elif media_type == "multipart/form-data":
            fields = _multipart_fields(body, options.get("boundary", ""))
        else:
            return msgspec.json.decode(body, type=LoginRequest)
        return msgspec.convert(fields, LoginRequest)
    except (msgspec.DecodeError, MultipartError, HttpError, UnicodeError, RecursionError):
        raise Missing from None


def _multipart_fields(body: bytes, boundary: str) -> dict[str, str]:
    parser = MultipartParser(io.BytesIO(body), boundary, content_length=len(body), disk_limit=0, part_limit=16)
    return {part.name: part.value for part in parser.parts() if part.filename is None}
