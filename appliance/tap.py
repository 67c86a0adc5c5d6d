"""`twistd appliance`: options to settings, settings to services. The only module that takes the reactor."""

import os
import sys
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.python import usage

from appliance import settings as settings_module
from appliance.settings import Settings, SettingsError


class Options(usage.Options):
    """Serve the appliance's management APIs. Options given here override the settings file."""

    optParameters = [  # noqa: RUF012 - twisted.python.usage reads this name from the class
        ["config", "c", None, "Settings file (default: /etc/appliance/appliance.toml where it exists)."],
        ["state", None, None, "State directory."],
        ["https", None, None, "ADDRESS:PORT to serve HTTPS on, IPv6 in brackets."],
    ]
    optFlags = [["first-run", None, "Make and show a first-run token where no token is set yet."]]  # noqa: RUF012

    settings: Settings

    def postOptions(self) -> None:
        """Load the settings; a mistake in them ends the program with one line and exit code 1."""
        overriding = settings_module.overrides(
            state=self["state"], https=self["https"], first_run=True if self["first-run"] else None
        )
        try:
            self.settings = settings_module.load(self["config"], overriding)
        except SettingsError as error:
            _refuse(error)
        self._choose_log()
        self._fix_pidfile()

    def _choose_log(self) -> None:
        """
        Have twistd log our way, at the level the settings name, unless it was told another way.

        twistd takes the factory of its log observer by name and before it makes the service, hence a name for
        each level.
        """
        twistd: dict[str, Any] | None = self.parent
        if twistd is None:
            return
        to_stdout = twistd.get("nodaemon") and not twistd.get("logfile") and not twistd.get("syslog")
        if twistd.get("logger") == "appliance.logs.observer" or (to_stdout and twistd.get("logger") is None):
            twistd["logger"] = f"appliance.logs.observer_{self.settings.server.log_level}"

    def _fix_pidfile(self) -> None:
        """Have twistd find its pidfile again at the end: its name may be relative, and the server works in `/`."""
        twistd: dict[str, Any] | None = self.parent
        if twistd is not None and twistd.get("pidfile"):
            twistd["pidfile"] = os.path.abspath(os.path.join(twistd.get("rundir") or ".", twistd["pidfile"]))


def makeService(options: Options) -> IService:
    """The whole service tree for `options`, not started yet."""
    from twisted.internet import reactor

    from appliance.server import build

    try:
        return build(reactor, options.settings)
    except (SettingsError, OSError) as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    sys.exit(f"appliance: {error}")
