"""What a handler may give back: a typed value (the surface's envelope encodes it) or one of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished response: status, media type, body and further headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileReply:
    """A file that is streamed with back-pressure. `headers` are added to those of the content itself."""

    path: Path
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
