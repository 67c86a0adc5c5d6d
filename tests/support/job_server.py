"""
A server with one kind of job that kills itself with SIGKILL at a named moment.

Run as a program: `job_server.py FOLDER MOMENT`. Starts `FOLDER/program` as a job in `FOLDER/jobs`; each end
that it is told of becomes a line of `FOLDER/ends`. Prints `begun` before that. Exits with 0 only when MOMENT
never came.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from appliance import files
from appliance.process import records
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner

MOMENTS = (
    "before job.json",
    "after job.json",
    "reserved",
    "before command.json",
    "after command.json",
    "prepared",
    "spawned",
    "launched",
    "telling",
    "told",
    "acknowledged",
)


def note_end(folder: Path) -> Callable[[Job], Any]:
    """An `on_end` that appends what it is told to `FOLDER/ends`."""

    async def on_end(job: Job) -> None:
        result = job.result
        assert result is not None
        words = [job.id, result.code, result.signal, result.interrupted, result.abandoned]
        with open(folder / "ends", "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    return on_end


def main(folder: Path, moment: str) -> None:
    from twisted.internet import reactor as global_reactor

    reactor: Any = global_reactor

    def die_at(here: str) -> None:
        if here == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    note = note_end(folder)

    async def on_end(job: Job) -> None:
        die_at("telling")
        await note(job)
        die_at("told")

    write_atomic = files.write_atomic

    def dying_write(path: Any, data: bytes, **options: Any) -> None:
        die_at(f"before {path.name}")
        write_atomic(path, data, **options)
        die_at(f"after {path.name}")
        if path.name == "ended.json":
            die_at("acknowledged")

    vars(records)["write_atomic"] = dying_write
    prepare = records.JobFolder.prepare

    def dying_prepare(self: records.JobFolder, command: dict[str, Any]) -> int:
        lock = prepare(self, command)
        die_at("prepared")
        return lock

    records.JobFolder.prepare = dying_prepare  # type: ignore[method-assign]

    class DyingRunner(ProcessRunner):
        def start(self, *arguments: Any, **options: Any) -> Any:
            child = super().start(*arguments, **options)
            die_at("spawned")
            return child

    async def serve() -> None:
        os.write(1, b"begun\n")
        jobs = Jobs(reactor, folder / "jobs", DyingRunner(reactor))
        jobs.register("work", on_end)
        await jobs.adopt()
        job = await jobs.reserve("work", owner="test")
        die_at("reserved")
        await job.launch([str(folder / "program")])
        die_at("launched")
        await job.wait()

    def done(result: Any) -> None:
        if result is not None:
            result.printTraceback(sys.stderr)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(serve()).addBoth(done))
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
