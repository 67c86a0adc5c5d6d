"""Network and application settings as they are posted: checked, and written as the scripts expect them."""

import re
from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from appliance.admin.errors import Refused
from appliance.admin.rules import Rule, check, check_address, decode_object
from appliance.admin.tools.network import interface_address
from appliance.admin.tools.staging import RenderError

_NAME = "a-zA-Z0-9"
_ADDRESS = "abcdef0123456789ABCDEF.:"

# Reference, section 8 "Settings validation (network)".
RULES = {
    "interface": Rule("alphanumeric", _NAME, 3, 14, required=True),
    "hostname": Rule("alphanumeric and .-", _NAME + ".-", 3, 255, required=True),
    "ip_address": Rule(_ADDRESS, _ADDRESS, 3, 45),
    "netmask": Rule(_ADDRESS + "/", _ADDRESS + "/", 2, 45),
    "gateway": Rule(_ADDRESS, _ADDRESS, 3, 45),
    "dns1": Rule(_ADDRESS, _ADDRESS, 3, 45),
    "dns2": Rule(_ADDRESS, _ADDRESS, 3, 45),
    "ntpserver": Rule("alphanumeric and .-:", _NAME + ".-:", 3, 255),
}
FILES = ("app.json", "network.json", "network.conf")
_STATIC = ("ip_address", "netmask", "gateway")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class NetworkSettings(msgspec.Struct, frozen=True):
    """Accepted settings: `mode` is `static` or `dhcp`, the first key of `network` too; `app` is passed on as it is."""

    mode: str
    network: dict[str, object]
    app: object

    @property
    def network_json(self) -> bytes:
        """What network.json holds."""
        return msgspec.json.encode(self.network)

    @property
    def app_json(self) -> bytes:
        """What app.json holds."""
        return msgspec.json.encode(self.app)

    @property
    def network_conf(self) -> bytes:
        """What network.conf holds: one key a line (contract, "Scripts")."""
        value = {name: str(self.network.get(name, "")) for name in RULES}
        lines = [f"mode={self.mode}", f"interface={value['interface']}"]
        if self.mode == "static":
            address, mask = value["ip_address"], value["netmask"]
            lines += [f"ip={address}", f"{'subnet_ipv6' if ':' in address else 'subnet'}={mask}"]
            servers = " ".join(value[name] for name in ("dns1", "dns2") if value[name])
            lines += [f"router={value['gateway']}", f'dns="{servers}"', f'hostname="{value["hostname"]}"']
            lines += [f'ntpserver="{value["ntpserver"]}"']
        else:
            lines += [f"hostname={value['hostname']}", f"ntpserver={value['ntpserver']}"]
        return ("\n".join(lines) + "\n").encode("ascii")


def parse(raw: bytes) -> NetworkSettings:
    """Check a posted settings file. Raises `Refused` with the reference's text for the first value that is wrong."""
    document = decode_object(raw, "settings")
    network = document.get("network")
    if not isinstance(network, dict):
        raise Refused("Missing or invalid option: network. Expected an object")
    given = {name: value for name, value in network.items() if name != "mode"}
    for name, rule in RULES.items():
        if not rule.required and given.get(name) in (None, "", {}):
            given.pop(name, None)
        else:
            check(name, given.get(name), rule)
    mode = "static" if all(name in given for name in _STATIC) else "dhcp"
    _check_meaning(given, mode)
    app = document.get("app")
    return NetworkSettings(mode, {"mode": mode, **given}, {} if app is None else app)


def _check_meaning(given: Mapping[str, object], mode: str) -> None:
    """The right characters do not make an address yet. Raises `Refused`; RFC 1123 section 2.1 for the host name."""
    if not _HOSTNAME.fullmatch(str(given["hostname"])):
        allowed = "labels of letters, digits and - joined by ."
        raise Refused(f"Missing or invalid string for option: hostname. Allowed: {allowed}")
    for name in ("ip_address", "gateway", "dns1", "dns2"):
        if name in given:
            check_address(name, str(given[name]))
    if mode == "static":
        address, mask, gateway = (str(given[name]) for name in _STATIC)
        try:
            interface_address(address, mask)
        except RenderError:
            raise Refused(f"Missing or invalid string for option: netmask. Allowed: a netmask for {address}") from None
        if ip_address(gateway).version != ip_address(address).version:
            raise Refused("Missing or invalid string for option: gateway. Allowed: the IP version of ip_address")
