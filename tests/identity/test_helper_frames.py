import contextlib
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.identity.helper_frames import (
    MAX_FRAME,
    MAX_PASSWORD,
    MAX_REASON,
    Frames,
    Outcome,
    ProtocolError,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    frame,
)


def fill(frames: Frames, data: bytes) -> list[bytes]:
    """Put in `data` as fast as there is room, and take what is whole."""
    taken = []
    while data:
        room = frames.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        frames.filled(count)
        data = data[count:]
        while (content := frames.take()) is not None:
            taken.append(bytes(content))
    return taken


@given(st.lists(st.binary(min_size=1, max_size=MAX_FRAME), max_size=8), st.integers(1, 3000))
def test_frames_come_out_as_they_went_in_however_they_are_cut(contents: list[bytes], size: int) -> None:
    frames = Frames()
    stream = b"".join(map(frame, contents))
    taken = [each for start in range(0, len(stream), size) for each in fill(frames, stream[start : start + size])]
    assert taken == contents
    assert not any(frames._buffer)  # nothing of them stays


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0xFFFFFFFF])
def test_a_length_that_is_not_allowed(length: int) -> None:
    with pytest.raises(ProtocolError):
        fill(Frames(), length.to_bytes(4, "big"))


@given(st.text(max_size=16), st.text(max_size=16), st.binary(max_size=MAX_PASSWORD), st.integers(0, 0xFFFFFFFF))
def test_requests(name: str, address: str, password: bytes, number: int) -> None:
    request = Request(number, name, address, bytearray(password))
    content = bytearray(encode_request(request))
    assert decode_request(content) == request
    assert not any(content)
    request.wipe()
    assert not any(request.password) and len(request.password) == len(password)


def test_a_request_does_not_show_its_password() -> None:
    assert "hidden" not in repr(Request(1, "a", "b", bytearray(b"hidden")))


def test_a_request_with_too_long_a_field() -> None:
    for request in (
        Request(1, "n" * 65, "", bytearray()),
        Request(1, "", "a" * 65, bytearray()),
        Request(1, "", "", bytearray(MAX_PASSWORD + 1)),
    ):
        with pytest.raises(ProtocolError):
            encode_request(request)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_request(bytearray(data))


def test_an_error_shows_nothing_of_the_request() -> None:
    content = encode_request(Request(1, "name", "address", bytearray(b"hidden")))
    for broken in (content[:-1], content + b"x", content.replace(b"name", b"\xff\xff\xff\xff")):
        with pytest.raises(ProtocolError) as caught:
            decode_request(bytearray(broken))
        shown = "".join(traceback.format_exception(caught.value))
        assert "hidden" not in shown and "UnicodeDecodeError" not in shown


def test_replies() -> None:
    for outcome in Outcome:
        reply = Reply(7, outcome, "warum: ü")
        assert decode_reply(encode_reply(reply)) == reply
    assert len(decode_reply(encode_reply(Reply(7, Outcome.REFUSED, "x" * 1000))).reason) == MAX_REASON


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\0\1\0", b"\0\0\0\1\x7ftext"])
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_reply(data)
