"""Who may call what: the contract's rules as a table, and files that are none."""

import json
from pathlib import Path

import pytest
from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.rpc.acl import EVERYTHING, READ, WRITE, Acls, BadAcl, Grants, Rights, parse
from appliance.rpc.acl_files import read_acls, watch_acls
from appliance.threads import Threads

FILE = {
    "dns": {
        "description": "Names",
        "read": {"ubus": {"ns.dns": ["get", "list-*"]}, "uci": ["dhcp", "network"]},
        "write": {"ubus": {"ns.dns": ["set", "add-*"]}, "uci": ["dhcp"]},
    },
    "dns-admin": {"read": {}, "write": {"ubus": {"ns.dns*": ["*"], "ns.dhcp": ["*"]}}},
    "everything": {"read": {"ubus": {"*": ["*"]}}},
    "logs": {"read": {"ubus": {"ns.log": ["page"], "ns.?og": ["tail"], "ns.[xyz]": ["a"]}}, "write": {}},
    "lists": {"read": {"ubus": ["ns.list"], "file": {"/etc/*": ["read"]}}, "write": {"ubus": ["ns.list"]}},
    "mixed": {"read": {"uci": {"system": ["read"], "wireless": ["write"], "all": ["*"]}}, "write": {"uci": ["system"]}},
    "empty": {},
}

# read patterns, write patterns, object, method, whether it passes
CASES: list[tuple[list[str], list[str], str, str, bool]] = [
    # no grant, no call
    ([], [], "ns.dns", "get", False),
    ([], [], "ns.log", "page", False),
    (["nothing"], [], "ns.dns", "get", False),
    (["empty"], ["empty"], "ns.dns", "get", False),
    # the read block of a group in `read`
    (["dns"], [], "ns.dns", "get", True),
    (["dns"], [], "ns.dns", "list-all", True),
    (["dns"], [], "ns.dns", "list-", True),
    (["dns"], [], "ns.dns", "list", False),
    (["dns"], [], "ns.dns", "set", False),
    (["dns"], [], "ns.dns", "add-host", False),
    (["dns"], [], "ns.log", "page", False),
    (["dns"], [], "ns.dnsx", "get", False),
    (["dns"], [], "ns.dns", "GET", False),
    (["dns"], [], "NS.DNS", "get", False),
    # write implies read
    ([], ["dns"], "ns.dns", "get", True),
    ([], ["dns"], "ns.dns", "set", True),
    ([], ["dns"], "ns.dns", "add-host", True),
    ([], ["dns"], "ns.dns", "remove", False),
    # patterns of groups
    (["d*"], [], "ns.dns", "get", True),
    (["d?s"], [], "ns.dns", "get", True),
    (["[a-d]ns"], [], "ns.dns", "get", True),
    (["*"], [], "ns.anything", "whatever", True),
    (["dns-*"], [], "ns.dns", "get", False),
    ([], ["dns-*"], "ns.dns", "anything", True),
    ([], ["dns-*"], "ns.dhcp", "anything", True),
    ([], ["dns-*"], "ns.dns.more", "anything", True),  # `*` crosses dots
    ([], ["dns-*"], "ns.other", "anything", False),
    # several groups
    (["dns", "logs"], [], "ns.log", "page", True),
    (["logs"], ["dns"], "ns.log", "page", True),
    (["logs"], ["dns"], "ns.dns", "set", True),
    # patterns of objects
    (["logs"], [], "ns.log", "tail", True),
    (["logs"], [], "ns.fog", "tail", True),
    (["logs"], [], "ns.og", "tail", False),
    (["logs"], [], "ns.y", "a", True),
    (["logs"], [], "ns.a", "a", False),
    # `!` wins over all
    (["*", "!everything", "!dns"], [], "ns.dns", "get", False),
    (["!dns", "dns"], [], "ns.dns", "get", False),
    (["dns", "!dns"], [], "ns.dns", "get", False),
    (["dns", "!d*"], [], "ns.dns", "get", False),
    (["dns", "!logs"], [], "ns.dns", "get", True),
    (["!logs"], [], "ns.dns", "get", False),  # forbids, and grants nothing
    ([], ["dns", "!dns"], "ns.dns", "set", False),
    ([], ["dns", "!dns"], "ns.dns", "get", False),
    (["dns"], ["dns", "!dns"], "ns.dns", "get", True),  # may be read still
    (["dns"], ["dns", "!dns"], "ns.dns", "set", False),
    (["!dns"], ["dns"], "ns.dns", "get", False),  # what may not be read
    (["!dns"], ["dns"], "ns.dns", "set", False),  # may not be written either
    (["*", "!dns*", "!everything"], ["*"], "ns.dhcp", "x", False),
    (["*"], ["*", "!dns-admin"], "ns.dns", "set", True),
    (["*", "!everything"], ["*", "!dns-admin"], "ns.dhcp", "x", False),
    # other scopes
    (["lists"], [], "ns.list", "read", True),
    (["lists"], [], "ns.list", "write", False),
    ([], ["lists"], "ns.list", "write", True),
    ([], ["lists"], "ns.list", "read", True),
    (["lists"], [], "/etc/passwd", "read", False),
    (["mixed"], ["mixed"], "uci", "get", False),
]


@pytest.fixture(scope="module")
def acls() -> Acls:
    return {name: [group] for name, group in parse(json.dumps(FILE).encode()).items()}


@pytest.mark.parametrize(("read", "write", "object", "method", "passes"), CASES)
def test_the_rules(acls: Acls, read: list[str], write: list[str], object: str, method: str, passes: bool) -> None:
    grants = Grants(acls, Rights(tuple(read), tuple(write)))
    assert grants.allows(object, method) is passes
    assert grants.allows(object, method) is passes  # and from memory


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(CASES) >= 40


def test_root_has_every_group_but_no_call_that_no_group_grants(acls: Acls) -> None:
    assert Grants(acls, EVERYTHING).allows("ns.anything", "x")
    without = {name: groups for name, groups in acls.items() if name != "everything"}
    assert Grants(without, EVERYTHING).allows("ns.dns", "set")
    assert not Grants(without, EVERYTHING).allows("ns.anything", "x")


@pytest.mark.parametrize(
    ("rights", "config", "access", "passes"),
    [
        (Rights(("dns",)), "dhcp", READ, True),
        (Rights(("dns",)), "dhcp", WRITE, False),
        (Rights((), ("dns",)), "dhcp", WRITE, True),
        (Rights((), ("dns",)), "network", WRITE, False),
        (Rights((), ("dns",)), "network", READ, True),
        (Rights(("mixed",)), "system", READ, True),
        (Rights(("mixed",)), "wireless", READ, False),
        (Rights(("mixed",)), "all", READ, True),
        (Rights((), ("mixed",)), "system", WRITE, True),
    ],
)
def test_configurations(acls: Acls, rights: Rights, config: str, access: str, passes: bool) -> None:
    assert Grants(acls, rights).allows_config(config, access) is passes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"g":[]}',
        b'{"g":{"read":[]}}',
        b'{"g":{"read":{"ubus":"ns.x"}}}',
        b'{"g":{"read":{"ubus":{"ns.x":"say"}}}}',
        b'{"g":{"read":{"ubus":{"ns.x":[1]}}}}',
        b'{"g":{"read":{"ubus":[{"ns.x":["say"]}]}}}',
        b'{"g":{"read":{"file":7}}}',
        b'{"g":{"write":{"uci":[null]}}}',
        b"\xff",
        b'{"g":' + b"[" * 100_000,
    ],
)
def test_what_is_no_acl(content: bytes) -> None:
    with pytest.raises(BadAcl):
        parse(content)


def test_what_is_not_needed_may_be_missing() -> None:
    assert set(parse(b'{"a":{"read":null,"write":{}},"b":{"description":5}}')) == {"a", "b"}


def test_our_own_file_grants_everything_to_who_may_write_everything() -> None:
    acls = read_acls([Path(__file__).resolve().parents[2] / "data" / "acl.d"])
    assert Grants(acls, EVERYTHING).allows("ns.anything", "x")
    reader = Grants(acls, Rights(("*",)))
    assert not reader.allows("ns.anything", "x") and not reader.allows("uci", "set")
    assert reader.allows("system", "board") and reader.allows("uci", "get")
    assert reader.allows_config("network", READ) and not reader.allows_config("network", WRITE)


class WatchTests(TestCase):
    async def test_files_are_read_again_when_they_change(self) -> None:
        folders = [Path(self.mktemp()), Path(self.mktemp())]
        watched = watch_acls(global_reactor, Threads(global_reactor), folders)
        self.assertEqual(await watched.get(), {})
        for folder in folders:
            folder.mkdir(parents=True)
        (folders[0] / "one.json").write_text('{"g":{"read":{"ubus":{"a":["x"]}}}}')
        (folders[1] / "two.json").write_text('{"g":{"read":{"ubus":{"b":["x"]}}}}')
        (folders[0] / ".hidden.json").write_text('{"hidden":{}}')
        (folders[0] / "note.txt").write_text("no JSON")
        (folders[0] / "bad.json").write_text("{")
        found = await self.until(watched, lambda acls: len(acls.get("g", ())) == 2)
        self.assertEqual(set(found), {"g"})
        grants = Grants(found, Rights(("g",)))
        self.assertTrue(grants.allows("a", "x") and grants.allows("b", "x"))
        (folders[1] / "two.json").unlink()
        await self.until(watched, lambda acls: len(acls.get("g", ())) == 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def until(self, watched, condition):
        for _ in range(1000):
            found = await watched.get()
            if condition(found):
                return found
            await Threads(global_reactor).run(lambda: None)
        raise AssertionError("the files were not read again")
