"""A real OpenID provider (npm's oidc-provider) as a process of its own, and a browser that logs in with it."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import requests

from tests.support.server import ROOT

PACKAGE = "oidc-provider@8.8.1"  # the last major that runs on Debian's Node.js
SECRET = "provider secret"


@dataclass
class OpenIdProvider:
    """A provider; it may be stopped and started again, with another key."""

    folder: Path
    port: int
    redirects: str
    process: "subprocess.Popen[str] | None" = None

    @property
    def issuer(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, key_id: str = "first") -> None:
        """Start it with a new key of that name."""
        self.process = subprocess.Popen(
            ["node", "provider.mjs", str(self.port), self.redirects, key_id],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) != "ready\n":
            assert line, "the provider has ended"

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def follow(self, url: str, **changed: str) -> dict[str, str]:
        """
        Go where a browser was sent, with other parameters where `changed` says so, until it is sent back to us.

        Returns the query that it comes back with.
        """
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()} | changed
        place = urlunsplit(parts._replace(query=urlencode(query)))
        with requests.Session() as browser:
            while place.startswith((self.issuer, "/")):
                place = f"{self.issuer}{place}" if place.startswith("/") else place
                answer = browser.get(place, allow_redirects=False, timeout=60)
                assert answer.status_code in (302, 303), (answer.status_code, answer.text)
                place = answer.headers["Location"]
        return {name: values[-1] for name, values in parse_qs(urlsplit(place).query).items()}


@contextlib.contextmanager
def openid_provider(folder: Path, port: int, redirects: str) -> Iterator[OpenIdProvider]:
    """A provider that is running, ended afterwards."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "real" / "oidc" / "provider.mjs", folder)
    subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", PACKAGE],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    provider = OpenIdProvider(folder, port, redirects)
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()
