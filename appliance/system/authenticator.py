"""Who asks on the system surface."""

from collections.abc import Mapping

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError
from appliance.identity.caller import Caller

SURFACE = "system"


class SystemAuthenticator:
    """Implements "Authentication and permission" of the system contract."""

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge the Authorization header."""
        if endpoint is not None and endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        raise _refused()

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """No form bears credentials here."""
        raise _refused()


def _refused() -> HttpError:
    return HttpError(401, "Authentication required", headers={"WWW-Authenticate": "Bearer"})
