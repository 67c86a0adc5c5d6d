"""Sends one mail by SMTP (RFC 5321), over TLS where the settings ask for it, and tells lasting failures from others."""

from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate, make_msgid
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.mail.smtp import ESMTPSender, ESMTPSenderFactory, SMTPClientError
from twisted.python.failure import Failure

from appliance.process.reactor import within
from appliance.settings_mesh import Smtp
from appliance.threads import Threads

SECONDS = 60.0
_FAREWELL = 5.0
_FILE_LIMIT = 1 << 20
_PERMANENT = range(500, 600)
_POLICY = default.clone(cte_type="7bit")
"""Lines end with a line feed alone: Twisted's client makes CRLF of each, also of those in a CRLF."""


class MailRefused(Exception):
    """The server will not take this mail, now or later."""


class MailDelayed(Exception):
    """The server cannot be reached, or asks to be tried again later."""


class _Client(ESMTPSender):
    """Tells its factory that the connection was lost, as a connector would; an endpoint does not."""

    debug = False  # what it would keep, and show in errors, has the password in it

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gone: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.clientConnectionLost(None, reason)
        self.gone.callback(None)

    def abort(self) -> None:
        """Go away at once; nobody waits for a result any more."""
        self.factory.sendFinished = True
        cast(ITCPTransport, self.transport).abortConnection()


class Sender:
    """Sends mails by the server of `smtp`."""

    def __init__(self, reactor: Any, threads: Threads, smtp: Smtp) -> None:
        self._reactor = reactor
        self._threads = threads
        self._smtp = smtp

    @property
    def configured(self) -> bool:
        """Whether there is a mail server."""
        return self._smtp.host is not None

    async def send(self, to: str, subject: str, text: str) -> None:
        """Send a mail of plain text. Raises `MailRefused`, `MailDelayed`."""
        smtp = self._smtp
        host = smtp.host or ""
        done: Deferred[Any] = Deferred()
        try:
            password, trust = await self._threads.run(_read, smtp)
            factory = ESMTPSenderFactory(
                smtp.username.encode() if smtp.username else None,
                password,
                smtp.sender,
                to,
                BytesIO(_message(smtp.sender, to, subject, text)),
                done,
                retries=0,
                contextFactory=optionsForClientTLS(host, trustRoot=trust) if smtp.starttls else None,
                requireAuthentication=smtp.username is not None,
                requireTransportSecurity=smtp.starttls,
                hostname=host,
            )
            factory.protocol = _Client
            endpoint = HostnameEndpoint(self._reactor, host, smtp.port, timeout=10)
            client = cast(_Client, await endpoint.connect(factory))
            try:
                await within(self._reactor, SECONDS, done)
            except (TimeoutError, CancelledError):
                client.abort()
                raise
            finally:
                await self._leave(client)
        except SMTPClientError as error:
            words = f"{error.code} {_words(error.resp)}" if error.code > 0 else _words(error.resp)
            if error.code in _PERMANENT:
                raise MailRefused(words) from error
            raise MailDelayed(words) from error
        except (ConnectError, ConnectionClosed, DNSLookupError, TimeoutError) as error:
            raise MailDelayed(f"{host} cannot be reached: {error}") from error
        except OSError as error:
            raise MailDelayed(str(error)) from error

    async def _leave(self, client: _Client) -> None:
        """Let the client say goodbye, for a while."""
        try:
            await within(self._reactor, _FAREWELL, client.gone)
        except TimeoutError:
            client.abort()


def _read(smtp: Smtp) -> tuple[bytes | None, Any]:
    password = None if smtp.password_file is None else _content(smtp.password_file).strip()
    if smtp.ca_file is None:
        return password, None
    return password, trustRootFromCertificates([Certificate.loadPEM(_content(smtp.ca_file))])


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FILE_LIMIT)


def _message(sender: str, to: str, subject: str, text: str) -> bytes:
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message.as_bytes()


def _words(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
