"""The token a command shows: out of a file, or by logging in with a password that is asked for."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from treq.client import HTTPClient
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseFailed, ResponseNeverReceived

from appliance.client.errors import ClientError, Unreachable
from appliance.client.remote import Remote
from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.secret import Secret

TIMEOUT = 60.0
_TOKEN_LIMIT = 16 << 10
_REPLY_LIMIT = 256 << 10
_ONE_WORD = r"^[!-~]+$(?!\n)"


class LoggedIn(msgspec.Struct):
    """What a log-in brings."""

    token: Annotated[str, msgspec.Meta(pattern=_ONE_WORD)]


class Refusal(msgspec.Struct):
    """Why not."""

    message: str


class Envelope(msgspec.Struct):
    """What every answer stands in."""

    data: LoggedIn | None = None
    error: Refusal | None = None


def read_token(path: Path) -> Secret:
    """The token in a file, which holds nothing else. Raises `ClientError`."""
    try:
        token = read_limited(path, _TOKEN_LIMIT).decode("ascii").strip()
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise ClientError(f"{path} cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise ClientError(f"{path} does not hold a token") from None
    if not re.fullmatch(_ONE_WORD, token):
        raise ClientError(f"{path} does not hold a token")
    return Secret(token)


async def log_in(reactor: Any, remote: Remote, username: str, password: Secret) -> Secret:
    """A token for `username`. Raises `ClientError`."""
    client = HTTPClient(Agent(reactor, BrowserLikePolicyForHTTPS(remote.trust), connectTimeout=TIMEOUT))
    try:
        response = await client.post(
            f"https://{remote.authority}/api/v1/auth/login",
            json={"username": username, "password": password.reveal()},
            timeout=TIMEOUT,
            allow_redirects=False,  # the password is for this server
            unbuffered=True,
        )
        body = bytearray()
        await response.collect(lambda data: body.extend(data[: max(0, _REPLY_LIMIT - len(body))]))
    except (ConnectError, ConnectionLost, DNSLookupError, ResponseFailed, ResponseNeverReceived) as error:
        raise unreachable(remote, error) from None
    try:
        reply = msgspec.json.decode(body, type=Envelope)
    except (msgspec.DecodeError, RecursionError):
        raise ClientError(f"{remote.authority} answers the log-in with {response.code} and no envelope") from None
    if reply.data is None:
        raise ClientError(reply.error.message if reply.error is not None else "The log-in was refused")
    return Secret(reply.data.token)


def unreachable(remote: Remote, error: Exception) -> ClientError:
    """What a connection that failed is told as: its innermost cause."""
    reasons = getattr(error, "reasons", None)
    cause = reasons[0].value if reasons else error
    text = str(cause) or type(cause).__name__
    if "certificate verify failed" in repr(cause):
        text = "its certificate is not trusted; name the file with its certificate by --ca"
        return ClientError(f"{remote.authority} cannot be reached: {text}")
    return Unreachable(f"{remote.authority} cannot be reached: {text}")
