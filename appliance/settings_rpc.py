"""The settings of the rpc surface."""

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.address import Network
from appliance.settings_section import Section, key

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Pattern = Annotated[str, msgspec.Meta(pattern=r"\A[^ ]+ [^ ]+\Z")]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Rpc(Section, frozen=True, kw_only=True):
    """The rpc surface, /api/login, /api/ubus/call and their like. Patterns are those of fnmatch(3)."""

    admin_groups: Annotated[
        tuple[_Name, ...],
        key("Groups whose members may call what root may: everything that a group of the ACLs grants."),
    ] = ("sudo", "wheel")
    rate_limit_per_second: Annotated[
        int, key("Requests a second that one client address may send to this surface; 0 = any number.", ge=0, le=10**6)
    ] = 25
    rate_limit_burst: Annotated[int, key("Requests that may come at once.", ge=1, le=10**6)] = 100
    rate_limit_exempt: Annotated[
        tuple[Network, ...],
        key('Addresses or networks that the rate limit leaves alone, as ["127.0.0.1", "::1"].'),
    ] = ()
    plugin_directories: Annotated[
        tuple[Path, ...] | None,
        key(
            "Folders of plugins; of two plugins of one name that of the first folder counts.",
            default="/usr/libexec/rpcd and our own",
        ),
    ] = None
    acl_directories: Annotated[
        tuple[Path, ...] | None,
        key(
            "Folders of the ACL files that say which group may call what.", default="/usr/share/rpcd/acl.d and our own"
        ),
    ] = None
    users_file: Annotated[
        Path | None,
        key("File with local users and the rights of groups.", default="STATE/rpc-users.toml"),
    ] = None
    parallel: Annotated[int, key("Plugins that run at once; further calls wait.", ge=1, le=1000)] = 32
    timeout: Annotated[float, key("Seconds a call may take, from the start of its plugin on.", gt=0, le=86400)] = 120
    timeouts: Annotated[
        dict[str, _Seconds],
        key('The same for one object or method, as { "ns.update" = 600, "ns.update install" = 3600 }.', default="{}"),
    ] = msgspec.field(default_factory=dict)
    payload_limit_mb: Annotated[int, key("Largest body of a call, in MiB.", ge=1, le=1024)] = 16
    output_limit_mb: Annotated[int, key("Largest output of a plugin, in MiB.", ge=1, le=4096)] = 64
    zygote: Annotated[bool, key("Run plugins in Python from an interpreter that is kept warm, five times as fast.")] = (
        True
    )
    zygote_exempt: Annotated[
        tuple[_Name, ...], key('Plugins that get an interpreter of their own all the same, as ["ns.backup"].')
    ] = ()
    sudo_methods: Annotated[
        tuple[_Pattern, ...],
        key('Methods that take sudo mode, as patterns "OBJECT METHOD".'),
    ] = ("ns.ssh add-key", "ns.ssh delete-key", "ns.power poweroff", "ns.power reboot")
    sudo_otp: Annotated[bool, key("Ask for a one-time code for sudo mode, where the user has one.")] = False
    detached_methods: Annotated[
        tuple[_Pattern, ...],
        key('Methods that go on when their client goes away, as patterns "OBJECT METHOD".'),
    ] = ()
    checked_objects: Annotated[
        tuple[_Name, ...],
        key("Objects, as patterns, whose arguments must have the types that their signatures declare."),
    ] = ()
    unaudited_methods: Annotated[
        tuple[_Pattern, ...],
        key('Methods whose good calls are not worth an entry in the audit log, as patterns "OBJECT METHOD".'),
    ] = ("system *", "session list", "uci get", "uci changes", "ns.dashboard *", "ns.log page")
    downloads: Annotated[
        Path | None, key("Folder that GET and DELETE files/NAME act on.", default="STATE/rpc/downloads")
    ] = None
    uploads: Annotated[
        Path | None, key("Folder that POST files writes to, for plugins to read.", default="STATE/rpc/uploads")
    ] = None
    upload_limit_mb: Annotated[int, key("Largest file that may be uploaded, in MiB.", ge=1, le=1 << 20)] = 128

    def is_rate_limit_exempt(self, address: str) -> bool:
        """Whether the client `address` may send any number of requests."""
        return any(address in network for network in self.rate_limit_exempt)

    def time_limit(self, object: str, method: str) -> float:
        """Seconds that a call of this method may take."""
        return self.timeouts.get(f"{object} {method}", self.timeouts.get(object, self.timeout))
