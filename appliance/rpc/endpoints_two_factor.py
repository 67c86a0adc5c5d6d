"""The second factor: turning it on and off, codes, and recovery codes."""

from appliance.http.call import Call
from appliance.http.endpoints import RawBody, Routes
from appliance.http.replies import Reply
from appliance.identity.caller import Caller, anyone
from appliance.identity.signed_tokens import BadToken
from appliance.rpc.authenticator import SURFACE, caller_of, live, sudo
from appliance.rpc.bodies import decode_body
from appliance.rpc.endpoints_login import SMALL_LIMIT
from appliance.rpc.envelope import NO_STORE, Success
from appliance.rpc.errors import RpcError, too_many, validation_failed
from appliance.rpc.identities import Identities
from appliance.rpc.models import OtpRequest, QrCode, RecoveryCodes, TwoFactorStatus
from appliance.rpc.second_factors import (
    AlreadyOn,
    NoSecondFactor,
    SecondFactors,
    TooManyCodes,
    WrongCode,
    picture,
)
from appliance.rpc.sessions import NotLive, Sessions
from appliance.rpc.tokens import Claims, Tokens
from appliance.threads import Threads

_NAME_SHOWN = 64


class TwoFactorEndpoints:
    """2fa, 2fa/…"""

    routes = Routes(prefix="/2fa", tag="Second factor")

    def __init__(
        self, threads: Threads, tokens: Tokens, sessions: Sessions, identities: Identities, factors: SecondFactors
    ) -> None:
        self._threads = threads
        self._tokens = tokens
        self._sessions = sessions
        self._identities = identities
        self._factors = factors

    @routes.get("", reply=TwoFactorStatus, who=live, statuses=(503,), name="two_factor_status")
    async def status(self, call: Call) -> TwoFactorStatus:
        """Whether the second factor is on."""
        return TwoFactorStatus(await self._factors.is_on(caller_of(call).name))

    @routes.get("/qr-code", reply=QrCode, who=sudo, audit="2fa.qr-code", statuses=(409, 503))
    async def qr_code(self, call: Call) -> Success | Reply:
        """The seed for an authenticator app, the same until a first code turns it on, and never shown after that.

        With `Accept: image/svg+xml` the answer is the QR code itself.
        """
        try:
            seed = await self._factors.seed(caller_of(call).name)
        except AlreadyOn:
            raise RpcError(409, "2FA already enabled") from None
        if "image/svg+xml" in (call.header("Accept") or ""):
            return Reply(200, await self._threads.run(picture, seed.url), "image/svg+xml", NO_STORE)
        return Success(QrCode(seed.key, seed.url), "QR code string")

    @routes.post(
        "/otp-verify",
        reply=type(None),
        who=anyone,
        body=RawBody(OtpRequest, SMALL_LIMIT),
        audit="2fa.otp-verify",
        statuses=(404, 503),
    )
    async def verify_otp(self, call: Call, body: bytes) -> Success:
        """Show a code, or a recovery code, for a token, which counts from then on.

        The first one turns the second factor on, and ends all other tokens of the user.
        """
        given = decode_body(body, OtpRequest)
        call.audit_object = given.username[:_NAME_SHOWN]
        claims = await self._claims(given)
        call.caller = Caller("session", claims.id, address=call.address, surface=SURFACE)
        try:
            first = await self._factors.verify(claims.id, given.otp, turns_on=True)
        except NoSecondFactor:
            raise RpcError(404, "user secret not found") from None
        except TooManyCodes as error:
            raise too_many(str(error), error.retry_after) from None
        except WrongCode:
            raise validation_failed("invalid_otp", "otp") from None
        try:
            await self._sessions.confirm(claims, alone=first)
        except NotLive:
            raise _token_invalid() from None
        call.audit_details = {"turned_on": first}
        return Success(None, "OTP verified")

    @routes.get(
        "/recovery-codes",
        reply=RecoveryCodes,
        who=sudo,
        audit="2fa.recovery-codes",
        statuses=(503,),
        cancellable=False,
    )
    async def recovery_codes(self, call: Call) -> RecoveryCodes:
        """Codes that each stand for a one-time code once. They are shown this once, and an empty list after that."""
        return RecoveryCodes(await self._factors.show_recovery_codes(caller_of(call).name))

    @routes.delete("", reply=str, who=sudo, audit="2fa.turn-off", statuses=(404, 503), name="two_factor_off")
    async def turn_off(self, call: Call) -> Success:
        """Turn the second factor off, and forget seed and recovery codes."""
        try:
            await self._factors.turn_off(caller_of(call).name)
        except NoSecondFactor:
            raise RpcError(404, "2FA not enabled") from None
        return Success("", "2FA revocate successfully")

    async def _claims(self, given: OtpRequest) -> Claims:
        """What the token in the body says; it is of that user, and has not ended."""
        try:
            claims = self._tokens.read(given.token)
        except BadToken:
            raise _token_invalid() from None
        identity = await self._identities.find(claims.id)
        session = self._sessions.find(claims)
        if session is None or identity is None or session.credential != identity.credential:
            raise _token_invalid()
        if claims.id != given.username:
            raise _token_invalid()
        return claims


def _token_invalid() -> RpcError:
    return RpcError(400, "JWT token invalid")
