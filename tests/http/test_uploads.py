import errno
import hashlib
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.http.errors import HttpError
from appliance.http.uploads import BLOCK, HIGH_WATER, FileSink, Upload, sweep
from tests.support.site import NoThreads


class CountingFlow:
    def __init__(self) -> None:
        self.held = 0
        self.pauses = 0

    def pause(self) -> None:
        self.held += 1
        self.pauses += 1

    def resume(self) -> None:
        self.held -= 1


class SinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.threads = NoThreads()
        self.flow = CountingFlow()
        self.open = len(os.listdir("/proc/self/fd"))

    def tearDown(self) -> None:
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.open)

    def sink(self, expected: int | None = None, limit: int = 1 << 30) -> FileSink:
        threads: Any = self.threads
        return FileSink(threads, self.flow, self.folder, "name", expected, limit)

    def finish(self, sink: FileSink) -> Upload:
        return self.successResultOf(ensureDeferred(sink.finish()))

    def abort(self, sink: FileSink) -> None:
        done = ensureDeferred(sink.abort())
        while self.threads.held:
            self.threads.release()
        self.successResultOf(done)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_content_size_and_hash(self) -> None:
        content = os.urandom(3 * BLOCK + 17)
        sink = self.sink(len(content))
        for i in range(0, len(content), 100_000):
            sink.write(content[i : i + 100_000])
        upload = self.finish(sink)
        self.assertEqual(
            (upload.size, upload.sha256, upload.filename), (len(content), hashlib.sha256(content).hexdigest(), "name")
        )
        self.assertTrue(upload.path.read_bytes() == content)
        self.assertEqual(upload.path.stat().st_mode & 0o777, 0o600)

    def test_no_content(self) -> None:
        upload = self.finish(self.sink())
        self.assertEqual((upload.size, upload.sha256), (0, hashlib.sha256(b"").hexdigest()))

    def test_small_pieces_are_written_in_blocks(self) -> None:
        sink = self.sink()
        for _ in range(2 * BLOCK // 1024):
            sink.write(b"x" * 1024)
        self.assertEqual(self.threads.calls, 2)
        self.assertEqual(self.finish(sink).size, 2 * BLOCK)

    def test_a_slow_disk_pauses_the_sender_once(self) -> None:
        self.threads.held = []
        sink = self.sink()
        written = 0
        while not self.flow.held:
            sink.write(b"x" * 16384)
            written += 16384
        self.assertLessEqual(written, BLOCK + HIGH_WATER)
        sink.write(b"x" * 16384)
        self.assertEqual(self.flow.pauses, 1)
        self.threads.release()
        self.assertEqual(self.flow.held, 0)
        done = ensureDeferred(sink.finish())
        while self.threads.held:
            self.threads.release()
        self.assertEqual(self.successResultOf(done).size, written + 16384)

    def test_finish_waits_for_the_disk(self) -> None:
        self.threads.held = []
        sink = self.sink()
        sink.write(b"x" * BLOCK)
        sink.write(b"y" * 10)
        done = ensureDeferred(sink.finish())
        self.threads.release()
        self.assertNoResult(done)
        self.threads.release()
        upload = self.successResultOf(done)
        self.assertEqual(upload.path.read_bytes()[-12:], b"xx" + b"y" * 10)

    def test_abort_while_a_write_runs(self) -> None:
        self.threads.held = []
        sink = self.sink()
        sink.write(b"x" * BLOCK)
        sink.write(b"y" * BLOCK)
        done = ensureDeferred(sink.abort())
        self.assertNoResult(done)
        while self.threads.held:
            self.threads.release()
        self.successResultOf(done)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_abort_after_a_cancelled_finish(self) -> None:
        self.threads.held = []
        sink = self.sink()
        sink.write(b"x" * BLOCK)
        finishing = ensureDeferred(sink.finish())
        finishing.cancel()
        self.failureResultOf(finishing)
        done = ensureDeferred(sink.abort())
        while self.threads.held:
            self.threads.release()
        self.successResultOf(done)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_abort_before_anything_was_written(self) -> None:
        self.abort(self.sink())

    def test_the_limit(self) -> None:
        sink = self.sink(limit=10)
        sink.write(b"x" * 10)
        with self.assertRaises(HttpError) as caught:
            sink.write(b"x")
        self.assertEqual(caught.exception.status, 413)
        self.abort(sink)

    def test_a_full_disk_is_noticed_at_the_next_write_or_at_the_end(self) -> None:
        for number in (errno.ENOSPC, errno.EDQUOT):
            self.patch(os, "write", self._failing(number))
            sink = self.sink()
            sink.write(b"x" * BLOCK)
            with self.assertRaises(HttpError) as caught:
                sink.write(b"x")
            self.assertEqual(caught.exception.status, 507)
            self.abort(sink)
            sink = self.sink()
            sink.write(b"x")
            error = self.failureResultOf(ensureDeferred(sink.finish()), HttpError).value
            assert isinstance(error, HttpError)
            self.assertEqual(error.status, 507)
            self.abort(sink)

    def test_a_full_disk_lets_a_paused_sender_go_on_into_its_refusal(self) -> None:
        self.threads.held = []
        sink = self.sink()
        while not self.flow.held:
            sink.write(b"x" * BLOCK)
        self.patch(os, "write", self._failing(errno.ENOSPC))
        self.threads.release()
        self.assertEqual(self.flow.held, 0)
        with self.assertRaises(HttpError):
            sink.write(b"x")
        self.abort(sink)

    def test_another_failure_is_ours(self) -> None:
        self.patch(os, "write", self._failing(errno.EIO))
        sink = self.sink()
        sink.write(b"x" * BLOCK)
        with self.assertRaises(HttpError) as caught:
            sink.write(b"x")
        self.assertEqual(caught.exception.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.abort(sink)

    def test_short_writes_are_continued(self) -> None:
        write = os.write
        self.patch(os, "write", lambda file, data: write(file, data[:1000]))
        content = os.urandom(BLOCK + 5)
        sink = self.sink()
        sink.write(content)
        self.assertTrue(self.finish(sink).path.read_bytes() == content)

    def test_no_room_for_what_is_announced(self) -> None:
        with self.assertRaises(HttpError) as caught:
            self.sink(expected=1 << 60)
        self.assertEqual(caught.exception.status, 507)
        self.assertEqual(list(self.folder.iterdir()), [])

    def _failing(self, number: int) -> Any:
        def write(file: int, data: bytes) -> int:
            raise OSError(number, os.strerror(number))

        return write


class UploadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def upload(self) -> Upload:
        path = self.folder / ".upload-1"
        path.write_bytes(b"x")
        return Upload(path, 1, "", None)

    def test_taken(self) -> None:
        (self.folder / "there").write_bytes(b"old")
        upload = self.upload()
        upload.take(self.folder / "there")
        upload.discard()
        self.assertEqual([path.name for path in self.folder.iterdir()], ["there"])
        self.assertEqual((self.folder / "there").read_bytes(), b"x")

    def test_discarded_twice(self) -> None:
        upload = self.upload()
        upload.discard()
        upload.discard()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_one_that_could_not_be_taken_is_discarded(self) -> None:
        upload = self.upload()
        with self.assertRaises(OSError):
            upload.take(self.folder / "none" / "x")
        upload.discard()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_the_sweep_leaves_everything_else(self) -> None:
        self.upload()
        (self.folder / "backup.tar").write_bytes(b"x")
        sweep(self.folder)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["backup.tar"])
        sweep(self.folder / "none")
