"""Where ACL files and plugins are: in the system's places and in what we bring, unless the settings say otherwise."""

from pathlib import Path

from appliance import data
from appliance.settings import Settings


def acl_directories(settings: Settings) -> tuple[Path, ...]:
    """Where the ACL files are."""
    given = settings.rpc.acl_directories
    return (Path("/usr/share/rpcd/acl.d"), data.root() / "acl.d") if given is None else given


def plugin_directories(settings: Settings) -> tuple[Path, ...]:
    """Where the plugins are."""
    given = settings.rpc.plugin_directories
    return (Path("/usr/libexec/rpcd"), data.root() / "plugins") if given is None else given
