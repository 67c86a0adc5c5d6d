"""Sections 8 to 12 of the reference, each of which can be switched off: settings, certs, license, storage, backup."""

from collections.abc import Sequence

from appliance.admin import network, storage
from appliance.admin.accepted import AcceptedSettings
from appliance.admin.backup import Backups
from appliance.admin.certs import Certificates
from appliance.admin.endpoints_information import NO_CACHE, PREFIX
from appliance.admin.endpoints_update import attachment
from appliance.admin.errors import Missing
from appliance.admin.license import Licenses
from appliance.admin.models import (
    Accepted,
    BackupForm,
    BackupStatus,
    CertsForm,
    CertsStatus,
    LicenseForm,
    RestoreForm,
    SettingsForm,
    SettingsView,
    Status,
    StorageView,
)
from appliance.admin.translate import as_answers
from appliance.admin.work import HandOver
from appliance.http.call import Call
from appliance.http.endpoints import FormBody, Routes
from appliance.http.errors import bad_request
from appliance.http.replies import FileReply
from appliance.http.uploads import Part
from appliance.identity.caller import administrator


class SettingsEndpoints:
    """Network and application settings."""

    routes = Routes(prefix="/settings", tag="Network")

    def __init__(self, accepted: AcceptedSettings, work: HandOver) -> None:
        self._accepted = accepted
        self._work = work

    @routes.post(
        "",
        reply=Accepted,
        who=administrator,
        body=FormBody(SettingsForm, json_part="settings", needs=("settings",)),
        audit="settings.post",
        status=202,
        statuses=(400,),
    )
    async def post_settings(self, call: Call, form: SettingsForm) -> Accepted:
        """Change network and application settings.

        The part `settings`, or a JSON body, holds `network` and `app`; with ip_address, netmask and gateway the network
        is static, else DHCP.
        """
        content = required(form.settings, "settings")
        with as_answers():
            parsed = network.parse(content)
            files = {
                "app.json": parsed.app_json,
                "network.json": parsed.network_json,
                "network.conf": parsed.network_conf,
            }
            await self._work.start(files, call.address, parsed.mode)
        return Accepted(f"{PREFIX}/settings")

    @routes.get("", reply=SettingsView, who=administrator, statuses=(404,))
    async def get_settings(self, call: Call) -> SettingsView:
        """The settings in force."""
        with as_answers():
            return await self._accepted.settings()


class StorageEndpoints:
    """Persistent storage."""

    routes = Routes(prefix="/storage", tag="Storage")

    def __init__(self, accepted: AcceptedSettings, work: HandOver, types: Sequence[str]) -> None:
        self._accepted = accepted
        self._work = work
        self._types = list(types)

    @routes.post(
        "",
        reply=Accepted,
        who=administrator,
        body=FormBody(SettingsForm, json_part="settings", needs=("settings",)),
        audit="storage.post",
        status=202,
        statuses=(400,),
    )
    async def post_storage(self, call: Call, form: SettingsForm) -> Accepted:
        """Change where data is stored; takes effect at the next reboot."""
        content = required(form.settings, "settings")
        with as_answers():
            parsed = storage.parse(content, self._types, await self._kept())
            files = {"storage.json": parsed.storage_json, "storage.conf": parsed.storage_conf}
            await self._work.start(files, call.address)
        return Accepted(f"{PREFIX}/storage")

    async def _kept(self) -> dict[str, object]:
        try:
            return await self._accepted.storage()
        except Missing:
            return {}

    @routes.get("", reply=StorageView, who=administrator, statuses=(404,))
    async def get_storage(self, call: Call) -> StorageView:
        """The storage settings, secrets masked, and the types that may be chosen."""
        with as_answers():
            return StorageView(storage.masked(await self._accepted.storage()), self._types)


class CertsEndpoints:
    """TLS certificates."""

    routes = Routes(prefix="/certs", tag="TLS")

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    @routes.post(
        "",
        reply=Accepted,
        who=administrator,
        body=FormBody(CertsForm, needs=("public", "private")),
        audit="certs.post",
        status=202,
        statuses=(400,),
    )
    async def post_certs(self, call: Call, form: CertsForm) -> Accepted:
        """Replace the TLS certificate: PEM files `public`, `private` and optionally `ca`."""
        public, private = required(form.public, "public"), required(form.private, "private")
        ca = form.ca.content if form.ca is not None and form.ca.content else None
        with as_answers():
            await self._certificates.start(public, private, ca, call.address)
        return Accepted(f"{PREFIX}/certs")

    @routes.get("", reply=CertsStatus, who=administrator)
    async def get_certs(self, call: Call) -> CertsStatus:
        """Status and last ten log lines of the last change."""
        return await self._certificates.status()


class LicenseEndpoints:
    """The licence."""

    routes = Routes(prefix="/license", tag="License")

    def __init__(self, licenses: Licenses) -> None:
        self._licenses = licenses

    @routes.post(
        "",
        reply=dict[str, object],
        who=administrator,
        body=FormBody(LicenseForm, needs=("license",)),
        audit="license.post",
        statuses=(400, 404),
    )
    async def post_license(self, call: Call, form: LicenseForm) -> dict[str, object]:
        """Replace the licence; an invalid one leaves the old in place."""
        content = required(form.license, "license")
        with as_answers():
            return await self._licenses.install(content)

    @routes.get("", reply=dict[str, object], who=administrator, statuses=(404,))
    async def get_license(self, call: Call) -> dict[str, object]:
        """The licence's details."""
        with as_answers():
            return await self._licenses.details()


class BackupEndpoints:
    """Backups."""

    routes = Routes(prefix="/backup", tag="Backup")

    def __init__(self, backups: Backups) -> None:
        self._backups = backups

    async def ensure_idle(self, call: Call) -> None:
        """Refuse an archive before it is read while a restoration runs."""
        with as_answers():
            await self._backups.ensure_idle()

    @routes.post(
        "",
        reply=Accepted,
        who=administrator,
        body=FormBody(BackupForm, needs=("action",)),
        audit="backup.post",
        status=202,
        statuses=(400,),
    )
    async def post_backup(self, call: Call, form: BackupForm) -> Accepted:
        """Start a backup (`action` START), or stop and delete it (STOP)."""
        action = (form.action or "").strip().upper()
        if action not in ("START", "STOP"):
            raise bad_request("Missing or invalid option: action. Expected value 'START' or 'STOP'")
        call.audit_details["action"] = action
        with as_answers():
            if action == "START":
                await self._backups.start(call.address)
            else:
                await self._backups.stop()
        return Accepted(f"{PREFIX}/backup")

    @routes.get("", reply=BackupStatus, who=administrator, statuses=(404,))
    async def get_backup(self, call: Call) -> BackupStatus:
        """How the backup goes, and its size and SHA-256 when done."""
        with as_answers():
            return await self._backups.status()

    @routes.get("/download", reply=bytes, who=administrator, statuses=(404,), produces="application/octet-stream")
    async def download(self, call: Call) -> FileReply:
        """The finished backup, as backup.tar."""
        return attachment(self._backups.archive)

    @routes.get("/log", reply=str, who=administrator, statuses=(404,), produces="text/plain")
    async def backup_log(self, call: Call) -> FileReply:
        """The backup log."""
        return FileReply(self._backups.log, "text/plain; charset=utf-8", NO_CACHE)

    @routes.post(
        "/restore",
        reply=Status,
        who=administrator,
        body=FormBody(RestoreForm, needs=("archive",)),
        audit="backup.restore",
        statuses=(400, 413, 507),
        guard=ensure_idle,
    )
    async def restore(self, call: Call, form: RestoreForm) -> None:
        """Restore a backup: whole, or nothing is changed."""
        archive = form.archive
        if archive is None or archive.size == 0:
            raise bad_request("Missing or empty file: archive")
        call.audit_details.update(sha256=archive.sha256, size=archive.size)
        with as_answers():
            await self._backups.restore(archive, call.address)


def required(part: Part | None, name: str) -> bytes:
    """Return a part's content. Raises a 400 where it is missing or empty."""
    if part is None or not part.content:
        raise bad_request(f"Missing or empty file: {name}")
    return part.content
