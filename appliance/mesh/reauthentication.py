"""Another log-in, for what cannot be undone: a challenge is given, answered with a token, and used once."""

import secrets

import msgspec
from sqlalchemy import Connection, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.actor import Actor
from appliance.mesh.errors import Denied
from appliance.mesh.moments import SECOND, now
from appliance.mesh.networks import Reauthenticated
from appliance.mesh.store.tables import challenges, users
from appliance.mesh.tokens import REAUTH_SECONDS, BadToken, ReauthClaims, Tokens
from appliance.mesh.vault import Vault

CHALLENGE_SECONDS = 900
REQUIRED = "Reauthentication required"
REFUSED = "Invalid or expired reauthentication"

_PURPOSE = "reauthentication"


class Challenged(msgspec.Struct, frozen=True):
    """Whose challenge it is."""

    user_id: int
    sub: str


class Reauthentication:
    """Challenges in `store`, of which it keeps keyed hashes."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault, tokens: Tokens) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._tokens = tokens

    async def challenge(self, actor: Actor) -> str:
        """A new challenge for a user."""
        text = secrets.token_urlsafe(32)
        expires_at = now(self._clock) + CHALLENGE_SECONDS * SECOND
        values = {"challenge_hash": self._hash(text), "user_id": actor.user_id, "expires_at": expires_at}
        await self._store.run(lambda connection: connection.execute(insert(challenges).values(**values)).rowcount)
        return text

    async def whose(self, challenge: str) -> Challenged | None:
        """Whose challenge that is; None for one that is not known, has expired or was used."""
        moment = now(self._clock)

        def work(connection: Connection) -> Challenged | None:
            row = connection.execute(
                select(challenges.c.user_id, users.c.sub)
                .select_from(challenges.join(users, users.c.id == challenges.c.user_id))
                .where(
                    challenges.c.challenge_hash == self._hash(challenge),
                    challenges.c.used_at.is_(None),
                    challenges.c.expires_at > moment,
                )
            ).first()
            return None if row is None else Challenged(*row)

        return await self._store.run(work)

    async def answer(self, challenged: Challenged, challenge: str) -> str:
        """The token for a user who has logged in once more. It opens one thing, within five minutes."""
        expires_at = now(self._clock) + REAUTH_SECONDS * SECOND
        values = (
            update(challenges).where(challenges.c.challenge_hash == self._hash(challenge)).values(expires_at=expires_at)
        )
        await self._store.run(lambda connection: connection.execute(values).rowcount)
        return self._tokens.of_reauth(challenged.sub, challenge)

    def opened_by(self, actor: Actor, token: str) -> Reauthenticated:
        """What uses `token` up inside the transaction that it opens. Raises `Denied` there."""
        moment = now(self._clock)

        def use(connection: Connection) -> None:
            if not token:
                raise Denied(REQUIRED)
            try:
                claims = self._tokens.check(token, ReauthClaims)
            except BadToken:
                raise Denied(REFUSED) from None
            used = connection.execute(
                update(challenges)
                .where(
                    challenges.c.challenge_hash == self._hash(claims.challenge),
                    challenges.c.user_id == actor.user_id,
                    challenges.c.used_at.is_(None),
                    challenges.c.expires_at > moment,
                )
                .values(used_at=moment)
            )
            if claims.sub != actor.identifier or not used.rowcount:
                raise Denied(REFUSED)

        return use

    def _hash(self, challenge: str) -> str:
        return self._vault.hash(_PURPOSE, challenge)
