"""One-time codes by time (TOTP, RFC 6238) and recovery codes: one second factor for each user who turns it on."""

import base64
import hashlib
import hmac
import io
import math
import os
import re
import secrets
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime

from appliance.database.secret_box import MasterKey, SecretBox, Unsealable
from appliance.database.thread import Database
from appliance.rpc.pauses import Pauses
from appliance.secret import Secret

PERIOD: Final = 30
WINDOW: Final = 1
"""Steps by which the clocks of phone and machine may differ."""

SEED_BYTES: Final = 20
RECOVERY_CODES: Final = 10

_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_RECOVERY = re.compile(r"[a-z2-7]{16}", re.ASCII)
_MAX_OTP = 64


class NoSecondFactor(Exception):
    """The user has none, or none that is on."""


class AlreadyOn(Exception):
    """The seed of a second factor that is on is shown to nobody."""


class WrongCode(Exception):
    """Not the code of now, or one that was used already."""


class TooManyCodes(Exception):
    """Too many wrong codes: none is looked at for `retry_after` (whole) seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many wrong codes")
        self.retry_after = retry_after


class Seed(NamedTuple):
    """What a phone has to be told: the seed in base32, and the same as an address for a QR code."""

    key: str
    url: str


class SecondFactors:
    """
    The second factors of all users. `prepare` comes before all else.

    Seeds are encrypted in the database, recovery codes are hashed; a code that was accepted is durably used up before
    anybody is told. After five wrong codes in a row a user waits, from 2 s on up to 300. Besides what they name, all
    raise what `Database.run` raises.
    """

    def __init__(self, clock: IReactorTime, database: Database, key_file: Path) -> None:
        self._clock = clock
        self._database = database
        self._key_file = key_file
        self._pauses: Pauses[str] = Pauses(clock)
        self._box: SecretBox | None = None

    def prepare(self) -> None:
        """Read the key that encrypts the seeds, or make it. Blocking; raises `MasterKeyUnusable`."""
        self._box = MasterKey.load(self._key_file).box("rpc second factors")

    async def is_on(self, username: str) -> bool:
        """Whether log-ins of the user take a code."""
        return await self._database.run_on_driver(partial(_is_on, username=username))

    async def seed(self, username: str) -> Seed:
        """The seed that the user's phone gets, always the same until it is turned on. Raises `AlreadyOn`."""
        fresh = base64.b32encode(secrets.token_bytes(SEED_BYTES)).decode("ascii")
        work = partial(_seed, box=self._box_ready(), username=username, fresh=Secret(fresh))
        key = (await self._database.run_on_driver(work)).reveal()
        return Seed(key, provisioning_url(key, username))

    async def verify(self, username: str, otp: str, *, turns_on: bool = False) -> bool:
        """
        Take a code, or a recovery code, of the user; return whether that has turned his second factor on.

        Only with `turns_on` does a code count while it is off. Raises `NoSecondFactor`, `TooManyCodes`, `WrongCode`.
        """
        wait = self._pauses.left(username)
        if wait > 0:
            raise TooManyCodes(math.ceil(wait))
        work = partial(
            _verify, box=self._box_ready(), username=username, otp=_plain(otp), now=self._now(), turns_on=turns_on
        )
        self._pauses.failed(username)  # beforehand, for of many that come at once each must count
        try:
            first = await self._database.run_on_driver(work)
        except NoSecondFactor:
            self._pauses.succeeded(username)
            raise
        self._pauses.succeeded(username)
        return first

    async def show_recovery_codes(self, username: str) -> list[str]:
        """The user's recovery codes, made now; none where they have been shown before, or nothing is on."""
        codes = [_new_code() for _ in range(RECOVERY_CODES)]
        hashes = [_hash(username, _plain(code)) for code in codes]
        work = partial(_keep_codes, username=username, hashes=hashes, now=self._now())
        return codes if await self._database.run_on_driver(work) else []

    async def turn_off(self, username: str) -> None:
        """Forget everything. Raises `NoSecondFactor` where it is not on."""
        await self._database.run_on_driver(partial(_turn_off, username=username))
        self._pauses.succeeded(username)

    def _now(self) -> int:
        return int(self._clock.seconds())

    def _box_ready(self) -> SecretBox:
        if self._box is None:
            raise RuntimeError("second factors are used once the key is loaded")
        return self._box


def provisioning_url(key: str, username: str) -> str:
    """The address that authenticator apps read (Key Uri Format of Google Authenticator)."""
    import pyotp  # at first use: most installations never need it

    return pyotp.TOTP(key).provisioning_uri(name=username, issuer_name=os.uname().nodename or "appliance")


def picture(url: str) -> bytes:
    """The QR code of an address, as SVG."""
    import segno

    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", scale=4, xmldecl=True, svgns=True)
    return out.getvalue()


def _plain(otp: str) -> str:
    """A code without what people put between its groups; what is too long is none."""
    return re.sub(r"[\s-]", "", otp).lower() if len(otp) <= _MAX_OTP else ""


def _new_code() -> str:
    """80 random bits: too many to be guessed from their hash."""
    text = base64.b32encode(secrets.token_bytes(10)).decode("ascii").lower()
    return "-".join(text[begin : begin + 4] for begin in range(0, len(text), 4))


def _hash(username: str, code: str) -> str:
    return hashlib.sha256(f"{username}\0{code}".encode()).hexdigest()


# In the database thread.


def _is_on(connection: sqlite3.Connection, username: str) -> bool:
    query = "SELECT 1 FROM rpc_second_factors WHERE username = ? AND enabled_at IS NOT NULL"
    return connection.execute(query, (username,)).fetchone() is not None


def _seed(connection: sqlite3.Connection, box: SecretBox, username: str, fresh: Secret) -> Secret:
    query = "SELECT secret, enabled_at FROM rpc_second_factors WHERE username = ?"
    row = connection.execute(query, (username,)).fetchone()
    if row is not None:
        if row[1] is not None:
            raise AlreadyOn
        try:
            return Secret(box.open(bytes(row[0]), username).decode())
        except Unsealable:
            pass  # its key was lost before it was turned on: nobody misses it
    insert = "INSERT OR REPLACE INTO rpc_second_factors (username, secret, last_step) VALUES (?, ?, -1)"
    connection.execute(insert, (username, box.seal(fresh.reveal().encode(), username)))
    return fresh


def _verify(connection: sqlite3.Connection, box: SecretBox, username: str, otp: str, now: int, turns_on: bool) -> bool:
    query = "SELECT secret, enabled_at, last_step FROM rpc_second_factors WHERE username = ?"
    row = connection.execute(query, (username,)).fetchone()
    if row is None or (row[1] is None and not turns_on):
        raise NoSecondFactor
    sealed, enabled_at, last_step = row
    step = _matching_step(box, username, bytes(sealed), otp, now)
    ahead = last_step > now // PERIOD + WINDOW  # the clock has been set back since: it must not lock anybody out
    if step is not None and (step > last_step or ahead):
        update = "UPDATE rpc_second_factors SET last_step = ?, enabled_at = coalesce(enabled_at, ?) WHERE username = ?"
        connection.execute(update, (step, now, username))
        return enabled_at is None
    if enabled_at is None or _RECOVERY.fullmatch(otp) is None:
        raise WrongCode
    delete = "DELETE FROM rpc_recovery_codes WHERE username = ? AND hash = ?"
    if connection.execute(delete, (username, _hash(username, otp))).rowcount == 0:
        raise WrongCode
    return False


def _matching_step(box: SecretBox, username: str, sealed: bytes, otp: str, now: int) -> int | None:
    """The time step whose code this is, of those that may be now."""
    if _CODE.fullmatch(otp) is None:
        return None
    import pyotp

    try:
        totp = pyotp.TOTP(box.open(sealed, username).decode())
    except Unsealable:
        return None  # recovery codes still work, and whoever has none is told that the code is wrong
    found = None
    for step in range(now // PERIOD - WINDOW, now // PERIOD + WINDOW + 1):
        if hmac.compare_digest(totp.generate_otp(step), otp):
            found = step
    return found


def _keep_codes(connection: sqlite3.Connection, username: str, hashes: list[str], now: int) -> bool:
    update = """
        UPDATE rpc_second_factors SET codes_shown_at = ?
        WHERE username = ? AND enabled_at IS NOT NULL AND codes_shown_at IS NULL"""
    if connection.execute(update, (now, username)).rowcount == 0:
        return False
    insert = "INSERT INTO rpc_recovery_codes (username, hash) VALUES (?, ?)"
    connection.executemany(insert, [(username, hashed) for hashed in hashes])
    return True


def _turn_off(connection: sqlite3.Connection, username: str) -> None:
    delete = "DELETE FROM rpc_second_factors WHERE username = ? AND enabled_at IS NOT NULL"
    if connection.execute(delete, (username,)).rowcount == 0:
        raise NoSecondFactor
    connection.execute("DELETE FROM rpc_recovery_codes WHERE username = ?", (username,))
