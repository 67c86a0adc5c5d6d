"""The API token: where it is kept, what its hash credentials are, and the first run that sets it."""

import hashlib
import hmac
import secrets
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from appliance import data
from appliance.admin.directory import AdminDirectory
from appliance.admin.small_file import SmallFile
from appliance.files import write_atomic
from appliance.secret import Secret

TOKEN_LENGTH = range(1, 256)
TOKEN_CHARACTERS = frozenset(chr(code) for code in range(33, 127))
_REMEMBERED_HASHES = 256


class TokenKey:
    """One token and the credentials that follow from it (contract, "HMAC")."""

    def __init__(self, token: str) -> None:
        self.token = Secret(token)
        self.key = hashlib.sha256(token.encode("ascii", "replace")).hexdigest().encode("ascii")
        self._hashes: dict[bytes, str] = {}

    def hash_of(self, method: str, path: bytes) -> str:
        """The standing credential of one method and path, remembered for the few that exist."""
        message = method.encode("ascii", "replace") + path
        known = self._hashes.get(message)
        if known is None:
            known = self.sign(message)
            if len(self._hashes) < _REMEMBERED_HASHES:
                self._hashes[message] = known
        return known

    def sign(self, message: bytes) -> str:
        """HMAC-SHA256 of `message` under this token's key, in hex."""
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


class TokenStore:
    """`A/etc/api.token` and `A/etc/api.token.setup` as they stand now; scripts and vendors may change them."""

    def __init__(self, clock: IReactorTime, directory: AdminDirectory) -> None:
        self.path = directory.etc / "api.token"
        self.setup_path = directory.etc / "api.token.setup"
        self._token = SmallFile(clock, self.path, _decode_token)
        self._setup = SmallFile(clock, self.setup_path, _decode_token)

    def current(self) -> TokenKey | None:
        """The token in force, None where none is set."""
        return self._token.get()

    def first_run_pending(self) -> bool:
        """Whether the setup token still waits to be replaced: as long as its file is not empty."""
        return self._setup.get() is not None

    def start_first_run(self, words: int) -> Secret:
        """Make a token of `words` words and demand its replacement. Blocking; raises OSError."""
        token = make_words(words)
        write_atomic(self.setup_path, token.reveal().encode(), mode=0o600)
        write_atomic(self.path, token.reveal().encode(), mode=0o600)
        self.look_again()
        return token

    def setup_token(self) -> Secret | None:
        """The token of a first run that is pending."""
        setup = self._setup.get()
        return setup.token if setup is not None else None

    def forget_replaced_setup(self) -> None:
        """Remove a setup file that names another token than the one in force. Blocking; called at start.

        A crash between setting the new token and removing the setup file leaves that; the first run is over then.
        """
        setup, token = self._setup.get(), self._token.get()
        if setup is not None and token is not None and token.token != setup.token:
            self.end_first_run()

    def end_first_run(self) -> None:
        """The token was replaced: no more need for a setup. Blocking."""
        self.setup_path.unlink(missing_ok=True)
        self.look_again()

    def look_again(self) -> None:
        """The files were changed."""
        self._token.look_again()
        self._setup.look_again()


def is_valid_token(token: str) -> bool:
    """1–255 characters, codes 33–126 (reference, section 1)."""
    return len(token) in TOKEN_LENGTH and TOKEN_CHARACTERS.issuperset(token)


def make_words(count: int) -> Secret:
    """Choose `count` words of the EFF large word list (12.9 bits each), joined by `-`. Blocking."""
    words = word_list(data.path("words/eff_large_wordlist.txt"))
    return Secret("-".join(secrets.choice(words) for _ in range(count)))


def word_list(path: Path) -> list[str]:
    """Read a list of one word a line."""
    return path.read_text("ascii").split()


def _decode_token(content: bytes) -> TokenKey | None:
    token = content.decode("ascii", "replace").rstrip("\r\n")
    return TokenKey(token) if token else None
