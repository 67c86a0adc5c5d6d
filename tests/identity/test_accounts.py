import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from appliance.identity import accounts as accounts_module
from appliance.identity.accounts import Accounts, AccountsUnavailable, administrator
from appliance.identity.helper_owner import helper_environment
from appliance.identity.nss import Account, absence_is_certain, read_account
from appliance.threads import Threads
from tests.support.machine import Machine
from tests.support.password_helper import UNPRIVILEGED, machine_with_users
from tests.support.processes import eventually

reactor: Any = global_reactor

_READ = """
import json, sys
from dataclasses import asdict
from appliance.identity.nss import read_account
found = {name: read_account(name) for name in sys.argv[1:]}
print(json.dumps({name: account and asdict(account) for name, account in found.items()}, default=sorted))
"""


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_with_users(tmp_path_factory.mktemp("machine")) as found:
        yield found


def read(inside: Machine, *names: str, prefix: tuple[str, ...] = (), python: str = sys.executable) -> Any:
    """What `read_account` gives in a process inside."""
    path = f"PYTHONPATH={helper_environment()['PYTHONPATH']}"
    return json.loads(inside.run(*prefix, "env", path, python, "-P", "-c", _READ, *names).stdout)


def test_what_the_machine_knows(inside: Machine) -> None:
    inside.run("groupadd", "-g", "4711", "crew")
    inside.run(
        "useradd", "-g", "crew", "-G", "sudo,audio", "-d", "/home/some where", "-s", "/bin/dash", "-u", "4712", "eve"
    )
    found = read(inside, "eve", "nobody-here", "root")
    assert found["eve"] == {
        "name": "eve",
        "uid": 4712,
        "gid": 4711,
        "home": "/home/some where",
        "shell": "/bin/dash",
        "groups": ["audio", "crew", "sudo"],
        "locked": True,  # useradd without a password leaves a `!`
        "expired": False,
    }
    assert found["nobody-here"] is None
    assert (found["root"]["uid"], found["root"]["expired"]) == (0, False)


def test_states_of_an_account(inside: Machine) -> None:
    inside.run("useradd", "-r", "-p", "*", "daemon-like")
    inside.run("useradd", "-r", "day-zero")
    inside.run("usermod", "-p", "", "day-zero")
    inside.run("chage", "-E", "0", "day-zero")
    found = read(
        inside, "ann", "locked", "expired", "must-change", "inactive", "passwordless", "daemon-like", "day-zero"
    )
    states = {name: (account["locked"], account["expired"]) for name, account in found.items()}
    assert states == {
        "ann": (False, False),
        "locked": (True, False),
        "expired": (False, True),
        "must-change": (False, False),
        "inactive": (False, True),
        "passwordless": (False, False),
        "daemon-like": (False, False),  # never had a password: not the same as one taken away
        "day-zero": (False, True),
    }


def test_a_change_is_seen_by_the_next_reading(inside: Machine) -> None:
    for change, locked, expired in (
        (("usermod", "-L"), True, False),
        (("usermod", "-U"), False, False),
        (("chage", "-E", "2001-01-01"), False, True),
        (("chage", "-E", "2999-01-01"), False, False),
    ):
        inside.run(*change, "slow")
        found = read(inside, "slow")["slow"]
        assert (found["locked"], found["expired"]) == (locked, expired), change


def test_more_groups_than_fit_at_first(inside: Machine) -> None:
    inside.run("sh", "-c", "for n in $(seq 150); do echo g$n:x:$((50000 + n)):ann; done >> /etc/group")
    assert len(read(inside, "ann")["ann"]["groups"]) == 151


def test_a_group_without_a_name(inside: Machine) -> None:
    inside.run("sh", "-c", "echo odd:x:4800:59999::/:/bin/sh >> /etc/passwd")
    assert read(inside, "odd")["odd"]["groups"] == []


def test_a_hash_in_passwd_instead_of_shadow(inside: Machine) -> None:
    inside.run("sh", "-c", "echo 'old:!abc:4801:0::/:/bin/sh' >> /etc/passwd")
    assert read(inside, "old")["old"]["locked"] is True


def test_an_entry_larger_than_the_first_buffer(inside: Machine) -> None:
    inside.run("useradd", "-p", "!" + "x" * 5000, "long-hash")
    assert read(inside, "long-hash")["long-hash"]["locked"] is True


def test_without_root_the_shadow_file_is_closed(inside: Machine) -> None:
    found = read(inside, "locked", prefix=UNPRIVILEGED, python="/usr/bin/python3")["locked"]
    assert (found["locked"], found["expired"]) == (False, False)
    assert found["groups"] == ["locked"]


def account(name: str = "ann", uid: int = 1000, groups: tuple[str, ...] = ("ann",)) -> Account:
    return Account(name, uid, uid, "/", "/bin/sh", frozenset(groups), locked=False, expired=False)


def test_administrators() -> None:
    assert administrator(account(uid=0), [])
    assert administrator(account(groups=("ann", "wheel")), ["sudo", "wheel"])
    assert not administrator(account(groups=("ann", "users")), ["sudo", "wheel"])
    assert not administrator(account(), [])


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("passwd: files\n", True),
        ("passwd:\tfiles systemd [NOTFOUND=return]  # sss\ngroup: files sss\nshadow: files ldap\n", True),
        ("  passwd:compat\n", True),
        ("# passwd: ldap\nhosts: files dns\n", True),
        ("", True),
        ("passwd: files sss\n", False),
        ("passwd: sss [!SUCCESS=continue] files\n", False),
        ("passwd: files [NOTFOUND=continue UNAVAIL=continue] ldap\n", False),
        ("passwd: files winbind\n", False),
    ],
)
def test_who_is_not_found_may_be_out_of_reach(tmp_path: Path, text: str, certain: bool) -> None:
    switch = tmp_path / "nsswitch.conf"
    switch.write_text(text)
    assert absence_is_certain(switch) is certain


def test_a_switch_that_cannot_be_read(tmp_path: Path) -> None:
    assert absence_is_certain(tmp_path / "nothing")
    assert not absence_is_certain(tmp_path)


class ShiftedReactor:
    """The reactor, with a clock that is `shift` seconds ahead."""

    def __init__(self) -> None:
        self.shift = 0.0

    def seconds(self) -> float:
        return float(reactor.seconds() + self.shift)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class CacheTests(TestCase):
    """The cache, with a reader that can be held up."""

    def setUp(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {"ann": account(), "bob": account("bob")}
        self.gate = threading.Event()
        self.gate.set()
        self.addCleanup(self.gate.set)
        self.reactor = ShiftedReactor()
        self.accounts = Accounts(self.reactor, Threads(reactor), self.read)

    def read(self, name: str) -> Account | None:
        self.asked.append(name)
        answer = self.answers.get(name)
        self.gate.wait(30)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def begin(self, name: str) -> "Deferred[Account | None]":
        return Deferred.fromCoroutine(self.accounts.find(name))

    async def test_found_once_a_minute(self) -> None:
        for _ in range(3):
            self.assertEqual(await self.accounts.find("ann"), account())
        self.assertEqual(self.asked, ["ann"])
        self.reactor.shift = 59
        await self.accounts.find("ann")
        self.assertEqual(len(self.asked), 1)
        self.reactor.shift = 61
        await self.accounts.find("ann")
        self.assertEqual(len(self.asked), 2)

    async def test_a_clock_set_back_is_no_reason_to_believe_for_longer(self) -> None:
        await self.accounts.find("ann")
        self.reactor.shift = -3600
        await self.accounts.find("ann")
        self.assertEqual(len(self.asked), 2)

    async def test_nobody_is_remembered_too(self) -> None:
        self.assertIsNone(await self.accounts.find("nobody-here"))
        self.assertIsNone(await self.accounts.find("nobody-here"))
        self.assertEqual(self.asked, ["nobody-here"])

    async def test_names_that_cannot_be_are_not_asked_for(self) -> None:
        for name in ("", "--help", "a b", "ann\n", "../ann", "x" * 33, "ä"):
            self.assertIsNone(await self.accounts.find(name))
        self.assertEqual(self.asked, [])

    async def test_those_who_ask_at_once_share_one_look_up(self) -> None:
        self.gate.clear()
        waiting = [self.begin("ann") for _ in range(5)]
        waiting[0].addErrback(lambda _: None).cancel()
        await eventually(lambda: self.asked, "the look-up")
        self.gate.set()
        self.assertEqual(await gatherResults(waiting[1:]), [account()] * 4)
        self.assertEqual(self.asked, ["ann"])

    async def test_forgotten_means_asked_again(self) -> None:
        await self.accounts.find("ann")
        self.answers["ann"] = None
        self.accounts.forget("ann")
        self.accounts.forget("never-seen")
        self.assertIsNone(await self.accounts.find("ann"))

    async def test_what_was_read_before_a_change_is_not_kept_after_it(self) -> None:
        self.gate.clear()
        before = self.begin("ann")
        await eventually(lambda: self.asked, "the look-up")
        self.answers["ann"] = account(groups=("ann", "sudo"))
        self.accounts.forget("ann")
        after = self.begin("ann")
        self.gate.set()
        self.assertEqual(await before, account())
        self.assertEqual(await after, self.answers["ann"])
        self.assertEqual(await self.accounts.find("ann"), self.answers["ann"])
        self.assertEqual(self.asked, ["ann", "ann"])

    async def test_a_name_service_that_fails(self) -> None:
        self.answers["ann"] = OSError(5, "the directory is away")
        with self.assertRaises(AccountsUnavailable) as caught:
            await self.accounts.find("ann")
        self.assertIn("the directory is away", str(caught.exception))
        self.answers["ann"] = account()
        self.assertEqual(await self.accounts.find("ann"), account())  # the failure was not kept

    async def test_an_error_of_ours_reaches_the_caller(self) -> None:
        self.answers["ann"] = ZeroDivisionError()
        with self.assertRaises(ZeroDivisionError):
            await self.accounts.find("ann")

    async def test_a_name_service_that_hangs_holds_up_neither_callers_nor_all_threads(self) -> None:
        self.patch(accounts_module, "LOOK_UP_LIMIT", 0.2)
        self.patch(accounts_module, "_MAX_QUEUED", 2)
        self.gate.clear()
        waiting = [self.begin(f"user{number}") for number in range(10)]
        for each in waiting:
            with self.assertRaises(AccountsUnavailable):
                await each
        self.assertEqual(len(self.asked), 4)
        self.gate.set()
        await eventually(lambda: not self.accounts._asking, "the end of the look-ups")
        self.assertEqual(len(self.asked), 6)  # four at work, two in the queue, four sent away

    async def test_memory_is_bounded(self) -> None:
        self.patch(accounts_module, "MAX_KEPT", 10)
        for number in range(30):
            await self.accounts.find(f"user{number}")
        self.assertEqual(len(self.accounts._known), 10)
        await self.accounts.find("user29")
        self.assertEqual(len(self.asked), 30)

    async def test_the_real_reader(self) -> None:
        found = await Accounts(reactor, Threads(reactor)).find("root")
        self.assertEqual(found, read_account("root"))
        assert found is not None
        self.assertEqual((found.uid, found.home), (0, Path("/root").as_posix()))
