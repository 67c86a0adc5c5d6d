import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from appliance.http.bodies import (
    IGNORED_BODY_LIMIT,
    CollectedBody,
    IgnoredBody,
    InvalidInput,
    content_type,
    decode_json,
    form_value,
    json_receiver,
    start_waiting,
    urlencoded_receiver,
)
from appliance.http.call import MAX_QUERY_PARAMETERS, Call, parse_query
from appliance.http.endpoints import FormBody, JsonBody
from appliance.http.errors import HttpError, forbidden
from appliance.http.uploads import Part
from tests.support.site import Parcel


class Inner(msgspec.Struct):
    size: int


class Outer(msgspec.Struct, rename="kebab"):
    host_name: str
    inner: Inner | None = None


class Names(msgspec.Struct):
    name: str
    other: str | None = None


def call(length: int | None = None, **headers: str) -> Call:
    raw = {name.replace("_", "-").encode(): [value.encode("latin-1")] for name, value in headers.items()}
    found = Call("1", "POST", b"/x", "/x", b"", Headers(raw))
    found.length = length
    return found


class ReceiverTests(SynchronousTestCase):
    def take(self, receiver: CollectedBody, *pieces: bytes) -> object:
        for piece in pieces:
            receiver.feed(piece)
        return self.successResultOf(Deferred.fromCoroutine(receiver.finish()))

    def refused(self, receiver: CollectedBody, *pieces: bytes) -> HttpError:
        for piece in pieces:
            receiver.feed(piece)
        error = self.failureResultOf(Deferred.fromCoroutine(receiver.finish()), HttpError).value
        assert isinstance(error, HttpError)
        return error

    def test_json(self) -> None:
        receiver = json_receiver(JsonBody(Outer), call(20, Content_Type="application/json; charset=utf-8"))
        self.assertEqual(self.take(receiver, b'{"host-', b'name":"x"}'), Outer("x"))

    def test_json_without_a_type(self) -> None:
        self.assertEqual(self.take(json_receiver(JsonBody(Outer), call()), b'{"host-name":"x"}'), Outer("x"))

    def test_empty_json(self) -> None:
        self.assertIsNone(self.take(json_receiver(JsonBody(Outer, required=False), call(0))))
        self.assertEqual(self.refused(json_receiver(JsonBody(Outer), call(0))).status, 400)

    def test_other_types_are_refused_where_there_is_a_body(self) -> None:
        with self.assertRaises(HttpError) as caught:
            json_receiver(JsonBody(Outer), call(5, Content_Type="text/plain"))
        self.assertEqual(caught.exception.status, 415)
        self.assertIsNone(self.take(json_receiver(JsonBody(Outer, required=False), call(0, Content_Type="text/plain"))))

    def test_announced_and_actual_lengths_are_limited(self) -> None:
        with self.assertRaises(HttpError) as caught:
            json_receiver(JsonBody(Outer, limit=10), call(11))
        self.assertEqual(caught.exception.status, 413)
        receiver = json_receiver(JsonBody(Outer, limit=10), call(None))
        receiver.feed(b"x" * 10)
        with self.assertRaises(HttpError) as caught:
            receiver.feed(b"x")
        self.assertEqual(caught.exception.status, 413)

    def test_ignored(self) -> None:
        receiver = IgnoredBody()
        receiver.feed(b"x" * IGNORED_BODY_LIMIT)
        self.successResultOf(Deferred.fromCoroutine(receiver.finish()))
        with self.assertRaises(HttpError) as caught:
            receiver.feed(b"x")
        self.assertEqual(caught.exception.status, 413)

    def test_a_urlencoded_form(self) -> None:
        receiver = urlencoded_receiver(FormBody(Names), call(), None)
        self.assertEqual(self.take(receiver, b"name=a+%C3%B6&x=", b"y"), Names("a ö"))

    def test_bad_urlencoded_forms(self) -> None:
        for body, message in (
            (b"", "Missing field: name"),
            (b"other=x", "Missing field: name"),
            (b"name=x&name=y", "Duplicate field: name"),
            (b"name=%ff", "Parameters must be percent-encoded UTF-8"),
            (b"name=%00", "Parameters must not contain NUL"),
            (b"name=\xff", "Parameters must be percent-encoded UTF-8"),
        ):
            receiver = urlencoded_receiver(FormBody(Names), call(), None)
            self.assertEqual(self.refused(receiver, body).message, message)

    def test_a_urlencoded_forms_credentials(self) -> None:
        async def authorise(fields: object) -> None:
            assert isinstance(fields, dict)
            if fields.get("token") != "good":
                raise forbidden("no")

        for body, status in ((b"name=x", 403), (b"name=x&token=bad", 403), (b"token=good", 400)):
            self.assertEqual(self.refused(urlencoded_receiver(FormBody(Names), call(), authorise), body).status, status)
        receiver = urlencoded_receiver(FormBody(Names), call(), authorise)
        self.assertEqual(self.take(receiver, b"name=x&token=good"), Names("x"))

    def test_discard_forgets(self) -> None:
        receiver = json_receiver(JsonBody(Outer, required=False), call())
        receiver.feed(b"{")
        self.successResultOf(Deferred.fromCoroutine(receiver.discard()))
        self.assertIsNone(self.take(receiver))

    def test_start_waiting(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.assertIsNone(start_waiting(_at_once()))
        started = start_waiting(waiting)
        assert started is not None
        self.assertNoResult(started)
        waiting.errback(forbidden("no"))
        self.failureResultOf(started, HttpError)
        with self.assertRaises(HttpError):
            start_waiting(_fails())


async def _at_once() -> None:
    pass


async def _fails() -> None:
    raise forbidden("no")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"{}", ""),
        (b'{"host-name":1}', "host-name"),
        (b'{"host-name":"x","inner":{"size":"y"}}', "inner.size"),
        (b'{"host-name":"x","inner":[]}', "inner"),
        (b"[]", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"{}x", ""),
        (b'{"host-name":"\\ud800"}', ""),
        (b"nan", ""),
    ],
)
def test_bad_json_names_the_field(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_json(raw, Outer)
    assert (caught.value.status, caught.value.where, caught.value.field) == (400, "body", field)
    assert caught.value.message is not None and caught.value.message.startswith("Invalid body: ")


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        decode_json(raw, Outer)
    except InvalidInput as error:
        refusal = error
    else:
        return
    assert refusal.status == 400


@given(st.binary(max_size=300))
def test_any_query_is_decoded_or_refused(raw: bytes) -> None:
    try:
        found = parse_query(raw)
    except HttpError as error:
        refusal = error
    else:
        assert all("\0" not in value for values in found.values() for value in values)
        return
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", {}),
        (b"a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        (b"a", {"a": [""]}),
        (b"&&a=&", {"a": [""]}),
        (b"=x", {"": ["x"]}),
        (b"a=b=c", {"a": ["b=c"]}),
        (b"a=%2B+%26", {"a": ["+ &"]}),
        (b"%61=%zz", {"a": ["%zz"]}),
        (b"a;b=1", {"a;b": ["1"]}),
    ],
)
def test_queries(query: bytes, found: dict[str, list[str]]) -> None:
    assert parse_query(query) == found


def test_the_number_of_parameters_is_limited() -> None:
    assert len(parse_query(b"&".join(b"%d=" % i for i in range(MAX_QUERY_PARAMETERS)))) == MAX_QUERY_PARAMETERS
    with pytest.raises(HttpError):
        parse_query(b"&" * MAX_QUERY_PARAMETERS)


@pytest.mark.parametrize(
    ("value", "media_type", "parameters"),
    [
        ("", "", {}),
        ("Text/Plain", "text/plain", {}),
        ("a/b;c=d", "a/b", {"c": "d"}),
        ('a/b ; C="d;e=\\"f"; g=h', "a/b", {"c": 'd;e="f', "g": "h"}),
        ('a/b; c=""', "a/b", {"c": ""}),
        ("a/b; c", "a/b", {}),
        ("; c=d", "", {"c": "d"}),
    ],
)
def test_content_types(value: str, media_type: str, parameters: dict[str, str]) -> None:
    assert content_type(call(Content_Type=value)) == (media_type, parameters)


def test_a_file_is_no_text_and_a_text_no_file() -> None:
    assert form_value(FormBody(Parcel), {"note": "x"}) == Parcel(note="x")
    for values, wanted in (
        ({"note": Part(b"x", None)}, "a text field"),
        ({"file": "x"}, "a file"),
        ({"small": "x"}, "a file"),
    ):
        with pytest.raises(HttpError, match=f"Expected {wanted}"):
            form_value(FormBody(Parcel), values)
