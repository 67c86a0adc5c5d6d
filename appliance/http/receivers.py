"""Chooses how a request's body is taken, by what the endpoint declares and what the client announces."""

import msgspec

from appliance.http.bodies import (
    Authorise,
    CollectedBody,
    IgnoredBody,
    Receiver,
    check_length,
    content_type,
    form_value,
    json_receiver,
    raw_receiver,
    urlencoded_receiver,
)
from appliance.http.call import Call
from appliance.http.endpoints import AppendedBody, Body, FormBody, JsonBody, RawBody
from appliance.http.errors import HttpError
from appliance.http.multipart_form import PART_LIMIT, MultipartForm, holds
from appliance.http.surface import UploadPolicy
from appliance.http.uploads import AppendedFile, FileSink, Flow, Part, Upload
from appliance.threads import Threads


class Receivers:
    """Opens a receiver for each request."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def open(
        self, call: Call, body: Body | None, uploads: UploadPolicy | None, authorise: Authorise | None, flow: Flow
    ) -> Receiver:
        """Return the receiver for `call`. Raises 413 or 415 for what its headers already rule out."""
        if body is None:
            return IgnoredBody()
        if isinstance(body, JsonBody):
            return json_receiver(body, call)
        if isinstance(body, RawBody):
            return raw_receiver(body, call)
        media_type, _ = content_type(call)
        if isinstance(body, AppendedBody):
            return self._appended(call, body, uploads, flow)
        if media_type == "multipart/form-data":
            return self._multipart(call, body, uploads, authorise, flow)
        if authorise is None and media_type == "application/json" and body.json_part is not None:
            return _json_part(call, body, body.json_part)
        if media_type in ("", "application/x-www-form-urlencoded", "application/json") or authorise is not None:
            return urlencoded_receiver(body, call, authorise)
        raise HttpError(415, "Unsupported media type. Expected multipart/form-data")

    def _multipart(
        self, call: Call, body: FormBody, uploads: UploadPolicy | None, authorise: Authorise | None, flow: Flow
    ) -> MultipartForm:
        if uploads is None:
            raise LookupError("a form was declared on a surface without an upload policy")
        files = any(holds(field.type, Upload) for field in msgspec.structs.fields(body.type))
        limit = uploads.limit if files else body.limit
        return MultipartForm(body, call, authorise, self._threads, flow, uploads.folder, limit)

    def _appended(self, call: Call, body: AppendedBody, uploads: UploadPolicy | None, flow: Flow) -> AppendedFile:
        if uploads is None or call.append_to is None:
            raise LookupError("a body is appended where its endpoint's guard names a file of the upload policy")
        if call.length != 0 and content_type(call)[0] not in body.media_types:
            raise HttpError(415, f"Unsupported media type. Expected {' or '.join(body.media_types)}")
        check_length(call, uploads.limit - call.append_to.offset)
        sink = FileSink(self._threads, flow, uploads.folder, None, call.length, uploads.limit, call.append_to)
        return AppendedFile(sink, call, new=call.append_to.new)


def _json_part(call: Call, body: FormBody, name: str) -> CollectedBody:
    check_length(call, PART_LIMIT)

    async def decode(raw: bytes) -> object:
        return form_value(body, {name: Part(raw, None)} if raw else {})

    return CollectedBody(PART_LIMIT, decode)
