"""Endpoints that note what reaches them, and a test case that serves them in memory."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from appliance.http.call import Call
from appliance.http.endpoints import FormBody, JsonBody, Routes
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import administrator
from tests.support.site import Parcel, SiteTestCase


class Thing(msgspec.Struct):
    name: str


class Things:
    """Endpoints that note what reached them; `gate`, where set, is waited for."""

    routes = Routes(tag="Things")

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.gate: Deferred[Any] | None = None
        self.cancelled = 0
        self.file = Path("/nonexistent")

    async def _pass(self, value: object) -> object:
        self.seen.append(value)
        if self.gate is not None:
            try:
                await self.gate
            except CancelledError:
                self.cancelled += 1
                raise
        return value

    @routes.get("/thing", who=administrator)
    async def read(self, call: Call) -> object:
        return await self._pass("read")

    @routes.post("/thing", who=administrator, body=JsonBody(Thing), audit="thing.post")
    async def write(self, call: Call, body: Thing) -> object:
        return await self._pass(body)

    @routes.post("/parcel", who=administrator, body=FormBody(Parcel), audit="parcel.post")
    async def parcel(self, call: Call, form: Parcel) -> object:
        content = form.file.path.read_bytes() if form.file is not None else b""
        found = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "said": form.file.sha256 if form.file is not None else None,
            "small": form.small.content.hex() if form.small is not None else None,
            "note": form.note,
        }
        return await self._pass(found)

    @routes.get("/broken", who=administrator)
    async def broken(self, call: Call) -> object:
        raise ZeroDivisionError

    @routes.get("/full", who=administrator)
    async def full(self, call: Call) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @routes.get("/file", who=administrator)
    async def download(self, call: Call) -> FileReply:
        return FileReply(self.file, "application/octet-stream", {"Filename": "x"})

    @routes.get("/empty", who=administrator)
    async def empty(self, call: Call) -> Reply:
        return Reply(204, b"")


class RequestTestCase(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.things = Things()
        self.serve(self.things)
