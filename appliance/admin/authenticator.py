"""Who asks on the admin surface: the holder of the one API token, proved by the token, its hash or a signed header."""

from collections.abc import Mapping
from hmac import compare_digest

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.admin.audit import AdminAudit
from appliance.admin.tokens import TokenKey, TokenStore
from appliance.database.errors import DatabaseError
from appliance.database.nonces import Nonces
from appliance.http.address import address_group
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, FormBody
from appliance.http.errors import HttpError, forbidden
from appliance.identity import hmac_header
from appliance.identity.backoff import Backoff
from appliance.identity.caller import Caller

SURFACE = "admin"
SETUP_PAUSE = 2.0
_ROLES = frozenset({"administrator"})


def _refused() -> HttpError:
    return forbidden("Authentication error")


class AdminAuthenticator:
    """Implements the table "Requests and authentication" of the admin contract."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        tokens: TokenStore,
        nonces: Nonces,
        audit: AdminAudit,
        backoff: Backoff,
        *,
        token_in_query: bool,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._nonces = nonces
        self._audit = audit
        self._backoff = backoff
        self._token_in_query = token_in_query
        self._pauses: dict[str, list[Deferred[None]]] = {}

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge query and headers. None: the credentials may still come in the form's fields."""
        if endpoint is not None and endpoint.who.public:
            return Caller("anonymous", "", address=call.address, surface=SURFACE)
        setup = endpoint is not None and endpoint.name == "setup"
        token = self._tokens.current()
        if token is None and setup:
            return self._caller(call, "setup")
        if token is None or (self._tokens.first_run_pending() and not setup):
            raise await self._refuse(call, setup)
        self._check_backoff(call)
        given_hash, given_token = call.argument("hash"), call.argument("token")
        header = call.header("Authorization")
        if header is not None:
            return await self._by_header(call, token, header, setup)
        if given_hash is None and given_token is None:
            if call.method == "POST" and (endpoint is None or isinstance(endpoint.body, FormBody)):
                return None
            raise await self._refuse(call, setup)
        return await self._judge(call, token, given_hash, given_token if self._token_in_query else None, setup)

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """Judge the form's fields `hash` and `token`."""
        setup = endpoint is not None and endpoint.name == "setup"
        token = self._tokens.current()
        if token is None:
            raise await self._refuse(call, setup)
        return await self._judge(call, token, fields.get("hash"), fields.get("token"), setup)

    async def _judge(
        self, call: Call, token: TokenKey, given_hash: str | None, given_token: str | None, setup: bool
    ) -> Caller:
        """Both given: only the hash counts."""
        if given_hash is not None:
            if _same(given_hash, token.hash_of(call.method, call.raw_path)):
                return self._caller(call, "hash")
        elif given_token is not None and _same(given_token, token.token.reveal()):
            return self._caller(call, "token")
        raise await self._refuse(call, setup)

    async def _by_header(self, call: Call, token: TokenKey, value: str, setup: bool) -> Caller:
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer" and _same(rest.strip(), token.token.reveal()):
            return self._caller(call, "token")
        signed = hmac_header.parse(value)
        if (
            signed is None
            or not signed.is_timely(self._clock.seconds())
            or not _same(signed.signature, token.sign(signed.message(call.method, call.raw_path, call.query)))
            or not await self._is_fresh(signed.nonce)
        ):
            raise await self._refuse(call, setup)
        call.expected_digest = signed.digest
        return self._caller(call, "hmac")

    async def _is_fresh(self, nonce: str) -> bool:
        """Whether a nonce has not been used before; 503 where that cannot be known."""
        try:
            return await self._nonces.use(SURFACE, nonce, 2 * hmac_header.ALLOWED_SKEW)
        except DatabaseError as error:
            self._log.error("A signed request cannot be checked for replay: {error}", error=error)
            raise HttpError(503, "The database is not available", headers={"Retry-After": "5"}) from error

    def _caller(self, call: Call, kind: str) -> Caller:
        return Caller(kind, "admin", _ROLES, address=call.address, surface=SURFACE)

    def _check_backoff(self, call: Call) -> None:
        if self._backoff.blocks(address_group(call.address)):
            raise _refused()

    async def _refuse(self, call: Call, setup: bool) -> HttpError:
        """Note the failure and return the refusal; a failed setup is answered after a pause."""
        begins = self._backoff.failed(address_group(call.address))
        if setup:
            action = "token.setup.failed"
        elif self._tokens.first_run_pending():
            action = "token.firstrun.failed"
        else:
            action = "token.authenticate.failed"
        if begins:
            call.audit_details["backoff"] = "begins"
        await self._audit.record(call, action, "refused")
        if setup:
            await self._pause(address_group(call.address))
        return _refused()

    async def _pause(self, address: str) -> None:
        """Wait two seconds; who fails again from the same address meanwhile shares the pause."""
        waiting = self._pauses.get(address)
        if waiting is None:
            waiting = self._pauses[address] = []
            self._clock.callLater(SETUP_PAUSE, self._end_pause, address)
        turn: Deferred[None] = Deferred()
        waiting.append(turn)
        await turn

    def _end_pause(self, address: str) -> None:
        for turn in self._pauses.pop(address, []):
            if not turn.called:
                turn.callback(None)


def _same(given: str, expected: str) -> bool:
    return compare_digest(given.encode("utf-8"), expected.encode("utf-8"))
