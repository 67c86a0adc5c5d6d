"""What a user may call at this moment."""

from appliance.rpc.acl import Acls, Grants, Rights
from appliance.rpc.builtin.object import Asker
from appliance.rpc.identities import Identity
from appliance.rpc.watched import Watched

MAX_REMEMBERED = 1000


class AccessControl:
    """Brings rights and ACL files together; worked out once for all who have the same rights."""

    def __init__(self, acls: Watched[Acls]) -> None:
        self._acls = acls
        self._of: Acls | None = None
        self._grants: dict[Rights, Grants] = {}

    async def asker(self, identity: Identity) -> Asker:
        """Who asks, with what the ACL files grant him now."""
        acls = await self._acls.get()
        if acls is not self._of or len(self._grants) >= MAX_REMEMBERED:
            self._of, self._grants = acls, {}
        grants = self._grants.get(identity.rights)
        if grants is None:
            grants = self._grants[identity.rights] = Grants(acls, identity.rights)
        return Asker(identity.name, identity.administers, grants)
