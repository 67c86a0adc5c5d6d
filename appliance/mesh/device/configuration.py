"""A node's configuration file, as Nebula 1.6 to 1.11 read it (mesh contract, "Node configuration")."""

import hashlib
from typing import Any

import msgspec
import yaml

from appliance.mesh.firewall_rules import InboundRule, to_nebula
from appliance.mesh.node_options import LighthouseOptions, LoggingOptions, PunchyOptions

KEY_PLACE = "/etc/nebula/host.key"
"""Where the host keeps its key when we have never had it."""


class Peer(msgspec.Struct, frozen=True):
    """A lighthouse or a relay, as other hosts need it."""

    node_id: int
    ip_address: str
    public_endpoint: str | None
    is_lighthouse: bool
    is_relay: bool


class NetworkView(msgspec.Struct, frozen=True):
    """What all hosts of a network have in common."""

    authorities: list[str]
    blocklist: list[str]
    peers: list[Peer]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """What is of one host alone; `rules` None: its group has none set, so nothing is closed."""

    node_id: int
    hostname: str
    ip_address: str
    certificate: str
    private_key: str | None
    is_lighthouse: bool
    is_relay: bool
    public_endpoint: str | None
    lighthouse: LighthouseOptions
    logging: LoggingOptions
    punchy: PunchyOptions
    rules: list[InboundRule] | None


class Configuration(msgspec.Struct, frozen=True):
    """The file and its ETag, SHA-256 in hex."""

    body: bytes
    etag: str


class _Dumper(yaml.CSafeDumper):
    """Writes texts of several lines as they are to be read."""


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def render(network: NetworkView, node: NodeView, port: int) -> Configuration:
    """The configuration of `node`, which listens on the UDP port `port` unless its endpoint names another."""
    content = {
        "pki": _pki(network, node),
        "static_host_map": {
            peer.ip_address: [peer.public_endpoint] for peer in _others(network, node) if peer.public_endpoint
        },
        "lighthouse": _lighthouse(network, node),
        "relay": _relay(network, node),
        "listen": {"host": "0.0.0.0", "port": _port(node, port)},  # noqa: S104 - the host's, which is to be reached
        "punchy": _punchy(node.punchy),
        "tun": {"dev": "nebula1", "mtu": 1300},
        "logging": _logging(node.logging),
        "firewall": _firewall(node),
    }
    body = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=4096, allow_unicode=True).encode()
    return Configuration(body, hashlib.sha256(body).hexdigest())


def _others(network: NetworkView, node: NodeView) -> list[Peer]:
    return [peer for peer in network.peers if peer.node_id != node.node_id]


def _pki(network: NetworkView, node: NodeView) -> dict[str, Any]:
    return {
        "ca": "".join(network.authorities),
        "cert": node.certificate,
        "key": node.private_key or KEY_PLACE,
        "blocklist": network.blocklist,
        "disconnect_invalid": True,
    }


def _lighthouse(network: NetworkView, node: NodeView) -> dict[str, Any]:
    options = node.lighthouse
    found: dict[str, Any] = {"am_lighthouse": node.is_lighthouse, "interval": options.interval_seconds or 60}
    if node.is_lighthouse:
        found["hosts"] = []
        if options.serve_dns:
            found["serve_dns"] = True
            found["dns"] = {"host": options.dns_host or "0.0.0.0", "port": options.dns_port or 53}  # noqa: S104
    else:
        found["hosts"] = [peer.ip_address for peer in _others(network, node) if peer.is_lighthouse]
    return found


def _relay(network: NetworkView, node: NodeView) -> dict[str, Any]:
    relays = [] if node.is_relay else [peer.ip_address for peer in _others(network, node) if peer.is_relay]
    return {"am_relay": node.is_relay, "use_relays": True, "relays": relays}


def _port(node: NodeView, default: int) -> int:
    """The port at which others try to reach it, where they are told one."""
    _, _, port = (node.public_endpoint or "").rpartition(":")
    return int(port) if port.isdigit() else default


def _punchy(options: PunchyOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"punch": True, "respond": options.respond is not False}
    if options.delay is not None:
        found["delay"] = options.delay
    if options.respond_delay is not None:
        found["respond_delay"] = options.respond_delay
    return found


def _logging(options: LoggingOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"level": options.level or "info", "format": options.format or "text"}
    if options.disable_timestamp is not None:
        found["disable_timestamp"] = options.disable_timestamp
    if options.timestamp_format:
        found["timestamp_format"] = options.timestamp_format
    return found


def _firewall(node: NodeView) -> dict[str, Any]:
    everything = [{"port": "any", "proto": "any", "host": "any"}]
    return {
        "conntrack": {"tcp_timeout": "12m", "udp_timeout": "3m", "default_timeout": "10m"},
        "outbound": everything,
        "inbound": [dict(rule) for rule in everything] if node.rules is None else to_nebula(node.rules),
    }
