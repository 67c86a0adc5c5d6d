"""What of Twisted's inside `channel`, `request` and `answering` build on. A failure here means: look there first."""

import inspect
from typing import Any

import pytest
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from twisted.web.http import HTTPChannel, Request


class Chunks(Request):
    """Hands its body to the channel's notes."""

    def handleContentChunk(self, data: bytes) -> None:
        notes: Any = self.channel
        notes.calls.append(("body", data))


class Recorder(HTTPChannel):
    """Notes which hooks the parser calls, and what is known at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def allHeadersReceived(self) -> None:
        self.calls.append(("head", self._command, self._path, self._version, self.length, len(self.requests)))
        self.requests[-1].requestReceived = lambda *args: self.calls.append(("request", *args))
        self.persistent = True

    def allContentReceived(self) -> None:
        self.calls.append("content")
        super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.calls.append("too long")

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.calls.append(("bad", self._receivedHeaderSize, self._receivedHeaderCount))
        self.__dict__["lineReceived"] = lambda line: None


def channel(*pieces: bytes) -> Any:
    found: Any = Recorder()
    found.requestFactory = Chunks
    found.makeConnection(StringTransport(lenient=True))
    for piece in pieces:
        found.dataReceived(piece)
    return found


def test_the_order_of_the_hooks() -> None:
    found = channel(b"POST /x?y HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"a", b"bcrest")
    assert found.calls == [
        ("head", b"POST", b"/x?y", b"HTTP/1.1", 3, 1),
        ("body", b"a"),
        ("body", b"bc"),
        "content",
        ("request", b"POST", b"/x?y", b"HTTP/1.1"),
    ]
    assert found._handlingRequest and found._dataBuffer == [b"rest"]


def test_the_parser_looks_its_hooks_up_on_the_instance() -> None:
    """`stop_receiving` replaces them there in the middle of a read."""
    found: Any = Recorder()
    found.makeConnection(StringTransport(lenient=True))
    found.allHeadersReceived = lambda: found.__dict__.update(
        lineReceived=found.calls.append, rawDataReceived=found.calls.append
    )
    found.length = 5
    found.dataReceived(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")
    assert found.calls == [b"abcde"]


def test_a_body_without_a_length() -> None:
    found = channel(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
    assert found.calls[0][4] is None
    assert found.calls[1:4] == [("body", b"a"), ("body", b"bc"), "content"]


def test_no_content_length_means_no_body() -> None:
    assert channel(b"GET / HTTP/1.1\r\n\r\n").calls[:2] == [("head", b"GET", b"/", b"HTTP/1.1", 0, 1), "content"]


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n",
        b"GET / HTTP/1.1\r\nbad\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nB@d: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_malformed_goes_through_one_place(data: bytes) -> None:
    found = channel(data)
    assert [call for call in found.calls if call[0] == "bad"] == found.calls[-1:]
    size, count = found.calls[-1][1:]
    assert size <= found.totalHeadersSize and count <= found.maxHeaders


def test_what_is_too_large_goes_there_too_and_can_be_told_apart() -> None:
    lines = channel(b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 502)
    assert lines.calls[-1][2] > lines.maxHeaders
    size = channel(b"GET / HTTP/1.1\r\n" + (b"A: " + b"x" * 1000 + b"\r\n") * 20)
    assert size.calls[-1][1] > size.totalHeadersSize
    assert channel(b"GET /" + b"x" * 17_000).calls == ["too long"]
    assert (HTTPChannel.maxHeaders, HTTPChannel.totalHeadersSize, HTTPChannel.MAX_LENGTH) == (500, 16384, 16384)


def test_a_length_of_5000_digits_still_escapes_as_a_value_error() -> None:
    """`Channel.dataReceived` catches it. Once this fails, that can go."""
    with pytest.raises(ValueError, match="4300 digits"):
        channel(b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")


def test_the_network_producer_is_the_transport() -> None:
    found = channel()
    assert found._networkProducer is found.transport
    assert found.transport.producer is found
    found.loseConnection()
    assert found.transport.producer is None and found.transport.disconnecting


def test_waiting_for_the_transport() -> None:
    found = channel()
    assert not found._waitingForTransport
    found.pauseProducing()
    assert (found._waitingForTransport, found.transport.producerState) == (True, "paused")
    found.resumeProducing()
    assert (found._waitingForTransport, found.transport.producerState) == (False, "producing")


def test_a_stream_is_paused_and_resumed_with_the_transport() -> None:
    class Stream:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def pauseProducing(self) -> None:
            self.heard.append("pause")

        def resumeProducing(self) -> None:
            self.heard.append("resume")

        def stopProducing(self) -> None:
            self.heard.append("stop")

    found, stream = channel(), Stream()
    found.registerProducer(stream, True)
    found.pauseProducing()
    found.resumeProducing()
    found.stopProducing()
    assert stream.heard == ["pause", "resume", "stop"]
    found.unregisterProducer()
    assert found._requestProducer is None


def test_100_continue() -> None:
    found = channel()
    found._send100Continue()
    assert found.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_request_done_takes_up_the_buffered_rest() -> None:
    found = channel(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    assert len(found.requests) == 1
    found.requestDone(found.requests[0])
    assert [call[2] for call in found.calls if call[0] == "head"] == [b"/1", b"/2"]


def test_much_data_behind_a_request_pauses_the_client() -> None:
    found = channel(b"GET /1 HTTP/1.1\r\n\r\n", b"x" * (HTTPChannel._optimisticEagerReadSize + 1))
    assert found.transport.producerState == "paused"


def test_the_requests_own_attributes() -> None:
    """`Request.__init__` of ours does not call its parent: these are what the parent would set, or the class has."""
    names = {
        "notifications",
        "channel",
        "client",
        "host",
        "requestHeaders",
        "received_cookies",
        "responseHeaders",
        "cookies",
    }
    names |= {"transport", "queued", "_parsePOSTFormSubmission"}
    source = inspect.getsource(Request.__init__)
    assert {
        line.split("self.")[1].split(":")[0].split(" =")[0]
        for line in source.splitlines()
        if line.strip().startswith("self.")
    } == names
    for name, value in {
        "finished": 0,
        "startedWriting": 0,
        "_disconnected": False,
        "producer": None,
        "content": None,
    }.items():
        assert getattr(Request, name) == value


def test_who_takes_what() -> None:
    assert list(inspect.signature(Request.requestReceived).parameters) == ["self", "command", "path", "version"]
    assert list(inspect.signature(Request.registerProducer).parameters) == ["self", "producer", "streaming"]
    assert list(inspect.signature(HTTPChannel.checkPersistence).parameters) == ["self", "request", "version"]


def test_under_tls_the_sockets_transport_is_one_below() -> None:
    """`_read_at_once` sets `bufferSize` there."""
    assert issubclass(BufferingTLSTransport, TLSMemoryBIOProtocol)
    assert "self.socket.recv(self.bufferSize)" in inspect.getsource(Connection)
