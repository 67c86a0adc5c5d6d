"""What a handler may give back: a typed value (the surface's envelope encodes it) or one of these."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IProtocol

from appliance.http.streams import Source


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A finished response: status, media type, body and further headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


class FileReply(msgspec.Struct, frozen=True):
    """A file that is streamed with back-pressure. `headers` are added to those of the content itself.

    With `ranges` a client may have a part of it. A `temporary` one loses its name when it is opened.
    """

    path: Path
    content_type: str
    headers: Mapping[str, str] = {}
    status: int = 200
    ranges: bool = False
    temporary: bool = False


class StreamReply(msgspec.Struct, frozen=True):
    """A body that is still being made and may never end, sent with back-pressure.

    The source is closed in the end, whoever ends it; where it fails the connection is cut.
    """

    source: Source
    content_type: str
    headers: Mapping[str, str] = {}
    status: int = 200


class Upgrade(msgspec.Struct, frozen=True):
    """The connection goes over to `protocol` (RFC 9110 section 7.8), which gets the request's head as it came and
    answers it itself."""

    protocol: IProtocol
