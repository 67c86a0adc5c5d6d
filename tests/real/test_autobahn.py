"""The fuzzing client of the Autobahn test suite against our protocol class, behind an echo.

The suite is a Python 2 program. It is installed for one with pip that is found as $PYTHON27, as `python2.7` on the
path, or with pyenv; no release of Debian after 11 has one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from appliance.background import Background
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.call import Call
from appliance.http.dispatch import Dispatcher
from appliance.http.endpoints import Routes, bind
from appliance.http.receivers import Receivers
from appliance.http.replies import Upgrade
from appliance.http.router import Router
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces
from appliance.identity.caller import anyone
from appliance.threads import Threads
from appliance.websocket.handshake import check_upgrade
from appliance.websocket.socket import Socket, Sockets
from tests.support.listening import ListeningTestCase, reactor
from tests.support.site import Doorkeeper, Notebook, PlainEnvelope
from tests.support.websocket import forget_timers

REQUIREMENTS = Path(__file__).with_name("wstest-requirements.txt")
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
"""All but those of messages over our limit and of compression, which is off."""
NUMBER = 247
GOOD = {"OK", "INFORMATIONAL"}


def python27() -> Path:
    """A Python 2.7 with pip."""
    candidates = [os.environ.get("PYTHON27"), shutil.which("python2.7")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += sorted(map(str, pyenv.glob("versions/2.7.*/bin/python")), reverse=True)
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and "(python 2.7)" in asked.stdout:
            return Path(candidate)
    raise AssertionError(
        f"The Autobahn test suite needs a Python 2.7 with pip; none of {candidates} is one. Install one with pyenv "
        "(`pyenv install 2.7.18`), or name one in $PYTHON27."
    )


def install(folder: Path) -> list[str]:
    """Install the suite and return the command that runs it."""
    python = python27()
    subprocess.run(
        [python, "-m", "pip", "install", "-qqq", "--no-deps", "--target", folder, "-r", REQUIREMENTS],
        check=True,
        timeout=500,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    (folder / "zope" / "__init__.py").touch()  # pip leaves it out with --target
    return ["env", f"PYTHONPATH={folder}", str(python), str(folder / "bin" / "wstest")]


class Echo:
    """Sends text messages back."""

    socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        self.socket = socket

    async def received(self, message: bytes) -> None:
        if self.socket is not None:
            await self.socket.drained()
            self.socket.send(message)

    def closed(self) -> None:
        self.socket = None


class EchoSocket(Socket):
    """Ours, which sends binary messages back as well instead of refusing them."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary and self.can_send:
            self.sendMessage(payload, isBinary=True)
        else:
            super().onMessage(payload, isBinary)


class EchoEndpoints:
    routes = Routes()

    def __init__(self, sockets: Sockets, background: Background) -> None:
        self._sockets = sockets
        self._background = background

    @routes.get("/echo", who=anyone)
    async def echo(self, call: Call) -> Upgrade:
        check_upgrade(call)
        socket = EchoSocket(Echo(), self._background, reactor)
        socket.factory = self._sockets
        return Upgrade(socket)


class AutobahnTests(ListeningTestCase):
    timeout = 900

    def setUp(self) -> None:
        self.background = Background()
        self.sockets = Sockets(reactor, self.background)
        surface = Surface(
            name="test",
            prefix="/ws",
            router=Router("/ws", bind(EchoEndpoints(self.sockets, self.background))),
            envelope=PlainEnvelope(),
            authenticator=Doorkeeper(),
            audit=Notebook(),
        )
        threads = Threads(reactor)
        self.site = Site(
            reactor,
            Dispatcher(Surfaces([surface]), Receivers(threads)),
            threads,
            AccessLog(reactor, len),
            TrustedProxies(lambda address: False),
            Limits(),
            lambda error: b"",
        )
        self.port = self.listen(self.site)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.sockets.close_all()
        await self.background.stop()
        await self.site.drain(0)
        forget_timers()

    def fuzz(self, folder: Path) -> dict[str, Any]:
        """Run the client; what it found, by case."""
        command = install(folder / "suite")
        (folder / "spec.json").write_text(
            json.dumps(
                {
                    "outdir": str(folder / "report"),
                    "servers": [{"agent": "appliance", "url": f"ws://127.0.0.1:{self.port}/ws/echo"}],
                    "cases": CASES,
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
            )
        )
        subprocess.run(
            [*command, "-m", "fuzzingclient", "-s", str(folder / "spec.json")],
            check=True,
            timeout=600,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        found: dict[str, Any] = json.loads((folder / "report" / "index.json").read_text())["appliance"]
        return found

    async def test_the_fuzzing_client_finds_nothing(self) -> None:
        found = await self.in_thread(self.fuzz, Path.cwd())
        bad = {
            case: (result["behavior"], result["behaviorClose"])
            for case, result in found.items()
            if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD
        }
        self.assertEqual(bad, {})
        self.assertEqual(len(found), NUMBER)
