"""What a call's outcome means to its client: the table of `POST ubus/call` in the rpc contract, branch by branch."""

import json
import re
import signal
from typing import Any, NamedTuple, NoReturn

import msgspec

from appliance.rpc.plugins.outcome import Outcome

SUCCESS = "ubus call action success"
FAILED = "ubus call action failed"
VALIDATION_FAILED = "validation_failed"

_NULL = b"null"
_UBUS_METHOD_NOT_FOUND = "exit status 3"  # UBUS_STATUS_METHOD_NOT_FOUND and the one after it in libubus' ubusmsg.h
_UBUS_NOT_FOUND = "exit status 4"

# The words of Go's syscall.Signal, which clients of the reference know.
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}

_value = msgspec.json.Decoder(msgspec.Raw)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Result(NamedTuple):
    """Status, message and data (JSON, as it came from the plugin) of the answer to a call."""

    status: int
    message: str
    data: bytes

    @property
    def in_words(self) -> str:
        """The outcome for the audit log."""
        return "success" if self.status == 200 else f"failed: {self._reason()}"

    def body(self) -> bytes:
        """The whole answer."""
        code, message = b"%d" % self.status, msgspec.json.encode(self.message)
        return b"".join((b'{"code":', code, b',"data":', self.data, b',"message":', message, b"}"))

    def _reason(self) -> str:
        if self.message == FAILED and len(self.data) < 100:
            return self.data.decode("utf-8", "replace").strip('"')
        return self.message


def judge(outcome: Outcome) -> Result:
    """The answer to a call that ended so. Blocking where the output is large: a millisecond for three megabytes."""
    match outcome.kind:
        case "no_object":
            return _failed(_UBUS_NOT_FOUND)
        case "no_method":
            return _failed(_UBUS_METHOD_NOT_FOUND)
        case "signalled":
            return _failed(f"signal: {signal_in_words(outcome.signal)}")
        case "timeout":
            return _failed("timeout")
        case "too_large":
            return _failed("output too large")
        case "unavailable":
            return Result(503, FAILED, msgspec.json.encode("plugins cannot be run now"))
    if outcome.exit_code != 0:
        return _failed(f"exit status {outcome.exit_code}")
    return _judge_output(outcome.output)


def signal_in_words(number: int) -> str:
    """The name of a signal as the reference says it."""
    try:
        return _SIGNALS.get(number) or signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _judge_output(output: bytes) -> Result:
    data = one_document(output)
    if data is None:
        return _failed("invalid output")
    if data[:1] != b"{":
        return Result(200, SUCCESS, data)
    error, has_validation = _top_level(data)
    if error is not None:
        return Result(500, error, data)
    if has_validation:
        return Result(400, VALIDATION_FAILED, data)
    return Result(200, SUCCESS, data)


def one_document(raw: bytes) -> bytes | None:
    """The one JSON value in `raw` (RFC 8259), as it stands there; None where it is none, partial, or not alone."""
    try:
        raw.decode("utf-8")
        return bytes(_value.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Python writes file names that are no UTF-8 with half of a surrogate pair, which is JSON, but not to msgspec.
    if _LONE_SURROGATE.search(raw) is None:
        return None
    try:
        json.loads(raw, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None
    return raw.strip(b" \t\r\n")


def _top_level(data: bytes) -> tuple[str | None, bool]:
    """The text of the member `error`, where it is one, and whether there is a member `validation`."""
    if b'"error"' not in data and b'"validation"' not in data and b"\\" not in data:
        return None, False
    try:
        members: dict[str, Any] = _members.decode(data)
        text = msgspec.json.decode(members.get("error", _NULL))
    except (msgspec.DecodeError, UnicodeDecodeError):
        members = json.loads(data)
        text = members.get("error")
    error_text = text.encode("utf-8", "replace").decode() if isinstance(text, str) else None
    return error_text, "validation" in members


def _failed(why: str) -> Result:
    return Result(500, FAILED, msgspec.json.encode(why))


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
