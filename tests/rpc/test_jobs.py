"""Calls that run as jobs, over real HTTPS and over a kill."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import alive, wait_for
from tests.support.rpc import RpcServer, rpc_server

ASYNC = "Prefer: respond-async"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("jobs")) as server:
        server.log_in("reader")
        yield server


def begin(server: RpcServer, method: str, payload: object = None, who: str = "root") -> dict[str, Any]:
    answer = server.call("ns.test", method, payload, "Prefer: wait=5, respond-async", who=who)
    assert answer.status == answer.json["code"] == 202, answer
    job: dict[str, Any] = answer.json["data"]
    assert answer.headers["location"] == f"/api/ubus/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    return job


def look(server: RpcServer, id: str, who: str = "root") -> dict[str, Any]:
    answer = server.api("GET", f"/ubus/jobs/{id}", token=server.tokens[who])
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json["data"]
    return found


def ended(server: RpcServer, id: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_for(lambda: (job := look(server, id))["status"] != "running" and job, "the job's end")
    return found


def test_a_job_tells_its_progress_and_keeps_the_answer(server: RpcServer) -> None:
    job = begin(server, "progress")
    assert (job["object"], job["method"], job["status"], job["answer"]) == ("ns.test", "progress", "running", None)
    wait_for(lambda: look(server, job["id"])["progress"] == 40, "the progress")
    found = ended(server, job["id"])
    assert (found["status"], found["progress"]) == ("success", 100)
    assert found["answer"] == {"code": 200, "data": {"done": True}, "message": "ubus call action success"}
    assert abs(found["ended_at"] - time.time()) < 60


def test_a_job_that_fails_keeps_how(server: RpcServer) -> None:
    found = ended(server, begin(server, "exit", {"code": 9})["id"])
    assert (found["status"], found["answer"]["data"]) == ("failed", "exit status 9")


def test_numbers_and_large_answers_come_through(server: RpcServer) -> None:
    job = begin(server, "text", {"text": '{"n":123456789012345678901234567890,"x":"' + "y" * 200_000 + '"}'})
    ended(server, job["id"])
    answer = server.api("GET", f"/ubus/jobs/{job['id']}", token=server.tokens["root"])
    assert b'"n":123456789012345678901234567890' in answer.body and len(answer.body) > 200_000


def test_a_built_in_object_is_a_job_as_well(server: RpcServer) -> None:
    answer = server.call("session", "list", {}, ASYNC)
    assert answer.status == 202
    assert ended(server, answer.json["data"]["id"])["answer"]["data"]["sessions"]


def test_acls_hold_for_jobs(server: RpcServer) -> None:
    assert server.call("ns.test", "hidden", {}, ASYNC, who="reader").status == 403


def test_a_job_is_its_owners(server: RpcServer) -> None:
    job = begin(server, "say", {}, who="root")
    own = begin(server, "say", {}, who="reader")
    for method in ("GET", "DELETE"):
        answer = server.api(method, f"/ubus/jobs/{job['id']}", token=server.tokens["reader"])
        assert (answer.status, answer.json["message"]) == (404, "job not found")
    assert look(server, own["id"], "reader")["id"] == own["id"]
    assert look(server, own["id"], "root")["id"] == own["id"]  # an administrator sees all


@pytest.mark.parametrize("id", ["0" * 24, "x", "..%2f..%2fappliance", "0" * 25])
def test_a_job_that_is_none(server: RpcServer, id: str) -> None:
    assert server.api("GET", f"/ubus/jobs/{id}", token=server.tokens["root"]).status == 404
    assert server.api("DELETE", f"/ubus/jobs/{id}", token=server.tokens["root"]).status == 404


def hanging(server: RpcServer) -> tuple[str, int]:
    """A job whose plugin does not end, and the pid of what that has started."""
    (server.folder / "hang.pid").unlink(missing_ok=True)
    id = begin(server, "hang")["id"]
    path = server.folder / "hang.pid"
    return id, int(wait_for(lambda: path.exists() and path.read_text(), "the plugin to start"))


def test_a_job_can_be_ended(server: RpcServer) -> None:
    id, pid = hanging(server)
    answer = server.api("DELETE", f"/ubus/jobs/{id}", token=server.tokens["root"])
    assert (answer.status, answer.json["data"]["status"]) == (200, "cancelled")
    wait_for(lambda: not alive(pid), "the plugin's end")
    assert server.api("DELETE", f"/ubus/jobs/{id}", token=server.tokens["root"]).json["data"]["status"] == "cancelled"


def test_a_user_has_so_many_jobs_and_no_more(server: RpcServer) -> None:
    jobs = [begin(server, "hang")["id"] for _ in range(20)]
    answer = server.call("ns.test", "hang", {}, ASYNC)
    assert answer.status == 429 and answer.headers["retry-after"]
    assert server.call("ns.test", "say", {}, ASYNC, who="reader").status == 202
    for id in jobs:
        assert server.api("DELETE", f"/ubus/jobs/{id}", token=server.tokens["root"]).status == 200


def test_what_a_kill_leaves_is_told_truthfully(server: RpcServer) -> None:
    done = begin(server, "say", {"kept": 1})["id"]
    ended(server, done)
    id, pid = hanging(server)
    server.server.kill()
    wait_for(lambda: not alive(pid), "the plugin's end, though nobody is there to tell it")
    server.server.start()
    assert look(server, id)["status"] == "interrupted"
    assert look(server, done)["answer"]["data"] == {"kept": 1}
    id, pid = hanging(server)
    server.server.stop()
    wait_for(lambda: not alive(pid), "the plugin's end")
    server.server.start()
    assert look(server, id)["status"] == "interrupted"


def test_jobs_are_audited(server: RpcServer) -> None:
    job = begin(server, "say", {"psk": "s3cret"})
    ended(server, job["id"])
    rows = [row for row in server.audit() if row["details"].get("job") == job["id"]]
    assert {row["outcome"] for row in rows} == {"begun as a job", "success"}
    assert {json_of["payload"]["psk"] for json_of in (row["details"] for row in rows)} == {"***"}
