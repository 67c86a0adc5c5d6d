"""Users of the mesh: a row for each, made when he first shows up."""

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.moments import SECOND, now
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import revoked_tokens, users
from appliance.mesh.tokens import BadToken, UserClaims

USER, SYSTEM_ADMIN = "user", "system-admin"
DEVELOPER, DEVELOPER_EMAIL = "dev", "dev@localhost"


class UserRow(msgspec.Struct, frozen=True):
    """A user as he is kept; `sub` is what the provider calls him."""

    id: int
    sub: str
    email: str | None
    name: str | None
    system_role: str
    created_at: int


_BY_SUB = select(*columns_of(users, UserRow)).where(users.c.sub == bindparam("given"))
_REVOKED = select(revoked_tokens.c.jti).where(revoked_tokens.c.jti == bindparam("given"))


class People:
    """Recognises users by their tokens and lets them log in and out."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def recognise(self, claims: UserClaims, address: str) -> Actor:
        """Who shows a token. Raises `BadToken` for one that was revoked."""
        moment = now(self._clock)

        def work(connection: Connection) -> UserRow | None:
            if connection.execute(_REVOKED, {"given": claims.jti}).first() is not None:
                return None
            found = find_by_sub(connection, claims.sub)
            return found or _add(connection, claims.sub, claims.email, claims.name, USER, moment)

        found = await self._store.run(work)
        if found is None:
            raise BadToken
        return to_actor(found, address)

    async def log_in(self, sub: str, email: str | None, name: str | None, *, claims_admin: bool) -> UserRow:
        """
        The user whom the provider has vouched for. Where it claims that he is a system admin he becomes one; where it
        does not, what an admin has set stays (mesh contract, "system admin").
        """
        moment = now(self._clock)

        def work(connection: Connection) -> UserRow:
            found = find_by_sub(connection, sub)
            if found is None:
                return _add(connection, sub, email, name, SYSTEM_ADMIN if claims_admin else USER, moment)
            values = {
                "email": email or found.email,
                "name": name or found.name,
                "system_role": SYSTEM_ADMIN if claims_admin else found.system_role,
            }
            connection.execute(update(users).where(users.c.id == found.id).values(**values))
            return msgspec.structs.replace(found, **values)

        return await self._store.run(work)

    async def log_in_for_development(self, address: str) -> UserRow:
        """The user `dev`, a system admin, for whom nobody vouches."""
        user = await self.log_in(DEVELOPER, DEVELOPER_EMAIL, DEVELOPER, claims_admin=True)
        moment, actor = now(self._clock), to_actor(user, address)
        await self._store.run(lambda connection: record(connection, actor, moment, Event(action="auth_dev_token")))
        return user

    async def note_login(self, address: str, user: UserRow | None, problem: str | None) -> None:
        """Write down a log-in by the provider: whose, or why there was none."""
        moment = now(self._clock)
        if user is not None:
            actor, event = to_actor(user, address), Event(action="auth_login_success")
        else:
            actor = Actor(address=address)
            event = Event(action="auth_login_failure", result="failure", details={"reason": problem})
        await self._store.run(lambda connection: record(connection, actor, moment, event))

    async def log_out(self, claims: UserClaims, address: str) -> None:
        """Let that token count no more."""
        moment = now(self._clock)
        actor = Actor(identifier=claims.sub, email=claims.email, address=address)

        def work(connection: Connection) -> None:
            record(connection, actor, moment, Event(action="auth_logout"))
            if connection.execute(_REVOKED, {"given": claims.jti}).first() is None:
                connection.execute(insert(revoked_tokens).values(jti=claims.jti, expires_at=claims.exp * SECOND))

        await self._store.run(work)


def find_by_sub(connection: Connection, sub: str) -> UserRow | None:
    """The user of that name of the provider's."""
    row = connection.execute(_BY_SUB, {"given": sub}).first()
    return None if row is None else to_struct(row, UserRow)


def to_actor(user: UserRow, address: str) -> Actor:
    """A user who does something, from an address."""
    return Actor(
        user_id=user.id,
        identifier=user.sub,
        email=user.email,
        system_admin=user.system_role == SYSTEM_ADMIN,
        address=address,
    )


def _add(
    connection: Connection, sub: str, email: str | None, name: str | None, system_role: str, moment: int
) -> UserRow:
    made = connection.execute(
        insert(users)
        .values(sub=sub, email=email, name=name, system_role=system_role, created_at=moment)
        .returning(*columns_of(users, UserRow))
    )
    return to_struct(made.one(), UserRow)
