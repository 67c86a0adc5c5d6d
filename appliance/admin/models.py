"""The typed shapes of the admin surface's answers and forms, in the reference's own key names and order."""

import msgspec

from appliance.http.uploads import Part, Upload


class Status(msgspec.Struct):
    """`{"Status":"200 OK"}`"""

    status: str = msgspec.field(name="Status")


class Accepted(msgspec.Struct, omit_defaults=True):
    """The answer of what goes on in the background; `location` is where its status can be polled."""

    location: str = msgspec.field(name="Location")
    sha256: str | None = None
    status: str = msgspec.field(name="Status", default="")


class ErrorBody(msgspec.Struct):
    """The error form; `Error-Message` and `First-Run` come together, or neither."""

    status: str = msgspec.field(name="Status")
    message: str | msgspec.UnsetType | None = msgspec.field(name="Error-Message", default=msgspec.UNSET)
    first_run: bool | msgspec.UnsetType = msgspec.field(name="First-Run", default=msgspec.UNSET)


class Version(msgspec.Struct):
    """The installed version."""

    version: str


class DiskFigures(msgspec.Struct):
    """Space of the file system that holds the state: sizes like `3.4G`, use in percent."""

    used: str
    total: str
    percentage: int


class CpuFigures(msgspec.Struct):
    """Processors, the load of 1, 5 and 15 minutes, and the 5-minute load in percent of all processors."""

    num: int
    load: str
    cpu5min: int


class Health(msgspec.Struct):
    """Live figures of the machine."""

    disk: DiskFigures
    memory: DiskFigures
    cpu: CpuFigures


class Endpoints(msgspec.Struct):
    """The enabled first-level paths."""

    endpoints: list[str]


class Services(msgspec.Struct):
    """One object a service, `running` or `not running`."""

    services: list[dict[str, str]]


class UpdateStatus(msgspec.Struct, rename={"error_message": "error-message", "error_code": "error-code"}):
    """How an update goes or went; the last ten log lines are joined by a backslash and an `n`."""

    status: str | None
    percentage: int | msgspec.UnsetType = msgspec.UNSET
    log: str | None = None
    error_message: str | msgspec.UnsetType = msgspec.UNSET
    error_code: str | msgspec.UnsetType = msgspec.UNSET


class CertsStatus(msgspec.Struct):
    """How a change of certificates goes or went."""

    status: str | None
    log: str | None


class BackupStatus(msgspec.Struct, omit_defaults=True):
    """How a backup goes or went."""

    status: str
    filesize: str | None = None
    sha256: str | None = None


class SettingsView(msgspec.Struct):
    """Network and application settings as they were accepted."""

    network: dict[str, object]
    app: object


class StorageView(msgspec.Struct):
    """Storage settings, secrets masked, and the types that may be chosen."""

    storage: dict[str, object]
    options: list[str]


class SetupForm(msgspec.Struct):
    """`newtoken`: 1–255 characters with codes 33–126."""

    newtoken: str | None = None


class UpdateForm(msgspec.Struct):
    """`update`: the encrypted update package."""

    update: Upload | None = None


class SettingsForm(msgspec.Struct):
    """`settings`: a JSON file."""

    settings: Part | None = None


class CertsForm(msgspec.Struct):
    """PEM files: `public`, `private` and the chain `ca`."""

    public: Part | None = None
    private: Part | None = None
    ca: Part | None = None


class LicenseForm(msgspec.Struct):
    """`license`: the licence file."""

    license: Part | None = None


class BackupForm(msgspec.Struct):
    """`action`: START or STOP, in any case."""

    action: str | None = None


class RestoreForm(msgspec.Struct):
    """`archive`: a tar archive as backup/download gives it."""

    archive: Upload | None = None
