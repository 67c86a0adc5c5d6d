"""Every answer stands in the envelope; every refusal has a code, and the field where there is one."""

import msgspec
import pytest

from appliance.host.errors import Conflict, Forbidden, Invalid, Unavailable, Unknown
from appliance.http.bodies import InvalidInput
from appliance.http.errors import HttpError, MethodNotAllowed
from appliance.http.replies import Reply
from appliance.process.errors import AlreadyRunning, JobError, ProcessError
from appliance.system.envelope import CODES, SystemEnvelope, translate
from tests.http.test_rate_limit import call


def decoded(reply: object) -> object:
    assert isinstance(reply, Reply)
    assert reply.headers["Cache-Control"] == "no-store"
    return msgspec.json.decode(reply.body)


@pytest.mark.parametrize("value", [None, [], {"a": [1, "ü"]}, "text", 7])
def test_a_value_stands_in_the_envelope(value: object) -> None:
    reply = SystemEnvelope().encode(value, call("192.0.2.1"))
    assert decoded(reply) == {"status": "success", "data": value, "error": None}


def test_what_is_encoded_already_is_taken_as_it_is() -> None:
    reply = SystemEnvelope().encode(msgspec.Raw(b'{"a":1}'), call("192.0.2.1"))
    assert decoded(reply) == {"status": "success", "data": {"a": 1}, "error": None}


def test_a_refusal_names_code_and_message() -> None:
    reply = SystemEnvelope().error(HttpError(404, "no such thing"), None)
    assert reply.status == 404
    assert decoded(reply) == {
        "status": "error",
        "data": None,
        "error": {"code": "NOT_FOUND", "message": "no such thing"},
    }


def test_a_refused_field_stands_in_the_details() -> None:
    reply = SystemEnvelope().error(InvalidInput("body", "netmask", "Expected `int <= 128`"), None)
    assert decoded(reply) == {
        "status": "error",
        "data": None,
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "Invalid body: netmask: Expected `int <= 128`",
            "details": "netmask: Expected `int <= 128`",
        },
    }


def test_headers_of_a_refusal_are_sent() -> None:
    reply = SystemEnvelope().error(MethodNotAllowed("PUT", frozenset({"GET"})), None)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET"
    assert b'"METHOD_NOT_ALLOWED"' in reply.body


def test_a_code_of_its_own_wins() -> None:
    assert b'"DOCKER_ERROR"' in SystemEnvelope().error(HttpError(503, code="DOCKER_ERROR"), None).body


@pytest.mark.parametrize("status", sorted(CODES))
def test_a_refusal_without_words_gets_the_phrase_of_its_status(status: int) -> None:
    body = msgspec.json.decode(SystemEnvelope().error(HttpError(status), None).body)
    assert body["error"]["code"] == CODES[status]
    assert body["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("name", "too long"), 400),
        (Forbidden("not for this user"), 403),
        (Unknown("no interface eth9"), 404),
        (Conflict("it is mounted"), 409),
        (Unavailable("no journalctl"), 503),
        (AlreadyRunning("format"), 409),
        (JobError("the records cannot be kept"), 503),
        (ProcessError("cannot start mount"), 503),
    ],
)
def test_domain_errors_become_answers(error: Exception, status: int) -> None:
    answer = translate(error)
    assert answer is not None
    assert answer.status == status


def test_a_full_disk_under_a_job_is_told() -> None:
    error = JobError("the records cannot be kept")
    error.__cause__ = OSError(28, "No space left on device")
    answer = translate(error)
    assert answer is not None
    assert answer.status == 507


def test_a_defect_stays_one() -> None:
    assert translate(KeyError("x")) is None
    assert translate(OSError(5, "Input/output error")) is None
