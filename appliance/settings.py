"""
Settings: one TOML file, read into frozen typed structs.

The structs below are the only place where a key is declared: its type, bounds, default and meaning stand
together, and the checks, `appliance check-config --explain` and the error texts are made from them. A further
surface adds a struct and one field to `Settings`.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import msgspec

from appliance.address import Address, Network
from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.secret import Secret
from appliance.settings_errors import COMMAND_LINE, explained
from appliance.settings_errors import SettingsError as SettingsError  # part of this module's interface
from appliance.settings_mesh import Mesh
from appliance.settings_rpc import Rpc
from appliance.settings_section import Section
from appliance.settings_section import key as _key

INSTALLED_FILE = Path("/etc/appliance/appliance.toml")
WEB_CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; worker-src 'self' blob:"

OptionalEndpoint = Literal["settings", "certs", "license", "storage", "backup"]
Command = Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
LogLevel = Literal["debug", "info", "warn", "error"]
StorageType = Literal["local", "nfs", "aoe", "iscsi", "nbd"]

_FILE_LIMIT = 1 << 20
_DAY = 86400


def default_state() -> Path:
    """Where state lives unless the settings say otherwise (XDG Base Directory Specification for users)."""
    if os.geteuid() == 0:
        return Path("/var/lib/appliance")
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".local" / "state") / "appliance"


def default_https() -> Address:
    """Reachable from the network as root, from this machine only otherwise."""
    everywhere = "0.0.0.0"  # noqa: S104 - what an installed appliance is for
    return Address(everywhere if os.geteuid() == 0 else "127.0.0.1", 8443)


class Server(Section, frozen=True, kw_only=True):
    """The process, its listeners and its limits."""

    state: Annotated[
        Path,
        _key(
            "Folder of everything that outlives a restart: database, keys, certificates, admin directory.",
            default="/var/lib/appliance as root, else $XDG_STATE_HOME/appliance (~/.local/state/appliance)",
        ),
    ] = msgspec.field(default_factory=default_state)
    https: Annotated[
        Address,
        _key(
            "ADDRESS:PORT of the HTTPS listener, IPv6 in brackets ([::1]:8443).",
            default="0.0.0.0:8443 as root, else 127.0.0.1:8443",
        ),
    ] = msgspec.field(default_factory=default_https)
    http: Annotated[
        Address | None,
        _key("ADDRESS:PORT of a plain HTTP listener that only redirects to HTTPS.", default="none"),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        _key("Addresses or networks of reverse proxies whose X-Forwarded-For names the client."),
    ] = ()
    web_root: Annotated[
        Path | None,
        _key("Folder with a built web interface to serve at /.", default="the built-in page"),
    ] = None
    web_csp: Annotated[
        str,
        _key("Content-Security-Policy of the web root's pages.", pattern=r"\A[\x20-\x7e]+\Z"),
    ] = WEB_CSP
    max_connections: Annotated[int, _key("Open connections in all.", ge=1, le=100_000)] = 1000
    max_connections_per_address: Annotated[int, _key("Open connections from one client address.", ge=1, le=100_000)] = (
        400
    )
    header_timeout: Annotated[float, _key("Seconds in which a request's head must be complete.", gt=0, le=_DAY)] = 10
    idle_timeout: Annotated[float, _key("Seconds a connection may stay open between two requests.", gt=0, le=_DAY)] = 60
    body_rate_floor: Annotated[
        int,
        _key(
            "Bytes a second that a request body must average, judged from its tenth second on; 0 = off.",
            ge=0,
            le=1 << 30,
        ),
    ] = 500
    drain_timeout: Annotated[
        float,
        _key(
            "Seconds that requests in flight get to finish when the server stops; a service manager must wait longer.",
            ge=0,
            le=3600,
        ),
    ] = 15
    metrics_token_file: Annotated[
        Path | None,
        _key(
            "File with a token (16 characters or more) that opens /metrics and nothing else, for a monitoring system.",
            default="none: administrators only",
        ),
    ] = None
    log_level: Annotated[LogLevel, _key("Least level that is logged: debug, info, warn or error.")] = "info"
    access_log: Annotated[bool, _key("Log a line for each request (never with its query string).")] = True

    def is_trusted_proxy(self, address: str) -> bool:
        """Whether the peer `address` may say for whom it asks."""
        return any(address in network for network in self.trusted_proxies)


class FirstRun(Section, frozen=True, kw_only=True):
    """How a new installation gets its first token."""

    enabled: Annotated[
        bool | None,
        _key(
            "Make a token of words at the first start and show it once; POST /setup replaces it.",
            default="on where https is not loopback, off where it is",
        ),
    ] = None
    word_length: Annotated[int, _key("Number of words in that token.", ge=2, le=20)] = 4


class Admin(Section, frozen=True, kw_only=True):
    """The admin surface, /api/v1/admin."""

    directory: Annotated[
        Path | None, _key("Admin directory, with etc/ log/ bin/ tmp/ uploads/.", default="STATE/admin")
    ] = None
    apply: Annotated[
        bool,
        _key("Let scripts change the system itself (network, mounts, services, reboot), not only stage."),
    ] = False
    backoff_after: Annotated[
        int,
        _key(
            "Failed authentications of one address within 60 s before it has to wait; 0 = never.",
            ge=0,
            le=1_000_000,
        ),
    ] = 20
    backup_root: Annotated[
        Path | None,
        _key("Folder that the paths in etc/backup.txt are relative to.", default="the admin directory"),
    ] = None
    dashboard_directory: Annotated[
        Path | None, _key("Folder of a vendor's dashboard to serve at / and /docs.", default="none")
    ] = None
    endpoints: Annotated[
        tuple[OptionalEndpoint, ...] | None,
        _key("Optional endpoints to serve: settings, certs, license, storage, backup.", default="all"),
    ] = None
    first_run: FirstRun = FirstRun()
    token_in_query: Annotated[
        bool, _key("Accept ?token= in the query; ?hash= and the Authorization header always count.")
    ] = True
    legacy_config: Annotated[
        Path,
        _key("JSON file that, where it exists, decides the optional endpoints and the first-run words."),
    ] = Path("/usr/local/etc/jidoteki-admin-api.json")
    storage_options: Annotated[
        tuple[StorageType, ...], _key("Storage types that may be chosen: local, nfs, aoe, iscsi, nbd.")
    ] = get_args(StorageType)
    storage_options_file: Annotated[Path, _key("JSON file that, where it exists, replaces storage_options.")] = Path(
        "/usr/local/etc/storage-options.json"
    )
    build_file: Annotated[
        Path | None,
        _key("File that GET build answers with.", default="etc/build.json of the admin directory"),
    ] = None
    upload_limit_mb: Annotated[int, _key("Largest upload in MiB.", ge=1, le=1 << 20)] = 8192
    reboot_command: Annotated[
        Command | None,
        _key("Command and arguments that reboot the machine.", default="what the init system offers"),
    ] = None
    allow_downgrade: Annotated[bool, _key("Accept update packages older than what is installed.")] = False
    allow_reinstall: Annotated[bool, _key("Accept an update package of the installed version.")] = False


class System(Section, frozen=True, kw_only=True):
    """The system surface, /api/v1 and /ws."""

    admin_groups: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1)], ...],
        _key("Groups whose members are administrators, besides uid 0; everybody else who may log in reads only."),
    ] = ("sudo", "wheel")
    rate_limit_per_minute: Annotated[
        int,
        _key("Requests a minute that one client address may send to this surface; 0 = any number.", ge=0, le=10**6),
    ] = 100
    rate_limit_exempt: Annotated[
        tuple[Network, ...],
        _key('Addresses or networks that the rate limit leaves alone, as ["127.0.0.1", "::1"].'),
    ] = ()
    websocket_limit: Annotated[int, _key("Open WebSockets of one client address.", ge=1, le=100_000)] = 10
    terminals_per_user: Annotated[int, _key("Terminals that one user may have at a time.", ge=1, le=1000)] = 10
    terminal_idle_timeout: Annotated[
        float,
        _key("Seconds without anything typed or printed after which a terminal is closed; 0 = never.", ge=0, le=_DAY),
    ] = 3600
    terminal_reattach: Annotated[
        float, _key("Seconds that a terminal lives on after its connection has broken.", ge=0, le=3600)
    ] = 60
    upload_limit_mb: Annotated[int, _key("Largest file that may be uploaded, in MiB.", ge=1, le=1 << 20)] = 100
    journal_directory: Annotated[
        Path | None,
        _key("Folder of the journal's files, for a journal kept elsewhere.", default="where journalctl looks"),
    ] = None
    metrics_history: Annotated[
        bool, _key("Keep the machine's figures of the last hour, a sample every ten seconds, for charts.")
    ] = True
    docker_socket: Annotated[
        Path | None,
        _key(
            "Unix socket of Docker, or of what speaks as Docker does.",
            default="/var/run/docker.sock, else /run/podman/podman.sock",
        ),
    ] = None
    cri_sockets: Annotated[
        tuple[Path, ...],
        _key(
            "Unix sockets of containerd, CRI-O or others that speak CRI, in order of preference; asked after Docker.",
            default="those of containerd, CRI-O and K3s under /run",
        ),
    ] = ()
    kubeconfig: Annotated[
        Path | None,
        _key(
            "Kubeconfig of the Kubernetes cluster to manage; its current context counts.",
            default="/etc/kubernetes/admin.conf, ~/.kube/config, that of k3s, RKE2, k0s or MicroK8s, or a pod's own",
        ),
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        _key("Origins besides our own (https://name:port) whose pages may open WebSockets."),
    ] = ()

    def is_rate_limit_exempt(self, address: str) -> bool:
        """Whether the client `address` may send any number of requests."""
        return any(address in network for network in self.rate_limit_exempt)


class Audit(Section, frozen=True, kw_only=True):
    """The audit log that all surfaces share."""

    keep_days: Annotated[int, _key("Days that audit entries are kept.", ge=1, le=36_500)] = 400
    secret_names: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=2)], ...],
        _key(
            "Words in the names of fields whose values are hidden, besides password, passphrase, psk, secret, token,"
            " key, hash and authorization, which always are."
        ),
    ] = ()


class Settings(Section, frozen=True, kw_only=True):
    """All settings, checked and complete. `Settings()` has every default."""

    server: Server = msgspec.field(default_factory=Server)
    admin: Admin = Admin()
    system: System = System()
    rpc: Rpc = Rpc()
    mesh: Mesh = Mesh()
    audit: Audit = Audit()

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.server.state

    @property
    def admin_directory(self) -> Path:
        """The admin directory, A."""
        return self.admin.directory or self.server.state / "admin"

    @property
    def backup_root(self) -> Path:
        """What the paths in A/etc/backup.txt are relative to."""
        return self.admin.backup_root or self.admin_directory

    @property
    def build_file(self) -> Path:
        """What GET build reads."""
        return self.admin.build_file or self.admin_directory / "etc" / "build.json"

    @property
    def rpc_users_file(self) -> Path:
        """Local users of the rpc surface, and the rights of groups."""
        return self.rpc.users_file or self.server.state / "rpc-users.toml"

    @property
    def rpc_uploads(self) -> Path:
        """Where POST files of the rpc surface writes to."""
        return self.rpc.uploads or self.server.state / "rpc" / "uploads"

    @property
    def rpc_downloads(self) -> Path:
        """What GET and DELETE files of the rpc surface act on."""
        return self.rpc.downloads or self.server.state / "rpc" / "downloads"

    @property
    def mesh_master_key_file(self) -> Path:
        """The key that the mesh's keys are encrypted under."""
        return self.mesh.master_key_file or self.server.state / "mesh" / "master.key"

    @property
    def upload_limit(self) -> int:
        """Largest upload, in bytes."""
        return self.admin.upload_limit_mb << 20


def overrides(
    *, state: str | None = None, https: str | None = None, first_run: bool | None = None
) -> dict[str, object]:
    """The command line's options in the form `load` takes; None where an option was not given."""
    given: dict[str, object] = {
        "server.state": os.path.abspath(Path(state).expanduser()) if state is not None else None,
        "server.https": https,
        "admin.first_run.enabled": first_run,
    }
    return {key: value for key, value in given.items() if value is not None}


def load(path: Path | str | None = None, overriding: Mapping[str, object] | None = None) -> Settings:
    """
    Read the settings file, put `overriding` (dotted key → value) over it and check everything.

    Without `path` the installed file is read where it exists; without either, the defaults hold.
    Raises `SettingsError`.
    """
    file = Path(path) if path is not None else INSTALLED_FILE if INSTALLED_FILE.exists() else None
    document = _read(file) if file else {}
    settings = _checked(document, str(file))
    if overriding:
        for key, value in overriding.items():
            _put(document, key.split("."), value)
        settings = _checked(document, COMMAND_LINE)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_limited(file, _FILE_LIMIT).decode())
    except FileNotFoundError:
        fix = "Name an existing file, or run `appliance install` to get one"
        raise SettingsError(str(file), "", "no such file", fix) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(str(file), "", reason, "Make it readable for the service") from error
    except (FileTooLarge, NotARegularFile) as error:
        raise SettingsError(str(file), "", str(error), "Name a TOML file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(str(file), "", f"not UTF-8 at byte {error.start}", "Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        fix = "Correct the TOML there; text values need quotes"
        raise SettingsError(str(file), "", str(error), fix) from error


def _checked(document: Mapping[str, Any], file: str) -> Settings:
    try:
        settings = msgspec.convert(document, Settings, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise explained(file, error, Settings) from error
    plain, secure = settings.server.http, settings.server.https
    if plain is not None and plain.port and plain == secure:
        raise SettingsError(file, "server.http", f"{plain} is the https address too", "Choose another port")
    return settings


def _decode(wanted: type, value: object) -> object:
    """Values that TOML has no type for. A `ValueError` becomes the reason in the error that names the key."""
    if not isinstance(value, str):
        raise ValueError(f"expected text in quotes, got {value!r}")
    if wanted is Address:
        return Address.parse(value)
    if wanted is Network:
        return Network(value)
    if wanted is Secret:
        return Secret(value)
    if issubclass(wanted, Path):
        if "\0" in value or not Path(value).is_absolute():
            raise ValueError(f"{value!r} is not an absolute path")
        return Path(os.path.normpath(value))
    raise NotImplementedError(f"settings of type {wanted!r}")


def _put(document: dict[str, Any], key: list[str], value: object) -> None:
    for name in key[:-1]:
        document = cast("dict[str, Any]", document.setdefault(name, {}))
    document[key[-1]] = value
