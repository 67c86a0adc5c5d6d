"""`session`: who is logged in."""

from collections.abc import Mapping

from appliance.rpc.builtin.object import Asker
from appliance.rpc.sessions import Session, Sessions


class SessionObject:
    """`list`: an administrator sees all sessions, others see their own."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def methods(self) -> Mapping[str, Mapping[str, object]]:
        """See `BuiltinObject`."""
        return {"list": {}}

    async def call(self, method: str, arguments: Mapping[str, object], asker: Asker) -> object:
        """See `BuiltinObject`."""
        shown = [each for each in self._sessions.all() if asker.administers or each.username == asker.username]
        return {"sessions": [_described(session) for session in shown]}


def _described(session: Session) -> dict[str, object]:
    return {
        "id": session.jti,
        "username": session.username,
        "address": session.address,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "waits_for_2fa": session.pending,
    }
