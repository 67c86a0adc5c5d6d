import os
from pathlib import Path
from typing import Any

from appliance.http.call import Call
from appliance.http.downloads import BLOCK, open_file
from appliance.http.endpoints import Routes
from appliance.http.errors import HttpError
from appliance.http.replies import FileReply
from appliance.identity.caller import administrator
from tests.support.site import SiteTestCase, head

SIZE = 3 * BLOCK + 1000


class Files:
    routes = Routes(tag="Files")

    def __init__(self, path: Path) -> None:
        self.path = path

    @routes.get("/file", who=administrator)
    async def download(self, call: Call) -> FileReply:
        return FileReply(self.path, "application/octet-stream", {"Filename": "file"})

    @routes.post("/file", who=administrator)
    async def change(self, call: Call) -> FileReply:
        return FileReply(self.path, "application/octet-stream")

    @routes.head("/file", who=administrator)
    async def look(self, call: Call) -> FileReply:
        return FileReply(self.path, "application/octet-stream")

    @routes.get("/now", who=administrator)
    async def now(self, call: Call) -> str:
        return "now"


class DownloadTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.content = os.urandom(1000) * (SIZE // 1000 + 1)
        self.content = self.content[:SIZE]
        self.path = Path(self.mktemp())
        self.path.write_bytes(self.content)
        self.serve(Files(self.path))
        self.open = len(os.listdir("/proc/self/fd"))

    def tearDown(self) -> None:
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.open)

    def test_a_whole_file(self) -> None:
        client = self.connect()
        client.send(head("GET", "/file"), head("GET", "/now"))
        response = client.response()
        self.assertEqual((response.status, response.headers["filename"]), (200, "file"))
        self.assertTrue(response.body == self.content)
        self.assertEqual(client.response().json, "now")
        self.assertEqual([line["bytes"] for line in self.access_lines()], [SIZE, 5])

    def test_an_empty_file(self) -> None:
        self.path.write_bytes(b"")
        client = self.connect()
        client.send(head("GET", "/file"))
        self.assertEqual(client.response().body, b"")

    def test_head_has_the_length_and_no_body(self) -> None:
        client = self.connect()
        client.send(head("HEAD", "/file"), head("GET", "/now"))
        self.assertEqual(client.response("HEAD").headers["content-length"], str(SIZE))
        self.assertEqual(client.response().json, "now")

    def test_no_file(self) -> None:
        self.path.unlink()
        client = self.connect()
        client.send(head("GET", "/file"), head("GET", "/now"))
        self.assertEqual([client.response().status for _ in range(2)], [404, 200])

    def test_a_slow_reader_pauses_the_disk(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()  # opened
        client.channel.pauseProducing()
        self.threads.release()  # the block that was asked for already
        before = len(client.unread)
        self.assertEqual(self.threads.held, [])
        client.channel.resumeProducing()
        self.assertEqual(len(self.threads.held), 1)
        for _ in range(10):
            self.threads.release()
        self.assertLess(before, BLOCK + 1000)
        self.assertTrue(client.response().body == self.content)

    def test_pausing_twice_is_resumed_once(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()
        for _ in range(3):
            client.channel.pauseProducing()
            self.threads.release()
            client.channel.resumeProducing()
            client.channel.resumeProducing()
        for _ in range(10):
            self.threads.release()
        self.assertTrue(client.response().body == self.content)

    def test_a_second_download_in_the_pipeline_waits_for_the_client_too(self) -> None:
        """The transport says only once that it is full; who begins afterwards has to know."""
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file") + head("GET", "/file"))
        self.threads.release()
        for _ in range(3):
            self.threads.release()
        client.channel.pauseProducing()
        for _ in range(10):
            self.threads.release()
        self.assertLess(len(client.unread), SIZE + 2000)
        client.channel.resumeProducing()
        for _ in range(10):
            self.threads.release()
        self.assertTrue(client.response().body == self.content)
        self.assertTrue(client.response().body == self.content)

    def test_a_file_that_shrinks_cuts_the_connection(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file") + head("GET", "/now"))
        self.threads.release()
        os.truncate(self.path, BLOCK)
        for _ in range(5):
            self.threads.release()
        self.assertTrue(client.transport.aborted)
        self.assertLess(len(client.unread), SIZE)
        self.assertNotIn(b"now", client.unread)
        client.leave()

    def test_a_file_that_grows_ends_where_it_was(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()
        with self.path.open("ab") as file:
            file.write(b"more")
        for _ in range(6):
            self.threads.release()
        self.assertTrue(client.response().body == self.content)
        self.assertEqual(client.unread, b"")

    def test_a_read_error_cuts_the_connection(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()
        waiting, _ = self.threads.held[0]
        self.threads.held[0] = (waiting, self._fail)
        self.threads.release()
        self.threads.release()
        self.assertTrue(client.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        client.leave()

    def _fail(self) -> Any:
        raise OSError(5, "Input/output error")

    def test_a_client_that_goes_while_a_block_is_read(self) -> None:
        for method in ("GET", "POST"):
            client = self.connect()
            self.threads.held = []
            client.send(head(method, "/file"))
            self.threads.release()
            client.leave()
            for _ in range(3):
                self.threads.release()
            self.assertEqual(self.threads.held, [])
            self.threads.held = None

    def test_a_client_that_goes_while_it_is_paused(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()
        client.channel.pauseProducing()
        self.threads.release()
        client.leave()
        self.threads.release()
        self.assertEqual(self.threads.held, [])
        self.threads.held = None

    def test_a_client_that_goes_while_the_file_is_opened(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        client.leave()
        self.threads.release()
        self.assertEqual(self.threads.held, [])
        self.threads.held = None
        self.flushWarnings()  # the file that nobody took closes itself, with a ResourceWarning

    def test_draining_in_the_middle(self) -> None:
        client = self.connect()
        self.threads.held = []
        client.send(head("GET", "/file"))
        self.threads.release()
        client.channel.drain()
        for _ in range(6):
            self.threads.release()
        self.assertTrue(client.response().body == self.content)
        self.assertTrue(client.is_closed)
        self.threads.held = None
        client.leave()


class OpenTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = Path(self.mktemp())
        self.place.mkdir()

    def test_only_regular_files(self) -> None:
        (self.place / "file").write_bytes(b"x")
        (self.place / "link").symlink_to("file")
        os.mkfifo(self.place / "pipe")
        with open_file(self.place / "file") as file:
            self.assertEqual(file.read(), b"x")
            self.assertFalse(os.get_inheritable(file.fileno()))
        for name in ("link", "pipe", "none", "file/x", "."):
            with self.assertRaises(HttpError) as caught:
                open_file(self.place / name)
            self.assertEqual(caught.exception.status, 404)
