"""Who may read `/metrics`: an administrator, or a monitoring system with a token of its own that opens nothing else."""

import hmac
from collections.abc import Mapping
from pathlib import Path

from twisted.logger import Logger

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.identity.caller import Caller, Permission, administrator
from appliance.system.authenticator import SURFACE, SystemAuthenticator, bearer, unauthorized
from appliance.threads import Threads

SHORTEST = 16
"""Characters of a scrape token; a shorter one is refused, an empty file above all."""
_FILE_LIMIT = 4096
_ROLE = "scraper"

scraper = Permission("scraper", _ROLE)


class ScrapeAuthenticator:
    """Puts the scrape token beside the tokens of the surface."""

    _log = Logger()

    def __init__(self, system: SystemAuthenticator, threads: Threads, token_file: Path | None) -> None:
        """The file is read at each question, so that its token can be changed."""
        self._system = system
        self._threads = threads
        self._token_file = token_file

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header."""
        token = bearer(call)
        if await self._is_scrape_token(token):
            return Caller("scrape", "metrics", frozenset({_ROLE}), address=call.address, surface=SURFACE)
        caller = (await self._system.recognise(token, call.address)).caller
        if not administrator.admits(caller):
            return caller
        return Caller(caller.kind, caller.name, caller.roles | {_ROLE}, address=call.address, surface=SURFACE)

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise unauthorized()

    async def _is_scrape_token(self, shown: str) -> bool:
        if self._token_file is None:
            return False
        try:
            expected = await self._threads.run(read_scrape_token, self._token_file)
        except ValueError as error:
            self._log.error("The scrape token is of no use: {error}", error=error)
            return False
        return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), expected)


def read_scrape_token(path: Path) -> bytes:
    """The token in a file, which holds nothing else. Blocking; raises ValueError with the reason."""
    try:
        token = read_limited(path, _FILE_LIMIT).strip()
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if len(token) < SHORTEST:
        raise ValueError(f"{path} has less than {SHORTEST} characters")
    return token
