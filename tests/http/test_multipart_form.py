from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from appliance.http.bodies import Authorise
from appliance.http.call import Call
from appliance.http.endpoints import FormBody
from appliance.http.errors import HttpError, forbidden
from appliance.http.multipart_form import CREDENTIALS_WITHIN, MAX_PARTS, PART_LIMIT, TEXT_LIMIT, MultipartForm
from tests.support.site import END, NoThreads, Parcel, part


class NoFlow:
    def pause(self) -> None:
        raise AssertionError("nothing here is large")

    def resume(self) -> None:
        raise AssertionError("nothing here is large")


def call(content_type: str = "multipart/form-data; boundary=b", length: int | None = None) -> Call:
    found = Call("1", "POST", b"/x", "/x", b"", Headers({b"Content-Type": [content_type.encode("latin-1")]}))
    found.length = length
    return found


class FormTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.threads = NoThreads()

    def form(self, authorise: Authorise | None = None, limit: int = 1 << 24, of: Call | None = None) -> MultipartForm:
        threads: Any = self.threads
        return MultipartForm(FormBody(Parcel), of or call(), authorise, threads, NoFlow(), self.folder, limit)

    def finish(self, form: MultipartForm) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(form.finish()))

    def discard(self, form: MultipartForm) -> None:
        self.successResultOf(Deferred.fromCoroutine(form.discard()))

    def parse(self, *pieces: bytes) -> Any:
        form = self.form()
        for piece in pieces:
            self.assertIsNone(form.feed(piece))
        return self.finish(form)

    def refused(self, *pieces: bytes, form: MultipartForm | None = None) -> HttpError:
        """The refusal, which leaves no file once the form is discarded."""
        form = form or self.form()
        try:
            for piece in pieces:
                form.feed(piece)
            error = self.failureResultOf(Deferred.fromCoroutine(form.finish()), HttpError).value
        except HttpError as raised:
            error = raised
        self.discard(form)
        self.assertEqual(list(self.folder.iterdir()), [])
        assert isinstance(error, HttpError)
        return error


class ContentTests(FormTests):
    def test_each_kind_of_part(self) -> None:
        found = self.parse(
            part('name="note"', "grün".encode())
            + part('name="small"; filename="s.json"', b"{}")
            + part('name="file"; filename="../../etc/passwd"', b"abc")
            + END
        )
        self.assertEqual(found.note, "grün")
        self.assertEqual((found.small.content, found.small.filename), (b"{}", "s.json"))
        self.assertEqual((found.file.size, found.file.filename), (3, "../../etc/passwd"))
        self.assertEqual(found.file.path.parent, self.folder)
        self.assertEqual(found.file.path.read_bytes(), b"abc")
        self.assertEqual(found.file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")

    def test_small_parts_need_no_file_name(self) -> None:
        self.assertEqual(self.parse(part('name="small"', b"x") + END).small.filename, None)

    def test_unknown_texts_are_read_over(self) -> None:
        found = self.parse(part('name="other"', b"x") + part('name="note"', b"y") + END)
        self.assertEqual(found, Parcel(note="y"))

    def test_an_empty_form(self) -> None:
        self.assertEqual(self.parse(END), Parcel())

    def test_an_empty_file(self) -> None:
        self.assertEqual(self.parse(part('name="file"; filename="x"', b"") + END).file.size, 0)

    def test_two_parts_may_carry_the_same_file_name(self) -> None:
        found = self.parse(part('name="file"; filename="x"', b"1") + part('name="small"; filename="x"', b"2") + END)
        self.assertEqual((found.file.size, found.small.content), (1, b"2"))

    def test_discard_deletes_what_nobody_took(self) -> None:
        form = self.form()
        form.feed(part('name="file"; filename="x"', b"1") + END)
        found = self.finish(form)
        found.file.take(self.folder / "taken")
        self.discard(form)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["taken"])
        self.assertEqual((self.folder / "taken").stat().st_mode & 0o777, 0o600)
        (self.folder / "taken").unlink()
        form = self.form()
        form.feed(part('name="file"; filename="x"', b"1") + END)
        self.finish(form)
        self.discard(form)
        self.discard(form)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_boundary_of_odd_characters(self) -> None:
        form = self.form(of=call('multipart/form-data; boundary="a\\"b c"'))
        form.feed((part('name="note"', b"x") + END).replace(b"--b", b'--a"b c'))
        self.assertEqual(self.finish(form), Parcel(note="x"))


class RefusalTests(FormTests):
    def test_boundaries(self) -> None:
        for content_type in (
            "multipart/form-data",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary=""',
            "multipart/form-data; boundary=" + "x" * 201,
        ):
            with self.assertRaises(HttpError) as caught:
                self.form(of=call(content_type))
            self.assertEqual(caught.exception.status, 400)

    def test_what_is_malformed(self) -> None:
        for body in (
            b"x",
            b"no boundary at all",
            b"--b\r\n",
            part('name="note"', b"x"),
            part('name="note"', b"x") + b"--b",
            b"--b\n" + END,
            b"--b\r\nContent-Disposition: form-data\r\n\r\n" + END,
            b"--b\r\n\r\nx\r\n" + END,
            part('name="note"', b"x").replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n") + END,
            part('name="note"', b"x").replace(b": form", b" form") + END,
            part('name="note"', b"x").replace(b"form-data", b"form-datum") + END,
        ):
            self.assertEqual(self.refused(body).status, 400, body)
            self.assertEqual(self.refused(*[body[i : i + 1] for i in range(len(body))]).status, 400, body)

    def test_parts(self) -> None:
        for body, message in (
            (part('name="note"', b"x") * 2, "Duplicate field: note"),
            (part('name="file"; filename="x"', b"1") * 2, "Duplicate field: file"),
            (part('name="x"', b"") * 2, "Duplicate field: x"),
            (part('name="other"; filename="x"', b"1"), "Unexpected file: other"),
            (part('name="file"', b"1"), "Invalid field: file. Expected a file"),
            (part('name=""', b"1"), "Malformed multipart body: a part without a usable name"),
            (part('name="no\0te"', b"1"), "Malformed multipart body: a part without a usable name"),
            (part('name="file"; filename="x\0"', b"1"), "Malformed multipart body: a part without a usable name"),
            (part('name="note"', b"\xff"), "Invalid field: note. Expected UTF-8 text"),
            (part('name="note"', b"x" * (TEXT_LIMIT + 1)), f"Invalid field: note. Allowed: <= {TEXT_LIMIT} bytes"),
            (part('name="small"', b"x" * (PART_LIMIT + 1)), f"Invalid field: small. Allowed: <= {PART_LIMIT} bytes"),
        ):
            self.assertEqual(self.refused(body + END).message, message)

    def test_limits_themselves_are_allowed(self) -> None:
        found = self.parse(part('name="note"', b"x" * TEXT_LIMIT) + part('name="small"', b"x" * PART_LIMIT) + END)
        self.assertEqual((len(found.note), len(found.small.content)), (TEXT_LIMIT, PART_LIMIT))

    def test_too_many_parts(self) -> None:
        parts = [part(f'name="x{i}"', b"") for i in range(MAX_PARTS + 1)]
        self.assertEqual(self.parse(b"".join(parts[:-1]) + END), Parcel())
        self.assertEqual(self.refused(b"".join(parts) + END).status, 400)

    def test_the_whole_is_limited(self) -> None:
        with self.assertRaises(HttpError) as caught:
            self.form(limit=100, of=call(length=101))
        self.assertEqual(caught.exception.status, 413)
        body = part('name="file"; filename="x"', b"x" * 1000) + END
        form = self.form(limit=500)
        self.assertEqual(self.refused(body[:400], body[400:], form=form).status, 413)

    def test_no_room_on_the_disk(self) -> None:
        form = self.form(limit=1 << 62, of=call(length=1 << 60))
        self.assertEqual(self.refused(part('name="file"; filename="x"', b"x") + END, form=form).status, 507)


class CredentialTests(FormTests):
    """Where the credentials come in the form, nothing is stored before they do."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[dict[str, str]] = []
        self.waiting: Deferred[None] | None = None

    async def authorise(self, fields: Any) -> None:
        self.asked.append(dict(fields))
        if self.waiting is not None:
            await self.waiting
        if fields.get("token") != "good":
            raise forbidden("Authentication error")

    def test_before_the_file(self) -> None:
        form = self.form(self.authorise)
        form.feed(part('name="token"', b"good") + part('name="file"; filename="x"', b"1") + END)
        self.assertEqual(self.finish(form).file.size, 1)
        self.assertEqual(self.asked, [{"token": "good"}])
        self.discard(form)

    def test_without_a_file_they_may_stand_anywhere(self) -> None:
        form = self.form(self.authorise)
        form.feed(part('name="note"', b"x") + part('name="token"', b"good") + END)
        self.assertEqual(self.finish(form), Parcel(note="x"))

    def test_after_the_file_is_too_late(self) -> None:
        form = self.form(self.authorise)
        body = part('name="file"; filename="x"', b"1") + part('name="token"', b"good") + END
        self.assertEqual(self.refused(body, form=form).status, 403)

    def test_wrong_or_missing(self) -> None:
        for body in (
            part('name="token"', b"bad") + part('name="file"; filename="x"', b"1") + END,
            part('name="file"; filename="x"', b"1") + END,
            part('name="small"; filename="x"', b"1") + END,
            part('name="other"; filename="x"', b"1") + END,
            part('name="note"', b"x") + END,
            END,
            b"",
            part('name="note"', b"x"),
        ):
            self.assertEqual(self.refused(*filter(None, [body]), form=self.form(self.authorise)).status, 403, body)

    def test_not_beyond_64_kib(self) -> None:
        texts = [part(f'name="x{i}"', b"x" * 8000) for i in range(9)]
        self.assertGreater(sum(map(len, texts)), CREDENTIALS_WITHIN)
        form = self.form(self.authorise)
        self.assertEqual(self.refused(*texts, part('name="token"', b"good") + END, form=form).status, 403)
        form = self.form(self.authorise)
        for piece in (part('name="token"', b"good"), *texts, part('name="file"; filename="x"', b"1") + END):
            form.feed(piece)
        self.assertEqual(self.finish(form).file.size, 1)
        self.discard(form)

    def test_the_border_does_not_depend_on_the_pieces(self) -> None:
        token = part('name="token"', b"good")
        texts = b"".join(part(f'name="x{i}"', b"x" * 7500) for i in range(8))
        for beyond in (False, True):
            # The field has ended with the boundary and line end after it: `--b` CR LF.
            room = CREDENTIALS_WITHIN - len(texts) - len(token) - 5 + beyond
            filler = part('name="y"', b"y" * (room - len(part('name="y"', b""))))
            body = texts + filler + token + part('name="file"; filename="x"', b"1" * 100) + END
            for size in (len(body), CREDENTIALS_WITHIN, 1000, 1):
                form = self.form(self.authorise)
                pieces = [body[i : i + size] for i in range(0, len(body), size)]
                if beyond:
                    self.assertEqual(self.refused(*pieces, form=form).status, 403, size)
                    continue
                for piece in pieces:
                    form.feed(piece)
                self.assertEqual(self.finish(form).file.size, 100, size)
                self.discard(form)

    def test_nothing_else_is_refused_before_they_are(self) -> None:
        token, rest = part('name="token"', b"good"), part('name="note"', b"x" * (TEXT_LIMIT + 1)) + END
        for credentials, status in ((b"", 403), (part('name="token"', b"bad"), 403), (token, 400)):
            self.assertEqual(self.refused(credentials + rest, form=self.form(self.authorise)).status, status)
            malformed = credentials + b"--b\r\nbad\r\n\r\n"
            self.assertEqual(self.refused(malformed, form=self.form(self.authorise)).status, status)
        for credentials, status in ((b"", 403), (token, 413)):
            form = self.form(self.authorise, limit=100_000, of=call(length=100_001))
            body = credentials + part('name="file"; filename="x"', b"1") + END
            self.assertEqual(self.refused(body, form=form).status, status)

    def test_nothing_is_stored_while_they_are_judged(self) -> None:
        self.waiting = Deferred()
        form = self.form(self.authorise)
        held = form.feed(
            part('name="token"', b"good") + part('name="file"; filename="x"', b"12") + part('name="note"', b"z") + END
        )
        assert held is not None
        self.assertEqual(list(self.folder.iterdir()), [])
        self.waiting.callback(None)
        self.successResultOf(held)
        found = self.finish(form)
        self.assertEqual((found.file.size, found.note), (2, "z"))
        self.discard(form)

    def test_what_is_wrong_behind_them_is_told_after_the_wait(self) -> None:
        for rest in (
            part('name="other"; filename="x"', b"1"),
            part('name="file"; filename="x"', b"1") + b"--b\r\nbad\r\n\r\n",
        ):
            self.waiting = Deferred()
            form = self.form(self.authorise)
            held = form.feed(part('name="token"', b"good") + rest + END)
            assert held is not None
            self.waiting.callback(None)
            self.assertEqual(self.failureResultOf(held, HttpError).value.status, 400)
            self.discard(form)
            self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_verdict_after_the_form_was_discarded(self) -> None:
        self.waiting = Deferred()
        form = self.form(self.authorise)
        held = form.feed(part('name="token"', b"good") + part('name="file"; filename="x"', b"1") + END)
        assert held is not None
        self.discard(form)
        self.waiting.callback(None)
        self.successResultOf(held)
        self.assertEqual(list(self.folder.iterdir()), [])
