"""Renders the storage settings as the system files that mount the storage after a reboot.

Stand-alone, standard library only:

    storage.py render STORAGE.CONF FOLDER --root ROOT [--mount PATH]

storage.conf has one `key='value'` a line, a quote in a value written `'\\''`. The storage is mounted at PATH:
by a systemd mount unit where systemd is installed below ROOT, else by a line of fstab. Formats:
systemd.mount(5), fstab(5), modules-load.d(5), nbdtab(5), aoetools' /etc/default/aoetools, and the node
records of open-iscsi as iscsiadm(8) writes them. Files with a password are closed to others.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from appliance.admin.tools.staging import RenderError, SystemFile, existing, read_pairs, write_tree
else:  # as a program, isolated: the folder of this file is not on the path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from staging import RenderError, SystemFile, existing, read_pairs, write_tree

MOUNT = "/srv/storage"
MARK = "# appliance storage"
MODULES_FILE = "etc/modules-load.d/appliance-storage.conf"
ISCSI_PORT = 3260
# The characters that the settings may have; checked again here, for a file need not come from the server.
ADDRESS = r"[0-9A-Fa-f.:]{2,45}"
RULES = {
    "local": {},
    "nfs": {"mount_options": r"[A-Za-z0-9.=,_-]{3,255}", "ip": ADDRESS, "share": r"[A-Za-z0-9._/-]{3,255}"},
    "aoe": {"device": r"[A-Za-z0-9.-]{3,255}"},
    "iscsi": {
        "target": r"[A-Za-z0-9._:-]{3,255}",
        "ip": ADDRESS,
        "username": r"[!-~]{3,255}",
        "password": r"[!-~]{3,255}",
    },
    "nbd": {"export_name": r"[A-Za-z0-9._/-]{3,255}", "ip": ADDRESS, "port": r"[0-9]{1,5}"},
}


@dataclass(frozen=True)
class Mount:
    """What is mounted: device or share, file system type (empty: found out), options, units needed before."""

    what: str
    kind: str
    options: str
    after: str = ""


def read(path: str) -> dict[str, str]:
    """The settings, `type` among them, checked by the type's rules. Raises RenderError, OSError."""
    pairs = read_pairs(path, _unquote)
    rules = RULES.get(pairs.get("type", ""))
    if rules is None:
        raise RenderError("type: expected local, nfs, aoe, iscsi or nbd")
    for key, pattern in rules.items():
        if not re.fullmatch(pattern, pairs.get(key, "")):
            raise RenderError(f"{key}: missing or not valid")
    if "ip" in rules:
        _host(pairs["ip"])
    return pairs


def _unquote(value: str) -> str:
    try:
        words = shlex.split(value, posix=True)
    except ValueError as error:
        raise RenderError("a quote is not closed") from error
    if len(words) != 1 and value not in ("", "''"):
        raise RenderError("a value is not one quoted word")
    return words[0] if words else ""


def render(settings: dict[str, str], root: str, mount_point: str) -> list[SystemFile]:
    """The system files for these settings; none for local storage, but an fstab freed of ours."""
    if not re.fullmatch(r"(/[A-Za-z0-9_.]+)+", mount_point):
        raise RenderError(f"mount point {mount_point!r}: letters, digits, _ and . only")
    renderers = {"nfs": _nfs, "aoe": _aoe, "iscsi": _iscsi, "nbd": _nbd}
    kind = settings["type"]
    files: list[SystemFile] = []
    mount = None
    if kind in renderers:
        mount, files = renderers[kind](settings)
    return [*files, *_mounting(mount, root, mount_point)]


def _nfs(settings: dict[str, str]) -> tuple[Mount, list[SystemFile]]:
    host = _host(settings["ip"])
    return Mount(f"{host}:{settings['share']}", "nfs", f"_netdev,{settings['mount_options']}"), []


def _aoe(settings: dict[str, str]) -> tuple[Mount, list[SystemFile]]:
    mount = Mount(f"/dev/etherd/{settings['device']}", "", "_netdev")
    return mount, [SystemFile(MODULES_FILE, "aoe\n")]


def _nbd(settings: dict[str, str]) -> tuple[Mount, list[SystemFile]]:
    options = f"port={settings['port']},persist"
    line = f"nbd0 {settings['ip']} {settings['export_name']} {options}\n"
    mount = Mount("/dev/nbd0", "", "_netdev", after="nbd@nbd0.service")
    return mount, [SystemFile("etc/nbdtab", line), SystemFile(MODULES_FILE, "nbd\n")]


def _iscsi(settings: dict[str, str]) -> tuple[Mount, list[SystemFile]]:
    target, address = settings["target"], settings["ip"]
    record = {
        "node.name": target,
        "node.tpgt": "1",
        "node.startup": "automatic",
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.username": settings["username"],
        "node.session.auth.password": settings["password"],
        "node.conn[0].address": address,
        "node.conn[0].port": str(ISCSI_PORT),
        "node.conn[0].startup": "automatic",
    }
    lines = ["# BEGIN RECORD 2.1.8", *(f"{key} = {value}" for key, value in record.items()), "# END RECORD"]
    node = f"etc/iscsi/nodes/{target}/{address},{ISCSI_PORT},1/default"
    device = f"/dev/disk/by-path/ip-{address}:{ISCSI_PORT}-iscsi-{target}-lun-0"
    return Mount(device, "", "_netdev", after="open-iscsi.service"), [
        SystemFile(node, "\n".join(lines) + "\n", mode=0o600)
    ]


def _host(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise RenderError(f"ip: {address!r} is no IP address") from error
    return f"[{found}]" if found.version == 6 else str(found)


def _mounting(mount: Mount | None, root: str, mount_point: str) -> list[SystemFile]:
    if any(os.path.exists(os.path.join(root, path)) for path in ("lib/systemd/systemd", "usr/lib/systemd/systemd")):
        return _unit(mount, mount_point) if mount else []
    before = existing(root, "etc/fstab")
    lines = [line for line in before.splitlines() if not line.endswith(MARK)]
    if mount:
        lines.append(f"{mount.what} {mount_point} {mount.kind or 'auto'} {mount.options},nofail 0 0 {MARK}")
    after = "".join(f"{line}\n" for line in lines)
    return [SystemFile("etc/fstab", after)] if after != before else []


def _unit(mount: Mount, mount_point: str) -> list[SystemFile]:
    name = mount_point.strip("/").replace("/", "-") + ".mount"
    lines = ["[Unit]", "Description=Storage of the appliance", "Wants=network-online.target"]
    lines.append(f"After=network-online.target {mount.after}".rstrip())
    if mount.after:
        lines.append(f"Wants={mount.after}")
    lines += ["", "[Mount]", f"What={mount.what}", f"Where={mount_point}"]
    lines += [f"Type={mount.kind}"] if mount.kind else []
    lines += [f"Options={mount.options}", "TimeoutSec=60", "", "[Install]", "WantedBy=remote-fs.target"]
    return [
        SystemFile(f"etc/systemd/system/{name}", "\n".join(lines) + "\n"),
        SystemFile(f"etc/systemd/system/remote-fs.target.wants/{name}", link=f"../{name}"),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="storage.py", description="Render storage settings as system files.")
    parser.add_argument("command", choices=["render"])
    parser.add_argument("settings")
    parser.add_argument("folder")
    parser.add_argument("--root", default="/")
    parser.add_argument("--mount", default=MOUNT)
    given = parser.parse_args(arguments)
    try:
        settings = read(given.settings)
        write_tree(given.folder, render(settings, given.root, given.mount))
        print(settings["type"])
    except (RenderError, OSError, UnicodeError) as error:
        print(f"storage settings: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
