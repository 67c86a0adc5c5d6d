"""Invitations by mail, with a real mail server: sent, refused, and tried again while the server is away."""

import tempfile
from pathlib import Path

from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers

from appliance.background import Background
from appliance.http.call import Call
from appliance.mesh.frontend import Frontend
from appliance.mesh.invitations import Invitation, Invitations, NewInvitation
from appliance.mesh.mail.outbox import DELAYS, INTERRUPTED, Outbox
from appliance.mesh.mail.sender import MailDelayed, MailRefused, Sender
from appliance.mesh.members import Capabilities
from appliance.settings_mesh import Smtp
from appliance.threads import Threads
from tests.support.listening import reactor
from tests.support.mesh import MeshTestCase
from tests.support.smtp import PASSWORD, USER, MailServer, free_port, make_certificate


class OutboxTests(MeshTestCase):
    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.background = Background()
        self.addCleanup(self.background.stop)
        self.threads = Threads(reactor)
        self.invitations = Invitations(self.store, self.clock, self.vault)
        self.alice = await self.user("alice")
        self.office = (await self.network(self.alice)).row

    def outbox(self, port: int, **more: object) -> Outbox:
        smtp = Smtp(host="localhost", port=port, sender="mesh@example.test", **{"starttls": False, **more})  # type: ignore[arg-type]
        sender = Sender(reactor, self.threads, smtp)
        return Outbox(self.store, self.clock, self.background, sender, Frontend("https://mesh.example"))

    async def invite(self, outbox: Outbox, email: str) -> Invitation:
        wanted = NewInvitation(email=email, network_id=self.office.id, capabilities=Capabilities(), days=7)
        made = await self.invitations.make(self.alice, wanted, outbox.first_status)
        outbox.send(Call("", "POST", b"/", "/", b"", Headers()), made, self.invitations.token(made))
        return made

    async def now(self, made: Invitation) -> Invitation:
        (found,) = [each for each in await self.invitations.of(self.alice, None, None) if each.id == made.id]
        return found

    async def until(self, made: Invitation, **fields: object) -> Invitation:
        """Wait until the invitation's row says so; the test's own time limit bounds it."""
        while True:
            found = await self.now(made)
            if all(getattr(found, name) == value for name, value in fields.items()):
                return found
            await deferLater(reactor, 0.02, lambda: None)

    async def until_the_next_attempt_is_due(self) -> None:
        """Wait until an attempt has failed, and the next one waits for its time."""
        while not self.clock.getDelayedCalls():
            await deferLater(reactor, 0.005, lambda: None)

    async def test_a_mail_is_sent(self) -> None:
        with MailServer().running() as server:
            outbox = self.outbox(server.port)
            self.assertEqual(outbox.first_status, "sending")
            made = await self.invite(outbox, "Bob@Example.test")
            found = await self.until(made, email_status="sent")
        self.assertIsNone(found.email_error)
        self.assertIsNotNone(found.email_sent_at)
        (mail,) = server.mails
        self.assertEqual((mail["From"], mail["To"]), ("mesh@example.test", "bob@example.test"))
        self.assertIn("office", mail["Subject"])
        link = f"https://mesh.example/invitations/accept/{self.invitations.token(made)}"
        self.assertIn(link, mail.get_content())

    async def test_over_tls_with_a_password(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            certificate, key = make_certificate(folder)
            secret = folder / "password"
            secret.write_text(PASSWORD + "\n")
            with MailServer(certificate=certificate, key=key).running() as server:
                options = {"starttls": True, "username": USER, "password_file": secret, "ca_file": certificate}
                await self.until(
                    await self.invite(self.outbox(server.port, **options), "bob@x.test"), email_status="sent"
                )
                self.assertEqual(server.encrypted, [True])
                secret.write_text("wrong")
                refused = await self.until(
                    await self.invite(self.outbox(server.port, **options), "eve@x.test"), email_status="failed"
                )
                self.assertIn("535", refused.email_error or "")
                # A certificate that is not trusted: nothing is sent, and that is told.
                untrusted = {**options, "ca_file": None}
                delayed = await self.invite(self.outbox(server.port, **untrusted), "ann@x.test")
                await self.until_the_next_attempt_is_due()
                self.assertIn("certificate", (await self.now(delayed)).email_error or "")
                self.assertEqual(len(server.mails), 1)

    async def test_what_is_refused_for_good_has_failed(self) -> None:
        with MailServer().running() as server:
            found = await self.until(
                await self.invite(self.outbox(server.port), "nobody@x.test"), email_status="failed"
            )
        self.assertIn("550", found.email_error or "")
        self.assertEqual(server.mails, [])

    async def test_a_server_that_is_away_is_tried_again(self) -> None:
        server = MailServer(port=free_port())
        made = await self.invite(self.outbox(server.port), "bob@x.test")
        await self.until_the_next_attempt_is_due()
        found = await self.now(made)
        self.assertEqual(found.email_status, "sending")
        self.assertIn("cannot be reached", found.email_error or "")
        with server.running():
            self.clock.advance(DELAYS[1])
            found = await self.until(made, email_status="sent")
        self.assertIsNone(found.email_error)

    async def test_who_says_later_each_time_has_failed_at_last(self) -> None:
        with MailServer().running() as server:
            made = await self.invite(self.outbox(server.port), "later@x.test")
            for delay in DELAYS[1:]:
                await self.until_the_next_attempt_is_due()
                self.clock.advance(delay)
            found = await self.until(made, email_status="failed")
        self.assertIn("451", found.email_error or "")
        self.assertEqual(server.refusals, len(DELAYS))

    async def test_a_stopped_server_tells_the_truth_at_its_next_start(self) -> None:
        outbox = self.outbox(free_port())
        wanted = NewInvitation(email="bob@x.test", network_id=self.office.id, capabilities=Capabilities(), days=7)
        made = await self.invitations.make(self.alice, wanted, outbox.first_status)
        await outbox.give_up_interrupted()
        found = await self.now(made)
        self.assertEqual((found.email_status, found.email_error), ("failed", INTERRUPTED))
        with MailServer().running() as server:
            again = self.outbox(server.port)
            resent = await self.invitations.resend(self.alice, made.id, again.first_status)
            again.send(Call("", "POST", b"/", "/", b"", Headers()), resent, self.invitations.token(resent))
            await self.until(made, email_status="sent")

    async def test_without_a_mail_server_nothing_is_sent(self) -> None:
        outbox = Outbox(self.store, self.clock, self.background, Sender(reactor, self.threads, Smtp()), Frontend(None))
        made = await self.invite(outbox, "bob@x.test")
        self.assertEqual((await self.now(made)).email_status, "not_sent")

    async def test_words_of_the_failures(self) -> None:
        with MailServer().running() as server:
            smtp = Smtp(host="localhost", port=server.port, starttls=False)
            sender = Sender(reactor, self.threads, smtp)
            self.assertIn("550", await self.refused(MailRefused, sender.send("nobody@x.test", "s", "t")))
            self.assertIn("451", await self.refused(MailDelayed, sender.send("later@x.test", "s", "t")))
            insists = Sender(reactor, self.threads, Smtp(host="localhost", port=server.port, starttls=True))
            await self.refused(MailRefused, insists.send("bob@x.test", "s", "t"))
        self.assertEqual(server.mails, [])
