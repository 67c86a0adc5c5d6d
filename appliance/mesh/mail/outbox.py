"""Sends invitations in the background, tries again, and keeps what became of each where everybody can see it."""

from typing import Any

from sqlalchemy import Connection, select, update
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from appliance.background import Background
from appliance.database.store import Store
from appliance.http.call import Call
from appliance.mesh.frontend import Frontend
from appliance.mesh.invitations import FAILED, NOT_SENT, PENDING, SENDING, SENT, Invitation
from appliance.mesh.mail.sender import MailDelayed, MailRefused, Sender
from appliance.mesh.moments import now, shown
from appliance.mesh.store.tables import invitations

DELAYS = (0.0, 15.0, 60.0, 300.0)
"""Seconds before each attempt."""

INTERRUPTED = "The server was stopped before the mail was sent; send it again"

_TEXT = """\
{inviter} invites you to the network {network}.

To join, open this link and log in with this mail address:

{link}

The invitation is good until {until} UTC.
"""


class Outbox:
    """Mails on their way. `background` owns them."""

    def __init__(
        self, store: Store, clock: IReactorTime, background: Background, sender: Sender, frontend: Frontend
    ) -> None:
        self._store = store
        self._clock = clock
        self._background = background
        self._sender = sender
        self._frontend = frontend

    @property
    def first_status(self) -> str:
        """What an invitation's mail is before anything was tried."""
        return SENDING if self._sender.configured else NOT_SENT

    def send(self, call: Call, invitation: Invitation, token: str) -> None:
        """Send an invitation; its row tells what became of that. `call` says where the web interface is."""
        if not self._sender.configured:
            return
        link = self._frontend.page(call, f"/invitations/accept/{token}")
        text = _TEXT.format(
            inviter=invitation.invited_by_email or "Somebody",
            network=invitation.network_name,
            link=link,
            until=shown(invitation.expires_at)[:16].replace("T", " "),
        )
        subject = f"Invitation to {invitation.network_name}"
        self._background.spawn("sending of an invitation", self._see_through(invitation, subject, text))

    async def give_up_interrupted(self) -> None:
        """Tell the truth about mails that a stopped server had not sent yet."""

        def work(connection: Connection) -> int:
            left = select(invitations.c.id).where(
                invitations.c.email_status == SENDING, invitations.c.status == PENDING
            )
            ids = list(connection.execute(left).scalars())
            if ids:
                values = {"email_status": FAILED, "email_error": INTERRUPTED}
                connection.execute(update(invitations).where(invitations.c.id.in_(ids)).values(**values))
            return len(ids)

        await self._store.run(work)

    async def _see_through(self, invitation: Invitation, subject: str, text: str) -> None:
        """Deliver a mail; a defect of ours must not leave it as one that is being sent."""
        try:
            await self._deliver(invitation, subject, text)
        except Exception:
            await self._note(invitation, email_status=FAILED, email_error="The mail could not be sent")
            raise

    async def _deliver(self, invitation: Invitation, subject: str, text: str) -> None:
        problem = ""
        for delay in DELAYS:
            if delay:
                await deferLater(self._clock, delay)
            try:
                await self._sender.send(invitation.email, subject, text)
            except MailRefused as error:
                problem = str(error)
                break
            except MailDelayed as error:
                problem = str(error)
                await self._note(invitation, email_error=problem[:500])
            else:
                await self._note(invitation, email_status=SENT, email_sent_at=now(self._clock), email_error=None)
                return
        await self._note(invitation, email_status=FAILED, email_error=problem[:500])

    async def _note(self, invitation: Invitation, **values: Any) -> None:
        statement = update(invitations).where(invitations.c.id == invitation.id).values(**values)
        await self._store.run(lambda connection: connection.execute(statement).rowcount)
