"""The status of jobs by their id, while they run, when they have ended, and after the server was killed."""

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from appliance.host.errors import Unknown
from appliance.host.job_status import About, JobStatus, JobStatuses
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from appliance.threads import Threads
from tests.support.jobs import JobsTestCase


def describe(about: About, result: JobResult, log: Path) -> str:
    return f"{about.object} {about.what} {result.code} {result.reason} {log.name}"


class JobStatusTests(JobsTestCase):
    async def opened(self) -> tuple[Jobs, JobStatuses]:
        """Jobs of one kind, whose ends are recorded as a server does it."""
        jobs = Jobs(reactor, self.folder / "jobs", self.runner)  # type: ignore[arg-type]
        statuses = JobStatuses(jobs, self.folder / "jobs", Threads(reactor))
        jobs.register("work", statuses.end)
        statuses.show("work", describe)
        self.open.append(jobs)
        await jobs.adopt()
        return jobs, statuses

    async def begun(self, jobs: Jobs, statuses: JobStatuses) -> Job:
        job = await jobs.reserve("work", owner="someone")
        await statuses.begin(job, About("/dev/thing", "dusted"))
        await job.launch([str(self.program)])
        return job

    async def refused(self, statuses: JobStatuses, id: str) -> None:
        await self.assertFailure(Deferred.fromCoroutine(statuses.look_up(id)), Unknown)

    def short(self, status: JobStatus) -> tuple[str, str, int | None, str, str]:
        return (status.id, status.status, status.percentage, status.object, status.message)

    async def test_while_it_runs_and_when_it_has_ended(self) -> None:
        jobs, statuses = await self.opened()
        job = await self.begun(jobs, statuses)
        id = "work-00000001"
        self.assertEqual(self.short(await statuses.look_up(id)), (id, "running", None, "/dev/thing", ""))
        job.report(40)
        self.assertEqual((await statuses.of(job)).percentage, 40)
        self.let_go(0)
        await job.wait()
        ended = (id, "success", 100, "/dev/thing", "/dev/thing dusted 0  output.log")
        self.assertEqual(self.short(await statuses.look_up(id)), ended)
        await jobs.close()
        _, again = await self.opened()
        self.assertEqual(self.short(await again.look_up(id)), ended)
        self.assertEqual((await again.look_up(id)).created_at, (await statuses.look_up(id)).created_at)

    async def test_a_failure(self) -> None:
        jobs, statuses = await self.opened()
        job = await self.begun(jobs, statuses)
        self.let_go(3)
        await job.wait()
        status = await statuses.of(job)
        self.assertEqual((status.status, status.percentage), ("failure", None))
        self.assertIn("dusted 3", status.message)

    async def test_given_up_before_it_began(self) -> None:
        jobs, statuses = await self.opened()
        job = await jobs.reserve("work", owner="")
        await job.abandon("no reason")
        status = await statuses.of(job)
        self.assertEqual((status.status, status.object), ("failure", ""))
        self.assertIn("no reason", status.message)

    async def test_reserved_when_the_server_died(self) -> None:
        jobs, statuses = await self.opened()
        job = await jobs.reserve("work", owner="")
        await statuses.begin(job, About("/dev/thing", "dusted"))
        await jobs.close()
        _, again = await self.opened()
        status = await again.look_up("work-00000001")
        self.assertEqual((status.status, status.object), ("interrupted", "/dev/thing"))

    async def test_one_that_runs_on_over_a_restart(self) -> None:
        jobs, statuses = await self.opened()
        await self.begun(jobs, statuses)
        await self.program_pid()
        await jobs.close()
        jobs, statuses = await self.opened()
        self.assertEqual((await statuses.look_up("work-00000001")).status, "running")
        job = jobs.running("work")
        assert job is not None
        self.assertEqual(await statuses.about(job), About("/dev/thing", "dusted"))
        self.let_go(0)
        await job.wait()
        self.assertEqual((await statuses.look_up("work-00000001")).status, "success")

    async def test_what_is_no_job(self) -> None:
        jobs, statuses = await self.opened()
        jobs.register("other", statuses.end)  # a kind that is not shown
        job = await jobs.reserve("work", owner="")
        wrong = [
            "",
            "work",
            "work-",
            "work-1",
            "work-00000002",
            "other-00000001",
            "work-../00000001",
            "../work-00000001",
        ]
        for id in [*wrong, "work/00000001", "work-0000000१", "work-00000001\n", "WORK-00000001", "x" * 5000]:
            await self.refused(statuses, id)
        await job.abandon("")

    async def test_records_that_cannot_be_read(self) -> None:
        jobs, statuses = await self.opened()
        job = await self.begun(jobs, statuses)
        folder = job.records.path
        (folder / "about.json").write_text("{")
        self.let_go(0)
        await job.wait()
        self.assertEqual((await statuses.of(job)).object, "")
        (folder / "job.json").write_text("[]")
        await self.refused(statuses, "work-00000001")
