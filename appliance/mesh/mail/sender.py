"""Sends one mail by SMTP (RFC 5321), over TLS where the settings ask for it, and tells lasting failures from others."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from io import BytesIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError

from appliance.process.reactor import within
from appliance.settings_mesh import Smtp
from appliance.threads import Threads

SECONDS = 60.0
_FILE_LIMIT = 1 << 20
_PERMANENT = range(500, 600)


class MailRefused(Exception):
    """The server will not take this mail, now or later."""


class MailDelayed(Exception):
    """The server cannot be reached, or asks to be tried again later."""


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
            endpoint = HostnameEndpoint(self._reactor, host, smtp.port, timeout=10)
            await endpoint.connect(factory)
            await within(self._reactor, SECONDS, done)
        except SMTPClientError as error:
            words = f"{error.code} {_words(error.resp)}" if error.code > 0 else _words(error.resp)
            if error.code in _PERMANENT:
                raise MailRefused(words) from error
            raise MailDelayed(words) from error
        except (ConnectError, ConnectionClosed, DNSLookupError, TimeoutError) as error:
            raise MailDelayed(f"{host} cannot be reached: {error}") from error
        except OSError as error:
            raise MailDelayed(str(error)) from error


def _read(smtp: Smtp) -> tuple[bytes | None, Any]:
    password = None if smtp.password_file is None else _content(smtp.password_file).strip()
    if smtp.ca_file is None:
        return password, None
    return password, trustRootFromCertificates([Certificate.loadPEM(_content(smtp.ca_file))])


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FILE_LIMIT)


def _message(sender: str, to: str, subject: str, text: str) -> bytes:
    message = EmailMessage(policy=SMTP)
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
