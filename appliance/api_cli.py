"""
The console script `api-cli`: calls one method of the rpc surface and prints what it answers.

Exit code 0, or 1 for an error, or 2 where the log-in was refused. Plain `http.client`, since scripts call it often and
everything else takes longer to import.
"""

import base64
import contextlib
import http.client
import ipaddress
import json
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import click
import msgspec

from appliance import __version__

DEFAULT_URL = "https://localhost/api"
DEFAULT_USER = "root"
DEFAULT_PASSWORD = "Nethesis,1234"  # noqa: S105 - that of the reference, sent to this machine only
PASSWORD_VARIABLE = "APPLIANCE_PASSWORD"  # noqa: S105 - its name
URL_VARIABLE = "APPLIANCE_URL"

FAILED = 1
NOT_AUTHENTICATED = 2

_CONNECT_SECONDS = 30
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


class Failure(Exception):
    """What is said on standard error, and the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


class Answer(NamedTuple):
    """Status and decoded envelope; `data` stays as it came."""

    status: int
    data: bytes
    message: str
    token: str


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")
    message: str = ""
    token: str = ""


class _Token(msgspec.Struct):
    token: str


class _Job(msgspec.Struct):
    id: str
    status: str
    progress: int | None = None
    answer: msgspec.Raw = msgspec.Raw(b"null")


class _JobAnswer(msgspec.Struct):
    code: int
    data: msgspec.Raw
    message: str


class Server:
    """One connection to a server, and the token of a log-in."""

    def __init__(self, url: str, trust: ssl.SSLContext | None, timeout: float) -> None:
        parts = urlsplit(url)
        self._host, self._path = parts.hostname or "", parts.path.rstrip("/")
        if trust is None:
            self._connection = http.client.HTTPConnection(self._host, parts.port, timeout=_CONNECT_SECONDS)
        else:
            self._connection = http.client.HTTPSConnection(
                self._host, parts.port, timeout=_CONNECT_SECONDS, context=trust
            )
        self._timeout = timeout
        self._token = ""

    def log_in(self, user: str, password: str, otp: str | None) -> None:
        """Raises `Failure` with exit code 2 where the server does not want to."""
        answer = self._send("POST", "/login", {"username": user, "password": password})
        if answer.status != 200 or not answer.token:
            refused = answer.status in (401, 403, 429)
            raise Failure(f"{answer.status} {answer.message}", NOT_AUTHENTICATED if refused else FAILED)
        self._token = answer.token
        if not _waits_for_code(answer.token):
            return
        if otp is None:
            raise Failure("the second factor is on: give a code with --otp", NOT_AUTHENTICATED)
        answer = self._send("POST", "/2fa/otp-verify", {"username": user, "token": self._token, "otp": otp})
        if answer.status != 200:
            raise Failure(f"{answer.status} {_explained(answer)}", NOT_AUTHENTICATED)

    def enter_sudo(self, password: str) -> None:
        """Change the token for one in sudo mode. Raises `Failure`."""
        answer = self._send("POST", "/sudo", {"password": password})
        if answer.status != 200:
            raise Failure(f"{answer.status} {_explained(answer)}", NOT_AUTHENTICATED)
        old, self._token = self._token, msgspec.json.decode(answer.data, type=_Token).token
        self._send("POST", "/logout", {}, token=old)

    def call(self, object: str, method: str, payload: bytes) -> bytes:
        """The `data` of a call. Raises `Failure`."""
        return _data_of(self._send("POST", "/ubus/call", _call_body(object, method, payload)))

    def call_as_job(self, object: str, method: str, payload: bytes) -> bytes:
        """The same as a job, whose progress is told on standard error meanwhile. Raises `Failure`."""
        accepted = self._send("POST", "/ubus/call", _call_body(object, method, payload), {"Prefer": "respond-async"})
        if accepted.status != 202:
            return _data_of(accepted)
        job = msgspec.json.decode(accepted.data, type=_Job)
        try:
            job = self._follow(job)
        except KeyboardInterrupt:
            self._send("DELETE", f"/ubus/jobs/{job.id}")
            raise
        if job.status not in ("success", "failed"):
            raise Failure(f"the job was {job.status}")
        answer = msgspec.json.decode(job.answer, type=_JobAnswer)
        return _data_of(Answer(answer.code, bytes(answer.data), answer.message, ""))

    def log_out(self) -> None:
        """End the token; what goes wrong does not matter any more."""
        if self._token:
            with contextlib.suppress(Failure):
                self._send("POST", "/logout", {})
        self._connection.close()

    def _connect(self) -> None:
        self._connection.connect()
        socket: Any = self._connection.sock
        socket.settimeout(self._timeout)

    def _follow(self, job: _Job) -> _Job:
        shown, pause = None, _FIRST_PAUSE
        while job.status == "running":
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST_PAUSE)
            answer = self._send("GET", f"/ubus/jobs/{job.id}")
            job = msgspec.json.decode(_data_of(answer), type=_Job)
            if job.progress is not None and job.progress != shown:
                shown = job.progress
                click.echo(f"{shown} %", err=True)
        return job

    def _send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, token: str = ""
    ) -> Answer:
        given = {"Accept": "application/json", **(headers or {})}
        if self._token:
            given["Authorization"] = f"Bearer {token or self._token}"
        content = None
        if body is not None:
            given["Content-Type"] = "application/json"
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            if self._connection.sock is None:
                self._connect()
            self._connection.request(method, self._path + path, content, given)
            response = self._connection.getresponse()
            raw = response.read()
        except TimeoutError:
            raise Failure(f"{self._host} does not answer") from None
        except KeyboardInterrupt:
            self._connection.close()  # what is half said cannot be followed by anything else
            raise
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            hint = "; name the file with its certificate by --ca" if isinstance(error, ssl.SSLError) else ""
            raise Failure(f"{self._host} cannot be reached: {error}{hint}") from None
        try:
            found = msgspec.json.decode(raw, type=_Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Failure(f"{response.status} {response.reason}: the answer is not that of this API") from None
        return Answer(response.status, bytes(found.data), found.message, found.token)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="api-cli")
@click.argument("path")
@click.argument("method")
@click.option("-l", "--user", default=DEFAULT_USER, show_default=True, metavar="NAME", help="Who logs in.")
@click.option("-p", "--password", metavar="TEXT", help=f"His password; better --password-file or ${PASSWORD_VARIABLE}.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="A file whose first line it is.")
@click.option("--otp", metavar="CODE", help="A one-time code, where the second factor is on.")
@click.option("-u", "--url", metavar="URL", help=f"Where the API is (default: ${URL_VARIABLE}, else {DEFAULT_URL}).")
@click.option("-d", "--data", metavar="JSON|-", help="The payload, a JSON object; - reads it from standard input.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="The certificate to trust, PEM.")
@click.option("--insecure", is_flag=True, help="Do not check the certificate.")
@click.option("--sudo", is_flag=True, help="Call in sudo mode: the password is given once more.")
@click.option("--job", is_flag=True, help="Run as a job and tell its progress on standard error.")
@click.option("--timeout", default=900.0, show_default=True, metavar="SECONDS", help="How long to wait for an answer.")
@click.option("--pretty", is_flag=True, help="Print with line breaks.")
def cli(
    path: str,
    method: str,
    user: str,
    password: str | None,
    password_file: Path | None,
    otp: str | None,
    url: str | None,
    data: str | None,
    ca: str | None,
    insecure: bool,
    sudo: bool,
    job: bool,
    timeout: float,
    pretty: bool,
) -> None:
    """
    Call METHOD of the object PATH and print what it answers, as JSON.

    Exit code 1 for an error, 2 where the log-in was refused. On this machine the certificate is not checked unless
    --ca is given, and without a password the default one is tried.
    """
    payload = _payload(data)
    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    parts = _checked_url(url)
    local = _is_loopback(parts.hostname or "")
    secret = _password(password, password_file, local=local)
    trust = None if parts.scheme == "http" else _trust(ca, check=not (insecure or (local and ca is None)))
    server = Server(url, trust, timeout)
    try:
        server.log_in(user, secret, otp)
        if sudo:
            server.enter_sudo(secret)
        call = server.call_as_job if job else server.call
        answer = call(path, method, payload)
    finally:
        server.log_out()
    click.echo(msgspec.json.format(answer, indent=2) if pretty else answer)


def main() -> None:
    """The console script."""
    try:
        cli(standalone_mode=False)
    except Failure as error:
        click.echo(f"api-cli: {error}", err=True)
        sys.exit(error.code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:  # its own exit code, 2, would mean a refused log-in
        error.show()
        sys.exit(FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _payload(data: str | None) -> bytes:
    """The JSON object to be sent, as it was written. Raises `Failure`."""
    if data is None:
        return b"{}"
    raw = sys.stdin.buffer.read() if data == "-" else data.encode("utf-8", "surrogateescape")
    try:
        value = json.loads(raw, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise Failure(f"--data is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Failure("--data is not a JSON object")
    return raw.strip()


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _call_body(object: str, method: str, payload: bytes) -> bytes:
    names = msgspec.json.encode({"path": object, "method": method})
    return names[:-1] + b',"payload":' + payload + b"}"


def _checked_url(url: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Failure(f"{url}: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Failure(f"{url} is no address of an API, such as {DEFAULT_URL}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise Failure("a password is sent to other machines by https only")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _password(given: str | None, file: Path | None, *, local: bool) -> str:
    if given is not None:
        return given
    if file is not None:
        try:
            return file.read_text("utf-8").split("\n", 1)[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{file}: {error}") from None
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if local:
        return DEFAULT_PASSWORD
    raise Failure(f"a password is needed: --password-file, or {PASSWORD_VARIABLE} in the environment")


def _trust(ca: str | None, *, check: bool) -> ssl.SSLContext:
    try:
        trust = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Failure(f"{ca}: {error}") from None
    if not check:
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    return trust


def _waits_for_code(token: str) -> bool:
    """Whether the token's claim `2fa` says that it waits for a one-time code."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return False
    return isinstance(claims, dict) and claims.get("2fa") is True


def _data_of(answer: Answer) -> bytes:
    """The data of a good answer. Raises `Failure`, for a token that has ended with exit code 2."""
    if answer.status == 200:
        return answer.data
    raise Failure(f"{answer.status} {_explained(answer)}", NOT_AUTHENTICATED if answer.status == 401 else FAILED)


def _explained(answer: Answer) -> str:
    """The message, and the data where there is more to say."""
    said = answer.message or http.client.responses.get(answer.status, "")
    return said if answer.data in (b"null", b'""') else f"{said} {answer.data.decode('utf-8', 'replace')}"


if __name__ == "__main__":
    main()
