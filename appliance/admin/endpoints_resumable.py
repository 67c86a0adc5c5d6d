"""Resumable upload of update packages, in the shape of draft-ietf-httpbis-resumable-upload.

A POST begins (its body may hold the first bytes), HEAD tells the offset, PATCH appends, DELETE gives up. The request
that says `Upload-Complete: ?1` ends the upload and starts the update, answered as POST update is.
"""

import re
from contextlib import suppress

from appliance.admin.endpoints_information import PREFIX
from appliance.admin.errors import Missing
from appliance.admin.models import Accepted, Status
from appliance.admin.resumable import ResumableUploads
from appliance.admin.translate import as_answers
from appliance.admin.update import Updates
from appliance.http.bodies import check_length
from appliance.http.call import Call
from appliance.http.endpoints import AppendedBody, Routes
from appliance.http.errors import HttpError, bad_request
from appliance.http.replies import Reply
from appliance.http.uploads import AppendTo
from appliance.identity.caller import administrator
from appliance.threads import Threads

PATH = f"{PREFIX}/update/upload"
PARTIAL = "application/partial-upload"
_INTEGER = re.compile(r"[0-9]{1,15}")
_BODY = AppendedBody((PARTIAL, "application/octet-stream"))


class ResumableUpdateEndpoints:
    """An update package in several requests."""

    routes = Routes(prefix="/update/upload", tag="Updates")

    def __init__(self, uploads: ResumableUploads, updates: Updates, threads: Threads, limit: int) -> None:
        self._uploads = uploads
        self._updates = updates
        self._threads = threads
        self._limit = limit

    async def begin(self, call: Call) -> None:
        """Check the headers and choose the file that the body goes to."""
        _complete(call)
        announced = _number(call, "Upload-Length")
        if announced is not None and announced > self._limit:
            raise HttpError(413, f"Invalid Upload-Length. Allowed: <= {self._limit}")
        check_length(call, self._limit)
        with as_answers():
            await self._updates.ensure_idle()
            call.append_to = AppendTo(await self._threads.run(self._uploads.new_path), 0, new=True)

    @routes.post(
        "",
        reply=Status,
        who=administrator,
        body=_BODY,
        audit="update.upload.post",
        status=201,
        statuses=(202, 400, 413, 415, 507),
        guard=begin,
    )
    async def create_upload(self, call: Call, body: None) -> Accepted | Reply:
        """Begin a resumable upload; `Upload-Complete: ?1` makes it a whole one at once."""
        upload = _id(call)
        try:
            return await self._taken(call, upload, created=True)
        except BaseException:  # its client never learns the upload's name
            with suppress(Missing):
                await self._threads.run(self._uploads.cancel, upload)
            raise

    @routes.head("/<upload>", who=administrator, status=204, statuses=(404,))
    async def upload_offset(self, call: Call, upload: str) -> Reply:
        """Tell in `Upload-Offset` how many bytes have arrived."""
        with as_answers():
            offset = await self._threads.run(self._uploads.offset, upload)
        return Reply(204, b"", headers={**self._progress(offset), "Cache-Control": "no-store"})

    async def resume(self, call: Call) -> None:
        """Refuse a piece that does not go where the file ends."""
        _complete(call)
        upload = call.parameters["upload"]
        with as_answers():
            path = await self._threads.run(self._uploads.path, upload)
            offset = await self._threads.run(self._uploads.offset, upload)
        if _number(call, "Upload-Offset") != offset:
            fields = {"expected-offset": offset}
            raise HttpError(409, "Wrong Upload-Offset", fields=fields, headers=self._progress(offset))
        call.append_to = AppendTo(path, offset)

    @routes.patch(
        "/<upload>",
        reply=Accepted,
        who=administrator,
        body=_BODY,
        audit="update.upload.patch",
        status=204,
        statuses=(202, 400, 404, 409, 413, 415, 507),
        guard=resume,
    )
    async def append_upload(self, call: Call, body: None, upload: str) -> Accepted | Reply:
        """Append to an upload; `Upload-Offset` must be what HEAD tells."""
        return await self._taken(call, upload, created=False)

    @routes.delete("/<upload>", who=administrator, audit="update.upload.delete", status=204, statuses=(404,))
    async def delete_upload(self, call: Call, upload: str) -> Reply:
        """Give an upload up."""
        with as_answers():
            await self._threads.run(self._uploads.cancel, upload)
        return Reply(204, b"")

    async def _taken(self, call: Call, upload: str, *, created: bool) -> Accepted | Reply:
        with as_answers():
            if _complete(call):
                package = await self._threads.run(self._uploads.complete, upload)
                if package.size == 0:
                    raise bad_request("The upload is empty")
                call.audit_details.update(sha256=package.sha256, size=package.size)
                await self._updates.start(package, call.address)
                return Accepted(f"{PREFIX}/update", package.sha256)
            offset = await self._threads.run(self._uploads.offset, upload)
        headers = self._progress(offset)
        if created:
            headers["Location"] = f"{PATH}/{upload}"
            return Reply(201, b'{"Status":"201 Created"}', headers=headers)
        return Reply(204, b"", headers=headers)

    def _progress(self, offset: int) -> dict[str, str]:
        return {
            "Upload-Offset": str(offset),
            "Upload-Complete": "?0",
            "Upload-Limit": f"max-size={self._limit}",
        }


def _complete(call: Call) -> bool:
    """Read `Upload-Complete`, a boolean of RFC 9651. Raises a 400 where it is missing or malformed."""
    value = call.header("Upload-Complete")
    if value not in ("?0", "?1"):
        raise bad_request("Missing or invalid header: Upload-Complete. Expected ?0 or ?1")
    return value == "?1"


def _number(call: Call, name: str) -> int | None:
    """Read an integer header of RFC 9651, None where it is missing. Raises a 400 for anything else."""
    value = call.header(name)
    if value is not None and not _INTEGER.fullmatch(value):
        raise bad_request(f"Invalid header: {name}. Expected a number of bytes")
    return int(value) if value is not None else None


def _id(call: Call) -> str:
    if call.append_to is None:
        raise LookupError("the guard has not chosen a file")
    return call.append_to.path.name.rpartition("-")[2]
