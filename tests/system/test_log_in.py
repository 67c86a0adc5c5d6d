"""Log-in under load and by other means than PAM, over real HTTPS."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from tests.support.machine import PASSWORD, SystemServer, system_server
from tests.support.password_helper import descendants, service, without_login_service
from tests.support.processes import shown_of
from tests.support.server import Answer

WRONG = "wrong horse 11"
AT_ONCE = 20
CHECKED = 4
QUEUED = 8
WAITING_SERVICE = """
auth optional pam_exec.so quiet /run/wait
auth required pam_unix.so
account required pam_permit.so
"""
"""Which would let in whose account has expired."""
WAIT = "#!/bin/sh\nwhile [ ! -e /run/go ]; do sleep 0.05; done\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    hurry = {"appliance.identity.passwords.SU_REFUSAL_SECONDS": 1.0}
    with system_server(tmp_path_factory.mktemp("login"), hurry=hurry) as server:
        yield server


def log_in(server: SystemServer, username: str, password: str, address: str = "127.0.0.1") -> Answer:
    body = f'{{"username":"{username}","password":"{password}"}}'
    return server.curl("--interface", address, "--json", body, path="/api/v1/auth/login")


def restart(server: SystemServer) -> None:
    server.server.stop()
    server.server.start()


def test_many_wrong_passwords_at_once(server: SystemServer) -> None:
    """From as many addresses, so that the back-off has no part in it; checks wait until the test lets them go on."""
    inside = server.machine.run
    inside("tee", "/run/wait", stdin=WAIT)
    inside("chmod", "755", "/run/wait")
    inside("touch", "/run/go")
    with service(server.machine, WAITING_SERVICE), ThreadPoolExecutor(AT_ONCE) as pool:
        restart(server)
        assert log_in(server, "admin", PASSWORD).status == 200
        server.machine.add_user("over")
        inside("chage", "-E", "1", "over")
        over = log_in(server, "over", PASSWORD)
        inside("rm", "/run/go")
        try:
            guesses = [
                pool.submit(log_in, server, ("admin", "nosuchuser")[number % 2], WRONG, f"127.0.1.{number + 1}")
                for number in range(AT_ONCE)
            ]
            ended = as_completed(guesses, timeout=60)
            refused = [next(ended).result() for _ in range(AT_ONCE - CHECKED - QUEUED)]
            for answer in refused:
                assert (answer.status, answer.json["error"]["code"]) == (429, "RATE_LIMITED")
                assert answer.headers["retry-after"] == "1"
            # Four are being checked, eight wait; everybody else is served, and nobody else's password is looked at.
            processes = [shown_of(pid) for pid in descendants(server.server.pid)]
            assert sum(b"/run/wait" in each for each in processes) == CHECKED
            assert not any(WRONG.encode() in each for each in processes)
            assert log_in(server, "reader", PASSWORD, "127.0.2.1").status == 429
            for path in ("/system/summary", "/system/cpu", "/storage/disks", "/users", "/logs", "/auth/tokens"):
                assert server.data(path, who="reader") is not None
            assert sum(not guess.done() for guess in guesses) == CHECKED + QUEUED
        finally:
            inside("touch", "/run/go")
        answers = [guess.result() for guess in ended]
        assert [answer.status for answer in answers] == [401] * (CHECKED + QUEUED)
        assert {answer.body for answer in answers} == {over.body}
        assert over.status == 401
        assert log_in(server, "reader", PASSWORD, "127.0.2.1").status == 200
    restart(server)


def test_where_only_su_is_to_be_had(server: SystemServer) -> None:
    with without_login_service(server.machine), ThreadPoolExecutor(3) as pool:
        restart(server)
        right = log_in(server, "reader", PASSWORD)
        assert right.status == 200, right
        assert right.json["data"]["user"]["username"] == "reader"
        assert "/su as user 65534 (PAM has no service" in server.server.log.read_text()
        # su asked by root would accept anything.
        wrong = list(pool.map(lambda name: log_in(server, name, WRONG), ("reader", "nosuchuser", "root")))
        assert [answer.status for answer in wrong] == [401] * 3
        assert {answer.body for answer in wrong} == {wrong[0].body}
    restart(server)
