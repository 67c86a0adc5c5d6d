"""What a node may be set to beyond its certificate: options of Nebula's configuration, decoded with their limits."""

from typing import Annotated, Literal

import msgspec

GO_DURATION = r"^([0-9]{1,9}(\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h))+$(?!\n)"
"""A duration as Go's time.ParseDuration reads it, without a sign."""

Duration = Annotated[str, msgspec.Meta(pattern=GO_DURATION, max_length=32)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Text = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class LighthouseOptions(msgspec.Struct, omit_defaults=True):
    """How a lighthouse is asked, and whether it answers questions of DNS."""

    interval_seconds: Annotated[int, msgspec.Meta(ge=1, le=86400)] | None = None
    serve_dns: bool | None = None
    dns_host: Text | None = None
    dns_port: Port | None = None


class LoggingOptions(msgspec.Struct, omit_defaults=True):
    """What Nebula logs on the host."""

    level: Literal["panic", "fatal", "error", "warning", "info", "debug"] | None = None
    format: Literal["json", "text"] | None = None
    disable_timestamp: bool | None = None
    timestamp_format: Text | None = None


class PunchyOptions(msgspec.Struct, omit_defaults=True):
    """How the host holds open its way through address translation."""

    respond: bool | None = None
    delay: Duration | None = None
    respond_delay: Duration | None = None


class NodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The three of a node."""

    lighthouse: LighthouseOptions | None = None
    logging: LoggingOptions | None = None
    punchy: PunchyOptions | None = None


def encode_options(options: LighthouseOptions | LoggingOptions | PunchyOptions | None) -> str | None:
    """As they are kept: JSON; None where there are none."""
    return None if options is None else msgspec.json.encode(options).decode()
