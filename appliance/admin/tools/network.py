"""Renders the network settings as system files for the network manager found.

Stand-alone, standard library only:

    network.py manager --root ROOT                        prints networkd, netplan or ifupdown network.py
    render NETWORK.CONF FOLDER --root ROOT     writes the files below FOLDER, as they stand below ROOT

network.conf has one `key=value` a line: mode (static or dhcp), interface, hostname, ntpserver, and for static
ip, subnet or subnet_ipv6, router, dns (addresses parted by blanks). A subnet is a dotted mask, an IPv6 mask,
a prefix length, or one with a slash. Formats: systemd.network(5), timesyncd.conf(5), resolved.conf(5),
netplan(5), interfaces(5), resolv.conf(5), hosts(5), chrony.conf(5).
"""

from __future__ import annotations

import argparse
import glob
import ipaddress
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from appliance.admin.tools.staging import RenderError, SystemFile, existing, read_pairs, write_tree
else:  # as a program, isolated: the folder of this file is not on the path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from staging import RenderError, SystemFile, existing, read_pairs, write_tree

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

NETWORKD_FILE = "etc/systemd/network/10-appliance.network"
NETPLAN_FILE = "etc/netplan/90-appliance.yaml"
INTERFACES_FILE = "etc/network/interfaces"
RESOLVED_FILE = "etc/systemd/resolved.conf.d/appliance.conf"
TIMESYNCD_FILE = "etc/systemd/timesyncd.conf.d/appliance.conf"
CHRONY_FILE = "etc/chrony/sources.d/appliance.sources"
STANZA = re.compile(
    r"\s*(iface|auto|allow-\S+|mapping|source|source-directory|no-auto-down|no-scripts|rename|template)\b"
)


@dataclass(frozen=True)
class Network:
    """The settings, checked. `address` is None for DHCP, and then `router` is too."""

    interface: str
    hostname: str
    ntp: str
    address: Interface | None = None
    router: Address | None = None
    dns: tuple[Address, ...] = ()

    @property
    def router_is_beside(self) -> bool:
        """Whether the router lies outside of the subnet, so that the route needs to say it is on the link."""
        if self.address is None or self.router is None:
            return False
        return self.router not in self.address.network and not self.router.is_link_local


def read(path: str, mode: str | None = None) -> Network:
    """The settings of a network.conf, which must be of that `mode`. Raises RenderError, OSError."""
    pairs = read_pairs(path, _unquote)
    found = pairs.get("mode", mode)
    if found not in ("static", "dhcp") or mode not in (None, found):
        raise RenderError(f"mode: {found!r}, expected {mode or 'static or dhcp'}")
    interface = _matching(pairs, "interface", r"[A-Za-z0-9][A-Za-z0-9._-]{0,13}")
    hostname = _matching(pairs, "hostname", r"([A-Za-z0-9.-]{1,255})?")
    ntp = _matching(pairs, "ntpserver", r"([A-Za-z0-9.:-]{1,255})?")
    if found == "dhcp":
        return Network(interface, hostname, ntp)
    address = interface_address(pairs.get("ip", ""), pairs.get("subnet_ipv6") or pairs.get("subnet", ""))
    router = _address("router", pairs.get("router", ""))
    if router.version != address.version:
        raise RenderError("router: not of the same IP version as ip")
    dns = tuple(_address("dns", word) for word in pairs.get("dns", "").split())
    return Network(interface, hostname, ntp, address, router, dns)


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if any(letter in value for letter in "\"'\\$`"):
        raise RenderError("quotes and shell characters are refused")
    return value


def _matching(pairs: dict[str, str], key: str, pattern: str) -> str:
    value = pairs.get(key, "")
    if not re.fullmatch(pattern, value):
        raise RenderError(f"{key}: {value!r} is not valid")
    return value


def _address(key: str, text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise RenderError(f"{key}: {text!r} is no IP address") from error


def interface_address(text: str, subnet: str) -> Interface:
    """The address with its prefix length. Raises RenderError."""
    address = _address("ip", text)
    mask = subnet.removeprefix("/")
    try:
        if address.version == 6 and ":" in mask:
            bits = int(ipaddress.IPv6Address(mask))
            length = bits.bit_count()
            if bits != (1 << 128) - (1 << (128 - length)):
                raise ValueError("not a mask")
            mask = str(length)
        return ipaddress.ip_interface(f"{text}/{mask}")
    except ValueError as error:
        raise RenderError(f"subnet: {subnet!r} is no mask for {text}") from error


def manager(root: str) -> str:
    """The network manager in use below `root`: `netplan`, `networkd` or `ifupdown`."""
    if glob.glob(os.path.join(glob.escape(root), "etc/netplan/*.yaml")):
        return "netplan"
    wants = os.path.join(root, "etc/systemd/system/multi-user.target.wants/systemd-networkd.service")
    networks = glob.glob(os.path.join(glob.escape(root), "etc/systemd/network/*.network"))
    if os.path.lexists(wants) or networks:
        return "networkd"
    return "ifupdown" if os.path.exists(os.path.join(root, INTERFACES_FILE)) else "networkd"


def render(network: Network, root: str) -> list[SystemFile]:
    """The system files for these settings, given what is installed below `root`."""
    kind = manager(root)
    renderers = {"networkd": _networkd, "netplan": _netplan, "ifupdown": _ifupdown}
    return [
        *renderers[kind](network, root),
        *_dns(network, root, kind),
        *_ntp(network, root),
        *_names(network, root),
    ]


def _networkd(network: Network, root: str) -> list[SystemFile]:
    lines = ["[Match]", f"Name={network.interface}", "", "[Network]"]
    if network.address is None:
        lines.append("DHCP=yes")
    else:
        lines += ["DHCP=no", f"Address={network.address}"]
        lines += [f"DNS={server}" for server in network.dns]
        lines += [f"NTP={network.ntp}"] if network.ntp else []
        lines += ["", "[Route]", f"Gateway={network.router}"]
        lines += ["GatewayOnLink=yes"] if network.router_is_beside else []
    return [SystemFile(NETWORKD_FILE, _text(lines))]


def _netplan(network: Network, root: str) -> list[SystemFile]:
    """JSON is YAML, and its quoting is sure; netplan wants the file closed to others."""
    interface: dict[str, object] = {"dhcp4": network.address is None, "dhcp6": network.address is None}
    if network.address is not None and network.router is not None:
        everywhere = "0.0.0.0/0" if network.address.version == 4 else "::/0"
        route: dict[str, object] = {"to": everywhere, "via": str(network.router)}
        if network.router_is_beside:
            route["on-link"] = True
        interface["addresses"] = [str(network.address)]
        interface["routes"] = [route]
        if network.dns:
            interface["nameservers"] = {"addresses": [str(server) for server in network.dns]}
    content = {"network": {"version": 2, "ethernets": {network.interface: interface}}}
    return [SystemFile(NETPLAN_FILE, json.dumps(content, indent=2) + "\n", mode=0o600)]


def _ifupdown(network: Network, root: str) -> list[SystemFile]:
    """The existing files without the stanzas of the interface, and ours at the end of the main one."""
    files = []
    for path in sorted(glob.glob(os.path.join(glob.escape(root), "etc/network/interfaces.d/*"))):
        name = os.path.relpath(path, root)
        before = existing(root, name)
        after = without_interface(before, network.interface)
        if after != before:
            files.append(SystemFile(name, after))
    main = without_interface(existing(root, INTERFACES_FILE), network.interface)
    lines = [main.rstrip("\n"), ""] if main.strip() else []
    lines.append(f"auto {network.interface}")
    if network.address is None:
        lines.append(f"iface {network.interface} inet dhcp")
    else:
        family = "inet" if network.address.version == 4 else "inet6"
        lines += [f"iface {network.interface} {family} static", f"    address {network.address}"]
        if network.router_is_beside:
            version = network.address.version
            lines.append(f"    up ip -{version} route replace default via {network.router} dev $IFACE onlink")
        else:
            lines.append(f"    gateway {network.router}")
        if network.dns:
            lines.append(f"    dns-nameservers {' '.join(map(str, network.dns))}")
    return [*files, SystemFile(INTERFACES_FILE, _text(lines))]


def without_interface(text: str, interface: str) -> str:
    """An interfaces(5) file without the interface: no stanza of it, no mention in auto and allow lines."""
    kept = []
    dropping = False
    logical = text.replace("\\\n", "\0").split("\n")
    for line in logical:
        if STANZA.match(line):
            words = line.replace("\0", " ").split()
            dropping = words[0] == "iface" and words[1:2] == [interface]
            if words[0] == "auto" or words[0].startswith("allow-"):
                others = [word for word in words[1:] if word != interface]
                if len(others) < len(words) - 1:
                    if others:
                        kept.append(" ".join([words[0], *others]))
                    continue
        if not dropping or line.lstrip().startswith("#"):
            kept.append(line)
    return "\n".join(kept).replace("\0", "\\\n")


def _dns(network: Network, root: str, kind: str) -> list[SystemFile]:
    """Name servers, where the network manager does not hand them on itself."""
    if not network.dns:
        return []
    resolv = os.path.join(root, "etc/resolv.conf")
    wants = os.path.join(root, "etc/systemd/system/multi-user.target.wants/systemd-resolved.service")
    linked = os.path.islink(resolv) and "systemd/resolve" in os.readlink(resolv)
    if linked or os.path.lexists(wants):
        if kind != "ifupdown":
            return []
        return [SystemFile(RESOLVED_FILE, _text(["[Resolve]", f"DNS={' '.join(map(str, network.dns))}"]))]
    programs = ("sbin/resolvconf", "usr/sbin/resolvconf")
    if kind == "ifupdown" and any(os.path.exists(os.path.join(root, program)) for program in programs):
        return []
    others = [
        line
        for line in existing(root, "etc/resolv.conf").splitlines()
        if line.split(None, 1)[:1] in (["search"], ["domain"], ["options"])
    ]
    return [SystemFile("etc/resolv.conf", _text([*others, *(f"nameserver {server}" for server in network.dns)]))]


def _ntp(network: Network, root: str) -> list[SystemFile]:
    if not network.ntp:
        return []
    if os.path.isdir(os.path.join(root, "etc/chrony")):
        return [SystemFile(CHRONY_FILE, f"server {network.ntp} iburst\n")]
    return [SystemFile(TIMESYNCD_FILE, _text(["[Time]", f"NTP={network.ntp}"]))]


def _names(network: Network, root: str) -> list[SystemFile]:
    """The host name, and Debian's 127.0.1.1 line for it."""
    if not network.hostname:
        return []
    short = network.hostname.split(".")[0]
    names = network.hostname if short == network.hostname else f"{network.hostname} {short}"
    lines = existing(root, "etc/hosts").splitlines() or ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    kept = [line for line in lines if line.split(None, 1)[:1] != ["127.0.1.1"]]
    kept.insert(1, f"127.0.1.1 {names}")
    return [SystemFile("etc/hostname", f"{network.hostname}\n"), SystemFile("etc/hosts", _text(kept))]


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="network.py", description="Render network settings as system files.")
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render")
    rendering.add_argument("settings")
    rendering.add_argument("folder")
    rendering.add_argument("--mode", choices=["static", "dhcp"])
    for command in (rendering, commands.add_parser("manager")):
        command.add_argument("--root", default="/")
    given = parser.parse_args(arguments)
    try:
        if given.command == "manager":
            print(manager(given.root))
        else:
            network = read(given.settings, given.mode)
            write_tree(given.folder, render(network, given.root))
            print(network.interface)
    except (RenderError, OSError, UnicodeError) as error:
        print(f"network settings: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
