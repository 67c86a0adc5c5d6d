"""journalctl's arguments: every value of a client stands behind a word of ours."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Invalid
from appliance.host.journal.command import command, span
from appliance.host.journal.query import LogFilter, make_filter


def test_without_a_filter() -> None:
    assert command(None, LogFilter()) == ["journalctl", "--quiet", "--no-pager"]
    assert command(Path("/j"), LogFilter(), "--reverse")[3:] == ["--reverse", "--directory=/j"]


def test_a_service_is_a_unit_or_an_identifier() -> None:
    short = command(None, LogFilter(service="sshd"))
    assert short[short.index("--") + 1 :] == [
        *("_SYSTEMD_UNIT=sshd.service", "+", "UNIT=sshd.service", "_PID=1", "+"),
        *("OBJECT_SYSTEMD_UNIT=sshd.service", "_UID=0", "+"),
        *("COREDUMP_UNIT=sshd.service", "_UID=0", "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1", "+"),
        "SYSLOG_IDENTIFIER=sshd",
    ]
    assert "_SYSTEMD_UNIT=ssh.socket" in command(None, LogFilter(service="ssh.socket"))


def test_times_keep_their_microseconds() -> None:
    assert span(LogFilter(since=1_754_044_200_000_001, until=5)) == ["--since=@1754044200.000001", "--until=@0.000005"]


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_value_can_be_taken_for_an_option(service: str, search: str) -> None:
    try:
        wanted = make_filter(now=0, service=service, search=search, priority="err", since="-1h")
    except Invalid:
        return
    ours = ("--quiet", "--no-pager", "--priority=", "--grep=", "--case-sensitive=no", "--", "+", "_PID=1", "_UID=0")
    fields = ("_SYSTEMD_UNIT=", "UNIT=", "OBJECT_SYSTEMD_UNIT=", "COREDUMP_UNIT=", "MESSAGE_ID=", "SYSLOG_IDENTIFIER=")
    assert all(argument.startswith((*ours, *fields)) for argument in command(None, wanted)[1:])
