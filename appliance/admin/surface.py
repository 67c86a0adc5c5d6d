"""Puts the admin surface together from the foundations it is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from appliance.admin import network, storage
from appliance.admin.accepted import AcceptedSettings
from appliance.admin.audit import AdminAudit
from appliance.admin.authenticator import SURFACE, AdminAuthenticator
from appliance.admin.backup import Backups
from appliance.admin.certs import Certificates
from appliance.admin.directory import AdminDirectory
from appliance.admin.endpoints_document import DocumentEndpoints
from appliance.admin.endpoints_information import PREFIX, InformationEndpoints, RebootEndpoints
from appliance.admin.endpoints_optional import (
    BackupEndpoints,
    CertsEndpoints,
    LicenseEndpoints,
    SettingsEndpoints,
    StorageEndpoints,
)
from appliance.admin.endpoints_resumable import ResumableUpdateEndpoints
from appliance.admin.endpoints_setup import SetupEndpoints
from appliance.admin.endpoints_update import SupportEndpoints, UpdateEndpoints
from appliance.admin.envelope import AdminEnvelope
from appliance.admin.license import Licenses
from appliance.admin.optional import Features
from appliance.admin.power import Power
from appliance.admin.resumable import ResumableUploads
from appliance.admin.scripts import Scripts
from appliance.admin.tokens import TokenStore
from appliance.admin.update import Updates
from appliance.admin.work import HandOver
from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.nonces import Nonces
from appliance.http import uploads
from appliance.http.endpoints import Endpoint, bind
from appliance.http.router import Router
from appliance.http.surface import Surface, UploadPolicy
from appliance.http.tls import CertificateStore
from appliance.identity.backoff import Backoff
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.secret import Secret
from appliance.settings import Settings
from appliance.threads import Threads


@dataclass(frozen=True)
class Foundations:
    """What the admin surface stands on. `reactor` is also the clock."""

    reactor: Any
    settings: Settings
    threads: Threads
    runner: ProcessRunner
    jobs: Jobs
    audit_log: AuditLog
    nonces: Nonces
    certificates: CertificateStore
    background: Background


class Admin:
    """The admin surface, and what has to be done for it at start."""

    _log = Logger()

    def __init__(self, foundations: Foundations, features: Features) -> None:
        settings = foundations.settings
        self._features = features
        self._threads = foundations.threads
        self._directory = AdminDirectory(settings.admin_directory)
        self._tokens = TokenStore(foundations.reactor, self._directory)
        audit = AdminAudit(foundations.reactor, foundations.audit_log, self._directory, self._threads)
        self.endpoints = self._endpoints(foundations, audit)
        self.surface = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=Router(PREFIX, self.endpoints),
            envelope=AdminEnvelope(self.first_run),
            authenticator=AdminAuthenticator(
                foundations.reactor,
                self._tokens,
                foundations.nonces,
                audit,
                Backoff(foundations.reactor, settings.admin.backoff_after),
                token_in_query=settings.admin.token_in_query,
            ),
            audit=audit,
            uploads=UploadPolicy(self._directory.uploads, settings.upload_limit),
        )

    def first_run(self) -> bool | None:
        """Whether the first run is pending; None where it is not enabled."""
        return self._tokens.first_run_pending() if self._features.first_run else None

    @property
    def setup_token_path(self) -> Path:
        """The file that holds the first run's token."""
        return self._tokens.setup_path

    def document(self) -> dict[str, object]:
        """The OpenAPI document of this surface."""
        return self._document.document()

    def page_headers(self) -> dict[str, str]:
        """Headers of the pages `/` and `/docs`: the stock dashboard forgets its token while a first run is pending."""
        return {"Set-Cookie": "jidoteki-admin-api-token=; Path=/"} if self.first_run() else {}

    def prepare(self) -> None:
        """Make the admin directory and sweep what a killed server left. Blocking; raises OSError."""
        self._directory.prepare()
        uploads.sweep(self._directory.uploads)

    def start_first_run(self) -> Secret | None:
        """Return the first run's token, made now where no token is set; None where there is no first run. Blocking."""
        self._tokens.forget_replaced_setup()
        if self._features.first_run and self._tokens.current() is None:
            return self._tokens.start_first_run(self._features.word_length)
        return self._tokens.setup_token() if self._features.first_run else None

    def _endpoints(self, foundations: Foundations, audit: AdminAudit) -> list[Endpoint]:
        settings, threads, jobs = foundations.settings, foundations.threads, foundations.jobs
        directory = self._directory
        scripts = Scripts(settings, directory, foundations.runner, threads)
        accepted = AcceptedSettings(directory, threads)
        backups = Backups(settings, directory, scripts, jobs, threads)
        certificates = Certificates(directory, scripts, jobs, foundations.certificates, threads, foundations.background)
        updates = Updates(directory, scripts, jobs, threads)
        network_work = HandOver("settings", network.FILES, directory, scripts, jobs, threads)
        storage_work = HandOver("storage", storage.FILES, directory, scripts, jobs, threads)
        optional = {
            "settings": SettingsEndpoints(accepted, network_work),
            "certs": CertsEndpoints(certificates),
            "license": LicenseEndpoints(Licenses(directory, scripts, threads)),
            "storage": StorageEndpoints(accepted, storage_work, self._features.storage_types),
            "backup": BackupEndpoints(backups),
        }
        groups: list[object] = [
            SetupEndpoints(directory, self._tokens, scripts, audit, threads),
            UpdateEndpoints(updates),
            ResumableUpdateEndpoints(ResumableUploads(directory), updates, threads, settings.upload_limit),
            SupportEndpoints(directory, scripts),
            RebootEndpoints(Power(settings, scripts, backups, threads, foundations.background)),
            *(group for name, group in optional.items() if name in self._features.endpoints),
        ]
        found = [endpoint for group in groups for endpoint in bind(group)]
        information = InformationEndpoints(foundations.reactor, directory, settings.build_file, scripts, threads)
        found += bind(information)
        information.paths = first_levels(found)
        self._document = DocumentEndpoints(list(found))
        return [*found, *bind(self._document)]


def first_levels(endpoints: list[Endpoint]) -> list[str]:
    """The first path segments of `endpoints`, each once, sorted."""
    return sorted({"/" + endpoint.path.split("/")[1] for endpoint in endpoints})
