import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from appliance.identity.helper_confinement import CAPABILITIES, NICENESS, SU_CAPABILITIES
from appliance.identity.helper_frames import GREETING, Outcome, Reply
from appliance.identity.helper_owner import helper_command, helper_environment
from tests.support.machine import Machine
from tests.support.password_helper import (
    ADDRESS,
    PASSWORD,
    SLOW_SERVICE,
    SYSTEM_PYTHON,
    UNPRIVILEGED,
    Helper,
    descendants,
    machine_with_users,
    service,
    without_login_service,
)
from tests.support.processes import alive, wait_for


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_with_users(tmp_path_factory.mktemp("machine")) as found:
        yield found


@contextmanager
def helper(*prefix: str, **options: Any) -> Iterator[Helper]:
    found = Helper(*prefix, **options)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def ready(*prefix: str, **options: Any) -> Iterator[Helper]:
    with helper(*prefix, **options) as found:
        assert found.reply().outcome in (Outcome.READY_PAM, Outcome.READY_SU)
        yield found


@pytest.fixture
def asked(inside: Machine) -> Iterator[Helper]:
    """A helper that asks PAM's service `login`."""
    with ready(*inside.prefix) as found:
        yield found


def status(pid: int, field: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return line.split(":", 1)[1].strip()
    raise AssertionError(field)


def test_the_greeting_names_the_service(inside: Machine) -> None:
    with helper(*inside.prefix) as found:
        assert found.reply() == Reply(GREETING, Outcome.READY_PAM, "login")
        assert found.end() == 0
    with service(inside, SLOW_SERVICE), helper(*inside.prefix) as found:
        assert found.reply() == Reply(GREETING, Outcome.READY_PAM, "appliance")


def test_right_and_wrong_passwords(asked: Helper) -> None:
    assert asked.check("ann", PASSWORD) == Outcome.ACCEPTED
    assert asked.check("no.shell", PASSWORD) == Outcome.ACCEPTED
    for wrong in (PASSWORD + "x", PASSWORD[:-1], PASSWORD.upper(), "", "x\n" + PASSWORD, PASSWORD + "\n"):
        assert asked.check("ann", wrong) == Outcome.REFUSED
    assert asked.check("ann", PASSWORD) == Outcome.ACCEPTED


@pytest.mark.parametrize("name", ["nobody-here", "--help", "", "ann ", "ann\n", "root"])
def test_other_names(asked: Helper, name: str) -> None:
    assert asked.check(name, PASSWORD) == Outcome.REFUSED


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("locked", Outcome.REFUSED),
        ("expired", Outcome.REFUSED),  # pam_deny stands behind pam_unix in Debian's common-account
        ("must-change", Outcome.EXPIRED),
        ("inactive", Outcome.REFUSED),
        ("passwordless", Outcome.REFUSED),
    ],
)
def test_accounts_that_may_not_be_used(asked: Helper, name: str, outcome: Outcome) -> None:
    assert asked.check(name, PASSWORD) == outcome
    assert asked.check(name, "wrong") == Outcome.REFUSED
    assert asked.check(name, "") == Outcome.REFUSED


def test_a_wrong_password_and_an_unknown_user_have_the_same_reason(asked: Helper) -> None:
    asked.begin("ann", "wrong")
    wrong = asked.reply()
    asked.begin("nobody-here", "wrong")
    assert asked.reply().reason == wrong.reason


def test_the_module_is_told_the_address_and_a_terminal(inside: Machine) -> None:
    text = (
        "auth optional pam_exec.so quiet log=/run/pam-said /usr/bin/env\n"
        "auth required pam_unix.so\naccount required pam_unix.so\n"
    )
    with service(inside, text), ready(*inside.prefix) as found:
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED
    said = inside.run("cat", "/run/pam-said").stdout.splitlines()
    assert {f"PAM_RHOST={ADDRESS}", "PAM_TTY=appliance", "PAM_USER=ann", "PAM_SERVICE=appliance"} <= set(said)


def test_four_checks_at_once_and_no_fifth(inside: Machine) -> None:
    with service(inside, SLOW_SERVICE), ready(*inside.prefix) as found:
        for _ in range(4):
            found.begin("slow", PASSWORD)
        number = found.begin("ann", PASSWORD)
        assert found.reply() == Reply(number, Outcome.UNAVAILABLE, "too many checks at once")


def test_others_are_checked_while_one_hangs(inside: Machine) -> None:
    with service(inside, SLOW_SERVICE), ready(*inside.prefix) as found:
        found.begin("slow", PASSWORD)
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED
        assert found.check("ann", "wrong") == Outcome.REFUSED


def test_a_module_that_hangs_is_ended_with_what_it_started(inside: Machine) -> None:
    with service(inside, SLOW_SERVICE), ready(*inside.prefix, limit=0.5) as found:
        number = found.begin("slow", PASSWORD)
        hanging = found.checking("sleep")
        reply = found.reply()
        assert (reply.number, reply.outcome) == (number, Outcome.UNAVAILABLE)
        wait_for(lambda: not alive(hanging), "the end of the module's program")
        wait_for(lambda: not descendants(found.pid), "the reaping of all of them")
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED


def test_a_check_that_crashes_takes_only_itself(inside: Machine) -> None:
    with service(inside, SLOW_SERVICE), ready(*inside.prefix) as found:
        number = found.begin("slow", PASSWORD)
        found.checking("sleep")
        (child,) = [pid for pid in descendants(found.pid) if status(pid, "PPid") == str(found.pid)]
        os.kill(child, signal.SIGSEGV)
        assert found.reply() == Reply(number, Outcome.UNAVAILABLE, "the check was ended by signal 11")
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED


@pytest.mark.parametrize("how", ["end", "terminate"])
def test_it_ends_with_all_that_it_started(inside: Machine, how: str) -> None:
    with service(inside, SLOW_SERVICE), ready(*inside.prefix) as found:
        found.begin("slow", PASSWORD)
        found.checking("sleep")
        everybody = descendants(found.pid)
        assert getattr(found, how)() == 0
        wait_for(lambda: not any(map(alive, everybody)), "the end of the check")
        assert found.words() == ""


def test_it_ends_when_its_server_is_killed() -> None:
    script = (
        "import subprocess, sys, time; pipe = subprocess.PIPE\n"
        "helper = subprocess.Popen(sys.argv[1:], stdin=pipe, stdout=pipe, start_new_session=True)\n"
        "helper.stdout.read(1); print(helper.pid, flush=True); time.sleep(600)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script, *helper_command()], env=dict(helper_environment()), stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert alive(pid)
    server.kill()
    server.wait(10)
    server.stdout.close()
    wait_for(lambda: not alive(pid), "the end of the helper")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\0\0\0\x03abc", b"\0\0\0\x0a\0\0\0\x01\0\xff\0\0\0\0"]
)
def test_what_is_no_request_ends_it(asked: Helper, data: bytes) -> None:
    asked.send(data)
    assert asked.process.wait(20) == 1
    words = asked.words()
    assert words.startswith("it was sent a ") and len(words.splitlines()) == 1


def test_what_it_gives_up(asked: Helper) -> None:
    capabilities = f"{sum(1 << number for number in CAPABILITIES.values()):016x}"
    for field in ("CapEff", "CapPrm", "CapBnd"):
        assert status(asked.pid, field) == capabilities
    assert status(asked.pid, "CapInh") == "0" * 16
    assert status(asked.pid, "Umask") == "0077"
    assert os.getpriority(os.PRIO_PROCESS, asked.pid) == NICENESS
    limits = Path(f"/proc/{asked.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def test_it_inherits_no_descriptors(inside: Machine) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    command = [*inside.prefix, "sh", "-c", 'exec "$@"', "sh", *helper_command()]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=dict(helper_environment()), close_fds=False)
    os.close(writer)
    try:
        # The end comes: nobody holds the other side any more.
        assert select.select([reader], [], [], 20)[0] and os.read(reader, 1) == b""
        assert process.poll() is None
    finally:
        os.close(reader)
        process.communicate(timeout=20)


def test_no_password_in_any_command_line_or_environment(inside: Machine) -> None:
    password = "only-for-the-scan-of-proc"
    with service(inside, SLOW_SERVICE), ready(*inside.prefix) as found:
        found.begin("slow", password)
        found.checking("sleep")
        assert len(descendants(found.pid)) >= 2
        seen = 0
        for folder in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    content = (folder / name).read_bytes()
                except OSError:
                    continue
                seen += bool(content)
                assert password.encode() not in content, (folder, name)
        assert seen > 4


def test_faillock_works_with_what_is_left_of_root(inside: Machine) -> None:
    options = "pam_faillock.so {} deny=3 unlock_time=600"
    text = (
        f"auth required {options.format('preauth')}\nauth [success=1 default=ignore] pam_unix.so\n"
        f"auth [default=die] {options.format('authfail')}\nauth sufficient {options.format('authsucc')}\n"
        "account required pam_faillock.so\naccount required pam_unix.so\n"
    )
    inside.run("useradd", "often-wrong")
    inside.run("chpasswd", stdin=f"often-wrong:{PASSWORD}\n")
    with service(inside, text), ready(*inside.prefix) as found:
        assert found.check("often-wrong", PASSWORD) == Outcome.ACCEPTED
        for _ in range(3):
            assert found.check("often-wrong", "wrong") == Outcome.REFUSED
        assert found.check("often-wrong", PASSWORD) == Outcome.REFUSED
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED
        owner = inside.run("stat", "-c", "%U", "/run/faillock/often-wrong").stdout.strip()
        assert owner == "often-wrong"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("auth sufficient pam_permit.so\nauth required pam_unix.so\n", Outcome.UNASKED),
        ("auth sufficient pam_rootok.so\nauth required pam_unix.so\n", Outcome.UNASKED),
        ("auth optional pam_unix.so\nauth sufficient pam_permit.so\n", Outcome.ACCEPTED),
        ("auth required pam_no_such_module.so\n", Outcome.UNAVAILABLE),
        ("auth required pam_deny.so\n", Outcome.REFUSED),
    ],
)
def test_services_that_do_not_check(inside: Machine, text: str, outcome: Outcome) -> None:
    with service(inside, text + "account required pam_permit.so\n"), ready(*inside.prefix) as found:
        assert found.check("ann", "wrong") == outcome


def test_a_second_question_is_not_answered(inside: Machine) -> None:
    text = "auth required pam_unix.so\nauth required pam_ftp.so users=ann\naccount required pam_unix.so\n"
    with service(inside, text), ready(*inside.prefix) as found:
        found.begin("ann", PASSWORD)
        reply = found.reply()
        assert reply.outcome == Outcome.REFUSED
        assert "cannot retrieve authentication info" in reply.reason  # so pam_ftp says that nobody answered


def test_a_user_that_a_module_made_another_one(inside: Machine) -> None:
    text = "auth required pam_ftp.so users=slow,ann\naccount required pam_permit.so\n"  # ann becomes slow
    with service(inside, text), ready(*inside.prefix) as found:
        number = found.begin("ann", PASSWORD)
        assert found.reply() == Reply(number, Outcome.REFUSED, "PAM knows the user by another name")


SU_CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "PAM has no service": ((), {}),
    "PAM cannot be loaded": ((), {"packages": False, "python": SYSTEM_PYTHON}),
    "PAM needs root": (UNPRIVILEGED, {"python": SYSTEM_PYTHON}),
}


@pytest.mark.parametrize("why", list(SU_CASES))
def test_su_where_pam_is_not_to_be_had(inside: Machine, why: str) -> None:
    prefix, options = SU_CASES[why]
    missing = without_login_service(inside) if why == "PAM has no service" else nullcontext()
    with missing, helper(*inside.prefix, *prefix, **options) as found:
        greeting = found.reply()
        assert greeting.outcome == Outcome.READY_SU
        assert "su as user 65534" in greeting.reason and why in greeting.reason
        assert found.check("ann", PASSWORD) == Outcome.ACCEPTED
        assert found.check("nobody-here", PASSWORD) == Outcome.REFUSED
        assert found.check("no.shell", PASSWORD) == Outcome.REFUSED
        assert found.check("passwordless", "anything") == Outcome.UNASKED
        assert found.check("must-change", PASSWORD) == Outcome.EXPIRED
        # They take su seconds each: all at once.
        numbers = {found.begin(*each) for each in (("ann", "wrong"), ("locked", PASSWORD), ("root", "wrong"))}
        numbers.add(found.begin("expired", PASSWORD))
        replies = [found.reply() for _ in numbers]
        assert {reply.number for reply in replies} == numbers
        assert {reply.outcome for reply in replies} == {Outcome.REFUSED}
        wait_for(lambda: not descendants(found.pid), "the end of every su")
        assert found.end() == 0


def test_su_keeps_what_its_session_needs(inside: Machine) -> None:
    with without_login_service(inside), ready(*inside.prefix) as found:
        bounding = int(status(found.pid, "CapBnd"), 16)
        wanted = sum(1 << number for number in SU_CAPABILITIES.values())
        assert bounding == wanted & int(status(os.getpid(), "CapBnd"), 16)


def test_nobody_may_look_into_a_helper_of_an_ordinary_user(inside: Machine) -> None:
    with ready(*inside.prefix, *UNPRIVILEGED, python=SYSTEM_PYTHON) as found:
        assert status(found.pid, "Uid").split()[0] == "65534"
        assert Path(f"/proc/{found.pid}/status").stat().st_uid == 0  # PR_SET_DUMPABLE is 0, proc(5)


def test_what_su_prints_is_not_taken_for_success(inside: Machine) -> None:
    inside.run("useradd", "-m", "-s", "/bin/bash", "talker")
    inside.run("chpasswd", stdin=f"talker:{PASSWORD}\n")
    inside.run("tee", "/run/shell", stdin='#!/bin/sh\necho "$@"; exit 0\n')  # repeats its command line
    inside.run("chmod", "755", "/run/shell")
    inside.run("usermod", "-s", "/run/shell", "talker")
    with without_login_service(inside), ready(*inside.prefix) as found:
        assert found.check("talker", PASSWORD) == Outcome.REFUSED


def test_a_shell_that_never_ends_is_ended(inside: Machine) -> None:
    inside.run("useradd", "-m", "-s", "/bin/cat", "sleeper")
    inside.run("chpasswd", stdin=f"sleeper:{PASSWORD}\n")
    inside.run("tee", "/run/sleeper", stdin="#!/bin/sh\nexec sleep 600\n")
    inside.run("chmod", "755", "/run/sleeper")
    inside.run("usermod", "-s", "/run/sleeper", "sleeper")
    with without_login_service(inside), ready(*inside.prefix, limit=1) as found:
        found.begin("sleeper", PASSWORD)
        sleeping = found.checking("sleep")
        assert found.reply().outcome == Outcome.UNAVAILABLE
        wait_for(lambda: not alive(sleeping), "the end of the shell")
        wait_for(lambda: not descendants(found.pid), "the end of su")
