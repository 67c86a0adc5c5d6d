import base64
import json
from pathlib import Path

from twisted.internet.defer import Deferred

from appliance.background import Background
from appliance.host.containers.docker import pulls as pulls_module
from appliance.host.containers.docker.names import parse_reference
from appliance.host.containers.docker.pulls import DockerPulls, Pulled, parse_credentials
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.errors import Conflict, Invalid, Unavailable, Unknown
from appliance.host.job_status import JobStatus, JobStatuses
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.secret import Secret
from appliance.threads import Threads
from tests.support.fake_engine import Connection, EngineTestCase, answer, chunked, reactor

CREATE = "POST /images/create"


def line(status: str, id: str = "", current: int = 0, total: int = 0) -> bytes:
    detail = {"current": current, "total": total} if total else {}
    return json.dumps({"status": status, "id": id, "progressDetail": detail}).encode() + b"\r\n"


class PullTests(EngineTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.background = Background()
        await self.open()

    async def open(self) -> None:
        """Jobs as of a server that starts now."""
        threads = Threads(reactor)
        self.jobs = Jobs(reactor, self.folder, ProcessRunner(reactor))
        self.statuses = JobStatuses(self.jobs, self.folder, threads)
        self.pulls = DockerPulls(reactor, self.client, threads, self.jobs, self.statuses, self.background)
        await self.jobs.adopt()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.background.stop()
        await self.jobs.close()

    def begin(self, image: str = "a:1", *, wait: bool = True, credentials: Secret | None = None) -> Deferred[Pulled]:
        reference = parse_reference("image", image)
        pull = self.pulls.pull(reference, credentials=credentials, owner="someone", wait=wait)
        return Deferred.fromCoroutine(pull)

    async def ended(self, id: str) -> JobStatus:
        while (status := await self.statuses.look_up(id)).status == "running":
            pass
        return status

    async def reached(self, percentage: int) -> None:
        """Return when the only pull has come so far."""
        job = self.jobs.running("pull_1")
        assert job is not None
        await self.until(lambda: job.percentage == percentage)

    def hold(self) -> None:
        """Let the engine begin an answer and say no more."""
        self.engine.said[CREATE] = lambda connection: connection.write(chunked(line("Pulling", "1"), whole=False))

    async def test_progress(self) -> None:
        self.hold()
        begun = await self.begin(wait=False)
        self.assertEqual((begun.job.status, begun.job.object), ("running", "a:1"))
        await self.heard("POST /v1.41/images/create?fromImage=a&tag=1")
        connection = self.engine.connections[-1]
        for piece, percentage in (
            (line("Pulling fs layer", "x") + line("Pulling fs layer", "y"), 0),
            (line("Downloading", "x", 50, 100), 17),
            (line("Download complete", "x") + line("Already exists", "y"), 84),
            (line("Extracting", "x", 50, 100), 91),
            (line("Downloading", "x", 1, 100), 91),
            (line("Pull complete", "x"), 99),
        ):
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self.reached(percentage)
        connection.write(b"0\r\n\r\n")
        status = await self.ended(begun.job.id)
        self.assertEqual((status.status, status.percentage, status.message), ("success", 100, "Pulled a:1"))

    async def test_what_is_asked_of_the_engine(self) -> None:
        self.engine.said[CREATE] = chunked(line("Status: Downloaded"))
        credentials = parse_credentials(base64.urlsafe_b64encode(b'{"username":"u"}').decode())
        pulled = await self.begin("registry:5000/a/b", credentials=credentials)
        self.assertEqual((pulled.success, pulled.image), (True, "registry:5000/a/b:latest"))
        self.assertEqual(
            self.engine.heard[-1], "POST /v1.41/images/create?fromImage=registry%3A5000%2Fa%2Fb&tag=latest"
        )
        self.assertIn(b"\r\nX-Registry-Auth: eyJ1c2VybmFtZSI6InUifQ==", self.engine.heads[-1])

    async def test_errors_in_the_stream(self) -> None:
        for message, kind in (
            ("manifest unknown: manifest unknown", Unknown),
            ("unauthorized: authentication required", Invalid),
            ("dial tcp: connection refused", EngineError),
        ):
            for said in ({"errorDetail": {"message": message}, "error": message}, {"error": message}):
                self.engine.said[CREATE] = chunked(line("Pulling", "1"), json.dumps(said).encode())
                error = await self.failure(self.begin())
                self.assertIs(type(error), kind)
                self.assertIn(message, str(error))

    async def test_errors_before_the_stream(self) -> None:
        self.engine.said[CREATE] = answer(b'{"message":"manifest for a:1 not found"}', 404)
        self.assertIsInstance(await self.failure(self.begin()), Unknown)
        begun = await self.begin(wait=False)
        status = await self.ended(begun.job.id)
        self.assertEqual(status.status, "failure")
        self.assertEqual(status.message, "a:1 could not be pulled: manifest for a:1 not found")

    async def test_what_is_no_progress_at_all(self) -> None:
        for said in (chunked(b"<html>\n"), chunked(b"x" * 70_000), chunked(line("Pulling"), whole=False)):

            def hang_up(connection: Connection, said: bytes = said) -> None:
                connection.write(said)
                connection.close()

            self.engine.said[CREATE] = hang_up
            self.assertIs(type(await self.failure(self.begin())), EngineError)

    async def test_a_registry_that_sends_nothing(self) -> None:
        self.patch(pulls_module, "STALL_SECONDS", 0.05)
        self.hold()
        self.assertIn("Nothing was heard", str(await self.failure(self.begin())))
        self.engine.said[CREATE] = lambda connection: None
        self.assertIn("did not answer", str(await self.failure(self.begin())))
        await self.until(lambda: all(each.closed for each in self.engine.connections[1:]))

    async def test_no_engine_no_record(self) -> None:
        await self.engine.stop()
        self.assertIsInstance(await self.failure(self.begin()), EngineAbsent)
        self.assertEqual(list(self.folder.glob("pull*/*")), [])
        self.engine.listen()
        self.engine.said[CREATE] = chunked()
        self.assertTrue((await self.begin()).success)

    async def test_several_at_once_but_each_once(self) -> None:
        self.hold()
        begun = [await self.begin(f"a:{number}", wait=False) for number in range(3)]
        self.assertEqual(len({each.job.id for each in begun}), 3)
        for image in ("a:0", "a:3"):
            self.assertIsInstance(await self.failure(self.begin(image)), Conflict)
        await self.until(lambda: sum(each.startswith("POST") for each in self.engine.heard) == 3)
        self.engine.connections[-1].write(b"0\r\n\r\n")
        await self.until(lambda: any(self.jobs.running(f"pull_{place}") is None for place in (1, 2, 3)))
        self.engine.said[CREATE] = chunked()
        self.assertTrue((await self.begin("a:3")).success)

    async def test_who_waits_may_go_and_the_pull_goes_on(self) -> None:
        self.hold()
        pulling = self.begin()
        await self.heard("POST /v1.41/images/create?fromImage=a&tag=1")
        pulling.cancel()
        await self.failure(pulling)
        self.engine.connections[-1].write(b"0\r\n\r\n")
        self.assertEqual((await self.ended("pull_1-00000001")).status, "success")

    async def test_a_server_that_stops(self) -> None:
        self.hold()
        pulling = self.begin()
        await self.heard("POST /v1.41/images/create?fromImage=a&tag=1")
        await self.background.stop()
        self.assertIsInstance(await self.failure(pulling), Unavailable)
        await self.until(lambda: self.engine.connections[-1].closed)
        await self.jobs.close()
        self.background = Background()
        await self.open()
        status = await self.statuses.look_up("pull_1-00000001")
        self.assertEqual((status.status, status.message), ("interrupted", "Pulling a:1 was interrupted"))
        self.engine.said[CREATE] = chunked()
        self.assertTrue((await self.begin()).success)


class CredentialTests(EngineTestCase):
    def test_forms(self) -> None:
        self.assertIsNone(parse_credentials(None))
        self.assertIsNone(parse_credentials(""))
        said = b'{"username":"u??>>","password":"\xc3\xbc"}'
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for padding in ("", "="):
                given = encode(said).decode().rstrip("=") + (
                    "=" * (-len(encode(said).rstrip(b"=")) % 4) if padding else ""
                )
                found = parse_credentials(given)
                assert found is not None
                self.assertEqual(base64.urlsafe_b64decode(found.reveal()), said)
                self.assertEqual(repr(found), "***")

    def test_what_is_none(self) -> None:
        deep = base64.b64encode(b'{"a":' * 2000 + b"1" + b"}" * 2000).decode()
        for given in ("x", "!!!!", "aGVsbG8=", base64.b64encode(b"[1]").decode(), "A" * 8196, deep, "ü"):
            error = self.assertRaises(Invalid, parse_credentials, given)
            self.assertNotIn(given, str(error))
