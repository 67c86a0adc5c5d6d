"""Finds out who sent a request to the mesh: a user or a device, by the token in the header and by it alone."""

from collections.abc import Mapping

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.identity.caller import Caller
from appliance.mesh.actor import Actor
from appliance.mesh.callers import ADMIN_ROLES, DEVICE_ROLES, USER_ROLES, MeshCaller, device, user_or_device
from appliance.mesh.device.devices import Devices
from appliance.mesh.envelope import unauthorized
from appliance.mesh.people import People
from appliance.mesh.surface import SURFACE
from appliance.mesh.tokens import BadToken, DeviceClaims, Tokens, UserClaims

_NO_DEVICE = "Missing or invalid device token"
_BAD_DEVICE = "Invalid or expired device token"


class MeshAuthenticator:
    """Implements "Tokens" of the mesh contract."""

    def __init__(self, tokens: Tokens, people: People, devices: Devices) -> None:
        self._tokens = tokens
        self._people = people
        self._devices = devices

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header."""
        if endpoint is None or endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        token = bearer(call)
        if endpoint.who is device:
            if token is None:
                raise unauthorized(_NO_DEVICE)
            found = await self._device(token, call.address)
            if found is None:
                raise unauthorized(_BAD_DEVICE)
            return found
        if token is None:
            raise unauthorized()
        caller = await self.user(token, call.address)
        if caller is None and endpoint.who is user_or_device:
            caller = await self._device(token, call.address)
        if caller is None:
            raise unauthorized()
        return caller

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise unauthorized()

    async def user(self, token: str, address: str) -> MeshCaller | None:
        """The user with that token; None where it is none, or none any more."""
        try:
            actor = await self._people.recognise(self._tokens.check(token, UserClaims), address)
        except BadToken:
            return None
        roles = ADMIN_ROLES if actor.system_admin else USER_ROLES
        return MeshCaller("session", actor.identifier or "", roles, address=address, surface=SURFACE, actor=actor)

    async def _device(self, token: str, address: str) -> MeshCaller | None:
        try:
            claims = self._tokens.check(token, DeviceClaims)
        except BadToken:
            return None
        state = await self._devices.recognise(claims)
        if state is None:
            return None
        name = f"node {claims.node_id}"
        actor = Actor(identifier=name, address=address)
        return MeshCaller("device", name, DEVICE_ROLES, address=address, surface=SURFACE, actor=actor, device=state)


def bearer(call: Call) -> str | None:
    """The token in the one Authorization header, None where there is none."""
    values = call.headers.getRawHeaders(b"Authorization")
    if values is None or len(values) != 1:
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" and token.strip(" ") else None
