"""Rules of a group's firewall: what they may be, and what Nebula makes of them."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from appliance.mesh.errors import Invalid
from appliance.mesh.names import GROUP

PORT_RANGE_LIMIT = 256
_PORTS = re.compile(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?")


class InboundRule(msgspec.Struct, frozen=True):
    """Hosts of `allowed_group` (`any`: all hosts) may come in at these ports.

    `port_range` is `any`, a port, a range as `8000-8100`, or a list of those with commas.
    """

    allowed_group: Annotated[str, msgspec.Meta(pattern=GROUP, max_length=253)]
    protocol: Literal["any", "tcp", "udp", "icmp"]
    port_range: Annotated[str, msgspec.Meta(min_length=1, max_length=PORT_RANGE_LIMIT)]
    description: Annotated[str, msgspec.Meta(max_length=1024)] | None = None


def check_ports(text: str, field: str) -> list[str]:
    """The ports of a rule as Nebula writes them, one for each of the list. Raises `Invalid`; nothing is widened."""
    found = []
    for part in text.split(","):
        part = part.strip()
        if part == "any":
            found.append(part)
            continue
        match = _PORTS.fullmatch(part)
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else 0
        if match is None or not 1 <= first <= last <= 65535:
            raise Invalid(field, "`any`, a port from 1 to 65535, a range as 8000-8100, or a list of those is wanted")
        found.append(str(first) if match[2] is None else f"{first}-{last}")
    return found


def to_nebula(rules: Iterable[InboundRule]) -> list[dict[str, str]]:
    """The `firewall.inbound` of hosts with these rules. ICMP has no ports."""
    found = []
    for rule in rules:
        ports = ["any"] if rule.protocol == "icmp" else check_ports(rule.port_range, "port_range")
        who = {"host": "any"} if rule.allowed_group == "any" else {"group": rule.allowed_group}
        found += [{"port": port, "proto": rule.protocol, **who} for port in ports]
    return found
