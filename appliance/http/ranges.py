"""Parts of a file: the one range of bytes that a client asks for (RFC 9110 section 14)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from appliance.http.call import Call
from appliance.http.downloads import open_file
from appliance.http.errors import HttpError

_ONE_RANGE = re.compile(r"bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*")


class Slice(NamedTuple):
    """An open file, at the first byte to be sent, and how many follow.

    `status` is that of the answer where it is not the whole file, else None; `headers` go with it.
    """

    file: BinaryIO
    length: int
    status: int | None
    headers: Mapping[str, str]


def open_slice(path: Path, call: Call | None, *, temporary: bool = False) -> Slice:
    """Open what `call` asks for of a file, all of it without a call; a `temporary` one is unlinked.

    Raises a 404 or a 416. Blocking.
    """
    file = open_file(path)
    try:
        if temporary:
            path.unlink()
        size = os.fstat(file.fileno()).st_size
        if call is None:
            return Slice(file, size, None, {})
        headers = {"Accept-Ranges": "bytes"}
        part = requested_range(call, size)
        if part is None:
            return Slice(file, size, None, headers)
        first, length = part
        file.seek(first)
        return Slice(file, length, 206, {**headers, "Content-Range": f"bytes {first}-{first + length - 1}/{size}"})
    except BaseException:
        file.close()
        raise


def requested_range(call: Call, size: int) -> tuple[int, int] | None:
    """The first byte and the number of bytes that the client wants of `size`; None where it gets the whole.

    It gets the whole, too, where it asks for several ranges, for what is no range, or conditionally (`If-Range`): our
    files have no validator, so no condition holds. Raises a 416 for a range of which the file has nothing.
    """
    asked = call.header("Range")
    if asked is None or call.method != "GET" or call.header("If-Range") is not None:
        return None
    found = _ONE_RANGE.fullmatch(asked)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        length = min(int(found[2]), size)
        first, last = size - length, size - 1
    else:
        first = int(found[1])
        last = min(int(found[2]) if found[2] else size - 1, size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first > last:
        raise HttpError(416, headers={"Content-Range": f"bytes */{size}"})
    return first, last - first + 1
