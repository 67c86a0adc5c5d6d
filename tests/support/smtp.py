"""A real SMTP server (aiosmtpd) that keeps what it is sent, and refuses where the recipient's name says so."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

USER, PASSWORD = "appliance", "correct horse 11"


@dataclass
class MailServer:
    """Listens on 127.0.0.1. `later…@` is told to try again, `nobody…@` refused for good."""

    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    mails: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refusals: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        """Accept a recipient or not."""
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        if address.startswith("later"):
            self.refusals += 1
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        self.encrypted.append(session.ssl is not None)
        return "250 2.0.0 queued"

    @contextlib.contextmanager
    def running(self) -> Iterator["MailServer"]:
        """Listen; with a certificate only over TLS, and only to who logs in."""
        options: dict[str, Any] = {}
        if self.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.certificate, self.key)
            options = {
                "tls_context": context,
                "require_starttls": True,
                "auth_required": True,
                "authenticator": lambda server, session, envelope, mechanism, login: AuthResult(
                    success=(login.login, login.password) == (USER.encode(), PASSWORD.encode()), handled=False
                ),
            }
        controller = Controller(self, hostname="127.0.0.1", port=self.port or free_port(), **options)
        self.port = controller.port
        controller.start()
        try:
            yield self
        finally:
            controller.stop()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `localhost`, and its key."""
    certificate, key = folder / "mail.pem", folder / "mail.key"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out"]
    subprocess.run([*argv, str(certificate)], capture_output=True, timeout=60, check=True)
    return certificate, key
