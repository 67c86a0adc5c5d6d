"""How often one client, or one device, may ask for what costs much or could be guessed (mesh contract, "limits")."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from appliance.http.address import address_group
from appliance.http.call import Call
from appliance.http.errors import HttpError
from appliance.http.rate_limit import Windows

QUARTER, HOUR, MINUTE = 900, 3600, 60


class Limit:
    """`count` requests in `seconds`; `exempt` tells of an address whether it is left alone."""

    def __init__(self, clock: IReactorTime, exempt: Callable[[str], bool], count: int, seconds: int) -> None:
        self._windows = Windows(clock, count, seconds)
        self._exempt = exempt

    def of_address(self, call: Call) -> None:
        """Count a request of a client. Raises a 429."""
        self._count(call, address_group(call.address))

    def of_device(self, call: Call, node_id: int) -> None:
        """Count a request of a node's device, wherever it is. Raises a 429."""
        self._count(call, str(node_id))

    def _count(self, call: Call, key: str) -> None:
        if self._exempt(call.address):
            return
        wait = self._windows.count(key)
        if wait:
            raise HttpError(429, "Too many requests", headers={"Retry-After": str(wait)})


class Limits:
    """All of them, by what they guard."""

    def __init__(self, clock: IReactorTime, exempt: Callable[[str], bool]) -> None:
        def limit(count: int, seconds: int) -> Limit:
            return Limit(clock, exempt, count, seconds)

        self.enroll = limit(5, QUARTER)
        self.device_config = limit(600, HOUR)
        self.device_dns = limit(600, HOUR)
        self.device_certs = limit(20, HOUR)
        self.login = limit(10, MINUTE)
        self.callback = limit(20, MINUTE)
        self.reauth_challenge = limit(20, QUARTER)
        self.reauth_callback = limit(40, QUARTER)
        self.public_invitation = limit(30, HOUR)
