"""The way of a request, top to bottom. Everything a request meets between its head and its answer stands here.

`admit` runs when the head is in and before any of the body: whose path, which endpoint, who asks, may he. `answer`
runs when the body is in: decode, handle, encode, audit. Whatever goes wrong in either becomes the surface's own error
form; nothing else ever answers a request that could be parsed.
"""

from collections.abc import Mapping
from typing import cast

import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.http.bodies import Receiver, invalid
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, FormBody
from appliance.http.errors import HttpError, MethodNotAllowed, forbidden, insufficient_storage, is_disk_full
from appliance.http.receivers import Receivers
from appliance.http.replies import FileReply, Reply, StreamReply, Upgrade
from appliance.http.surface import Surface, Surfaces
from appliance.http.uploads import Flow
from appliance.identity.caller import Caller
from appliance.secret import MASK

Answer = Reply | FileReply | StreamReply | Upgrade

_DENIED = "Permission denied"
_OTHER_BODY = "Authentication error"


class _NoFields(msgspec.Struct):
    """A form of which nothing but credentials is wanted."""


class Dispatcher:
    """Takes each request its way; knows the surfaces and nothing of what they do."""

    _log = Logger()

    def __init__(self, surfaces: Surfaces, receivers: Receivers) -> None:
        self._surfaces = surfaces
        self._receivers = receivers

    async def admit(self, call: Call, flow: Flow) -> Receiver:
        """Judge a request by its head and return the receiver for its body. Raises an `HttpError` to refuse."""
        surface = call.surface = self._surfaces.owner(call.path)
        if surface.gate is not None:
            surface.gate.admit(call)
        if surface.wake is not None:
            await surface.wake()
        try:
            endpoint, call.parameters = surface.router.find(call.method, call.path)
        except MethodNotAllowed as error:
            return await self._admit_wrong_method(call, surface, error, flow)
        call.endpoint = endpoint
        for name in endpoint.secret_parameters:
            call.path = call.path.replace(call.parameters[name], MASK)
        caller = await surface.authenticator.identify(call, endpoint)
        if caller is not None:
            await self._permit(call, endpoint, caller)
            return self._receivers.open(call, endpoint.body, surface.uploads, None, flow)

        async def authorise(fields: Mapping[str, str]) -> None:
            await self._permit(call, endpoint, await surface.authenticator.identify_form(call, endpoint, fields))

        return self._receivers.open(call, endpoint.body, surface.uploads, authorise, flow)

    async def _admit_wrong_method(self, call: Call, surface: Surface, error: MethodNotAllowed, flow: Flow) -> Receiver:
        """Tell of the wrong method only who has shown good credentials, in the form if need be."""
        call.caller = await surface.authenticator.identify(call, None)
        if call.caller is not None:
            raise error

        async def authorise(fields: Mapping[str, str]) -> None:
            call.caller = await surface.authenticator.identify_form(call, None, fields)
            raise error

        return self._receivers.open(call, FormBody(_NoFields), surface.uploads, authorise, flow)

    async def answer(self, call: Call, body: object) -> Answer:
        """Run the handler of an admitted request whose body is in, and audit what it changed."""
        endpoint, surface = cast(Endpoint, call.endpoint), cast(Surface, call.surface)
        try:
            if not call.has_its_body:
                raise forbidden(_OTHER_BODY)
            arguments = self._arguments(call, endpoint, body)
            result = await endpoint.handler(*arguments, **call.parameters)
            reply = result if isinstance(result, Answer) else surface.envelope.encode(result, call)
        except (Exception, CancelledError) as error:
            known = error if isinstance(error, HttpError) else _translated(surface, error)
            if endpoint.audit is not None:
                outcome = call.audit_outcome or ("failed" if known is None else f"refused: {known}")
                await surface.audit.record(call, endpoint.audit, outcome)
            if known is None or known is error:
                raise
            raise known from error
        if endpoint.audit is not None and not call.audit_needless:
            await surface.audit.record(call, endpoint.audit, call.audit_outcome or "success")
        return reply

    def refusal(self, call: Call, error: BaseException) -> Reply:
        """Turn what went wrong into the surface's error form; a defect of ours is logged and becomes a bare 500."""
        if is_disk_full(error):
            self._log.error("request {request} met a full disk: {error}", request=call.id, error=error)
            error = insufficient_storage()
        surface = call.surface or self._surfaces.owner(call.path or call.raw_path.decode("latin-1"))
        known = error if isinstance(error, HttpError) else _translated(surface, error)
        if known is None:
            self._log.failure("request {request} failed", request=call.id, failure=Failure(error))
            known = HttpError(500)
        return surface.envelope.error(known, call)

    async def _permit(self, call: Call, endpoint: Endpoint, caller: Caller) -> None:
        call.caller = caller
        if not endpoint.who.admits(caller):
            surface = cast(Surface, call.surface)
            if endpoint.audit is not None:
                await surface.audit.record(call, endpoint.audit, f"refused: {_DENIED}")
            raise forbidden(_DENIED)
        if endpoint.guard is not None:
            await endpoint.guard(call)

    def _arguments(self, call: Call, endpoint: Endpoint, body: object) -> list[object]:
        arguments: list[object] = [call]
        if endpoint.body is not None:
            arguments.append(body)
        if endpoint.query is not None:
            arguments.append(decode_query(call, endpoint.query))
        return arguments


def _translated(surface: Surface, error: BaseException) -> HttpError | None:
    return surface.translate(error) if isinstance(error, Exception) else None


def decode_query(call: Call, type: type[msgspec.Struct]) -> object:
    """Decode the query into `type`, the last value of each parameter counting. Raises `InvalidInput`."""
    values = {name: given[-1] for name, given in call.arguments.items()}
    try:
        return msgspec.convert(values, type, strict=False)
    except msgspec.ValidationError as error:
        raise invalid("query", error) from None
