"""The log's two forms, and that nothing an event holds or a stream does can end the program."""

import io
import json
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from appliance.logs import LineObserver, json_line, observer, observer_error, text_line


def event(message: str, **fields: Any) -> dict[str, Any]:
    return {
        "log_time": 1_700_000_000.25,
        "log_level": LogLevel.info,
        "log_namespace": "appliance.test",
        "log_format": "{text}",
        "text": message,
        **fields,
    }


def failure(message: str = "broken") -> Failure:
    try:
        raise ValueError(message)
    except ValueError:
        return Failure()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Broken(io.StringIO):
    """A stream that refuses while `full`."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_line_of_json_has_time_level_logger_and_message() -> None:
    line = json_line(event("hello", request_id="r1", secret_field="not shown"))
    assert line.endswith("\n") and line.count("\n") == 1
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "appliance.test",
        "message": "hello",
        "request": "r1",
    }


def test_a_failure_comes_with_its_traceback() -> None:
    record = json.loads(json_line(event("it failed", log_failure=failure())))
    assert record["message"] == "it failed"
    assert record["failure"]["type"] == "ValueError"
    assert record["failure"]["message"] == "broken"
    assert "test_logs.py" in record["failure"]["traceback"]


def test_a_failure_without_a_message_speaks_for_itself() -> None:
    record = json.loads(json_line({"log_failure": failure(), "log_level": LogLevel.critical}))
    assert record["message"] == "broken"


def test_a_message_cannot_begin_another_record() -> None:
    line = json_line(event('a\n{"level":"critical"}\x1b[2J\x00\udcff'))
    assert line.count("\n") == 1
    assert json.loads(line)["message"] == 'a\n{"level":"critical"}\x1b[2J\x00\\udcff'


def test_a_terminal_gets_text_and_no_control_characters() -> None:
    line = text_line(event("first\nsecond\x1b[2J\x07", request_id="r\x9b1"))
    assert "info  appliance.test [r\\x9b1] first\n    second\\x1b[2J\\x07\n" in line


def test_text_shows_a_failures_traceback_indented() -> None:
    lines = text_line(event("it failed", log_failure=failure("very \x1b broken"))).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("    ") for line in lines[1:])
    assert "very \\x1b broken" in lines[-1]


def test_an_endless_message_is_cut() -> None:
    message = json.loads(json_line(event("x" * 200_000)))["message"]
    assert len(message) < 70_000
    assert message.endswith("(200000 characters)")


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_events_below_the_level_are_left_out(level: str, written: list[str]) -> None:
    stream = io.StringIO()
    log = Logger("test", observer=LogPublisher(LineObserver(stream, level)))
    for name in ("debug", "info", "warn", "error"):
        log.emit(LogLevel.levelWithName(name), "at {name}", name=name)
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == written


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"log_time": float("nan")},
        {"log_time": 1e300},
        {"log_level": "info"},
        {"log_format": "{missing}"},
        {"log_format": "{text}", "text": Unprintable()},
        {"log_namespace": Unprintable()},
        {"request_id": Unprintable()},
        {"log_failure": "no failure"},
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_whatever_an_event_holds_a_line_comes_out(strange: dict[str, Any], as_json: bool) -> None:
    stream = io.StringIO()
    LineObserver(stream, as_json=as_json)(strange)
    lines = stream.getvalue()
    assert lines.endswith("\n")
    if as_json:
        assert json.loads(lines)["level"] in ("info", "error")


def test_lines_that_a_stream_refused_are_counted_and_told_later() -> None:
    stream = Broken()
    observe = LineObserver(stream)
    observe(event("lost"))
    observe(event("lost too"))
    assert observe.lost == 2
    stream.full = False
    observe(event("written"))
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages == ["2 log lines could not be written", "written"]
    assert observe.lost == 0


def test_a_closed_stream_is_survived() -> None:
    stream = io.StringIO()
    stream.close()
    observe = LineObserver(stream)
    observe(event("into the void"))
    assert observe.lost == 1


def test_the_factory_for_twistd_writes_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    observer()(event("hello"))
    observer_error()(event("not this"))
    assert json.loads(capsys.readouterr().out)["message"] == "hello"
