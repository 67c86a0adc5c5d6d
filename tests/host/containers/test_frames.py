import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.containers.docker.frames import STDERR, STDOUT, Frames
from appliance.host.containers.errors import EngineError


def frame(stream: int, content: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(content).to_bytes(4, "big") + content


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return (data[begin:end] for begin, end in itertools.pairwise(edges))


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=50))), st.lists(st.integers(0, 10**6)))
def test_however_it_is_cut(frames: list[tuple[int, bytes]], places: list[int]) -> None:
    taken = Frames()
    streams = {STDOUT: b"", STDERR: b""}
    for piece in cut(b"".join(frame(*each) for each in frames), places):
        for stream, content in taken.feed(piece):
            streams[stream] += content
    taken.finish()
    assert streams == {
        wanted: b"".join(content for stream, content in frames if stream == wanted) for wanted in (STDOUT, STDERR)
    }


def test_a_long_frame_is_passed_on_before_its_end() -> None:
    taken = Frames()
    begin = frame(STDOUT, b"x" * 1000)[:500]
    assert list(taken.feed(begin)) == [(STDOUT, b"x" * 492)]


@pytest.mark.parametrize("data", [b"plain text, no frame", b"\x04\0\0\0\0\0\0\0", b"\x01\0\1\0\0\0\0\x01a"])
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(EngineError):
        list(Frames().feed(data))


@pytest.mark.parametrize("length", [3, 8, 10])
def test_the_end_in_the_middle(length: int) -> None:
    taken = Frames()
    list(taken.feed(frame(STDOUT, b"abc")[:length]))
    with pytest.raises(EngineError):
        taken.finish()


def test_an_error_of_the_engine_s_own() -> None:
    taken = Frames()
    data = frame(STDOUT, b"ok") + frame(3, b"error grabbing logs\n")
    pieces = taken.feed(data)
    assert next(pieces) == (STDOUT, b"ok")
    with pytest.raises(EngineError, match="error grabbing logs"):
        next(pieces)
