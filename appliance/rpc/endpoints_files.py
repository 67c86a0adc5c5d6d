"""Files that clients and plugins exchange."""

import msgspec

from appliance.http.call import Call
from appliance.http.endpoints import FormBody, Routes
from appliance.http.replies import FileReply
from appliance.http.uploads import Upload
from appliance.rpc.authenticator import live
from appliance.rpc.envelope import NO_STORE, Success
from appliance.rpc.errors import RpcError
from appliance.rpc.shared_files import InvalidFilename, NoSuchFile, SharedFiles, disposition
from appliance.threads import Threads


class UploadForm(msgspec.Struct):
    """One file."""

    file: Upload


class FileEndpoints:
    """files, files/{name}."""

    routes = Routes(prefix="/files", tag="Files")

    def __init__(self, threads: Threads, files: SharedFiles) -> None:
        self._threads = threads
        self._files = files

    @routes.get(
        "/<path:name>",
        reply=bytes,
        who=live,
        produces="application/octet-stream",
        statuses=(206, 404, 416),
    )
    async def download_file(self, call: Call, name: str) -> FileReply:
        """A file that a plugin has left for downloading, or the part of it that `Range` names."""
        try:
            path = await self._threads.run(self._files.find, name)
        except InvalidFilename:
            raise _invalid() from None
        except NoSuchFile:
            raise _missing() from None
        headers = {"Content-Disposition": disposition(name), "Cache-Control": NO_STORE["Cache-Control"]}
        return FileReply(path, "application/octet-stream", headers, ranges=True)

    @routes.delete("/<path:name>", reply=type(None), who=live, audit="files.delete", statuses=(404,))
    async def remove_file(self, call: Call, name: str) -> Success:
        """Delete such a file."""
        try:
            await self._threads.run(self._files.remove, name)
        except InvalidFilename:
            raise _invalid() from None
        except NoSuchFile:
            raise _missing() from None
        return Success(None, "file remove success")

    # The router's `path` does not begin with a slash.
    @routes.get("//<path:name>", who=live, listed=False)
    async def download_elsewhere(self, call: Call, name: str) -> FileReply:
        """An absolute path is no file name."""
        raise _invalid()

    @routes.delete("//<path:name>", who=live, listed=False, audit="files.delete")
    async def remove_elsewhere(self, call: Call, name: str) -> Success:
        """An absolute path is no file name."""
        raise _invalid()

    @routes.post("", reply=str, who=live, body=FormBody(UploadForm), audit="files.upload", statuses=(507,))
    async def upload_file(self, call: Call, form: UploadForm) -> Success:
        """Bring a file for a plugin, which finds it under the name in the answer. One that nobody takes is deleted
        after a week."""
        name = await self._threads.run(self._files.keep, form.file)
        call.audit_object = name
        call.audit_details = {"size": form.file.size, "sha256": form.file.sha256}
        return Success(name, "file upload success")


def _invalid() -> RpcError:
    return RpcError(400, "invalid filename")


def _missing() -> RpcError:
    return RpcError(404, "file not found")
