"""Objects as they are sent: JSON and YAML, one and several, and all that is refused."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Invalid
from appliance.host.kubernetes.documents import DOCUMENT_LIMIT, read_documents
from appliance.host.kubernetes.yaml_reader import NODE_LIMIT, plain, read_yaml

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {"a": 1},
}


def pod(**metadata: Any) -> dict[str, Any]:
    return {**POD, "metadata": {**POD["metadata"], **metadata}}


def read_one(text: str) -> Any:
    (found,) = [value for _, value in read_yaml(text, 10)]
    return found


def test_one_as_json_and_as_yaml() -> None:
    for body, is_yaml in ((json.dumps(POD), False), (json.dumps(POD), True), (yaml.safe_dump(POD), True)):
        (found,) = read_documents(body.encode(), is_yaml=is_yaml)
        assert (found.api_version, found.kind, found.namespace, found.name) == ("v1", "Pod", "ns", "p")
        assert json.loads(found.encode()) == POD
        assert found.title == "Pod ns/p"


def test_several() -> None:
    both = [pod(name="a"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}]
    as_yaml = yaml.safe_dump_all([both[0], None, both[1]], explicit_start=True)
    as_list = json.dumps({"apiVersion": "v1", "kind": "List", "items": both})
    for body, is_yaml in ((as_yaml, True), (as_list, False), (as_list, True)):
        found = read_documents(body.encode(), is_yaml=is_yaml)
        assert [each.title for each in found] == ["Pod ns/a", "Namespace b"]


def test_a_namespace_is_put_in() -> None:
    (found,) = read_documents(b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}', is_yaml=False)
    assert found.title == "Pod p"
    found.put_into("other")
    assert found.title == "Pod other/p"
    assert json.loads(found.encode())["metadata"] == {"name": "p", "namespace": "other"}


@pytest.mark.parametrize(
    ("spec", "completed"),
    [
        (
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]},
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]},
        ),
        ({"ports": None}, {"ports": None}),
        ({"ports": [1, None]}, {"ports": [1, None]}),
        ([], []),
    ],
)
def test_ports_of_a_service_are_tcp_where_nothing_is_said(spec: Any, completed: Any) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    (found,) = read_documents(json.dumps(service).encode(), is_yaml=False)
    found.complete()
    assert json.loads(found.encode())["spec"] == completed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("Yes", True),
        ("off", False),
        ("n", False),
        ("null", None),
        ("~", None),
        ("1", 1),
        ("-17", -17),
        ("010", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("09", 9),
        ("1e3", 1000),
        (".5", 0.5),
        ("1.5", 1.5),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.2.3", "1.2.3"),
        ("0x", "0x"),
        ("0x" + "f" * 20, "0x" + "f" * 20),
        ("-", "-"),
        ("text", "text"),
        ("99999999999999999999", 100_000_000_000_000_000_000),
    ],
)
def test_plain_scalars_mean_what_they_mean_to_kubectl(text: str, value: Any) -> None:
    found = plain(text)
    assert (found, type(found)) == (value, type(value))
    assert read_one(f"a: {text!r}") == {"a": text}  # in quotes it is a text


def test_names_of_members_are_texts() -> None:
    assert read_one("80: a\non: b\n010: c\n'80x': d") == {"80": "a", "true": "b", "8": "c", "80x": "d"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x 1", "line 1: anchors"),
        ("a: 1\nb: *x", "line 2: anchors"),
        ("a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]", "line 1: anchors"),
        ("a: !!str 1", "line 1: tags"),
        ("a: !!python/object/apply:os.system [x]", "line 1: tags"),
        ("a: !x y", "line 1: tags"),
        ("<<: {a: 1}", "line 1: merge"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands here twice"),
        ("on: 1\ntrue: 2", "line 2: 'true' stands here twice"),
        ("a: [", "line 2"),
        ("a: b: c", "line 1"),
        ("\ta: 1", "line 1"),
        ("a: .inf", "line 1: .inf"),
        ("a: .nan", "line 1: .nan"),
        ("a: 1e999", "line 1: a number"),
        ("a: " + "9" * 400, "line 1: a number"),
        ("? [1]\n: 2", "line 1: a name"),
        ("~: 1", "line 1: a name"),
        ("1.5: 1", "line 1: a name"),
        ("a: \x01", "not YAML"),
        ("a: " + "[" * 70 + "]" * 70, "line 1: nested deeper"),
        ("[" * 1_000_000, "line 1: nested deeper"),
        ("- 1\n" * (NODE_LIMIT + 1), f"line {NODE_LIMIT}: more than"),
        ("---\na: 1\n" * 11, "more than 10 documents"),
        ("%YAML 9.9\n---\na: 1", "line 1"),
    ],
)
def test_yaml_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid) as raised:
        list(read_yaml(text, 10))
    assert str(raised.value).startswith(f"body: {why}"), raised.value


# What JSON writes in one piece, as YAML knows it: no pairs of surrogates, and not DEL.
CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x7f")
TEXTS = st.text(CHARACTERS)
NAMES = st.text(CHARACTERS, max_size=100)  # beyond 1024 they need a question mark
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_json_is_read_the_same_as_yaml(value: Any) -> None:
    assert read_one(json.dumps(value)) == value


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for is_yaml in (True, False):
        try:
            read_documents(text.encode(), is_yaml=is_yaml)
        except Invalid:
            continue
        pytest.fail("this was no object")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "  ",
        "null",
        "1",
        "[]",
        "{}",
        '"x"',
        "{",
        '{"a":NaN}',
        '{"a":1,"a":2}',
        '{"a":' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 70 + "1" + "}" * 70,
        json.dumps({**POD, "apiVersion": 1}),
        json.dumps({**POD, "apiVersion": "../v1"}),
        json.dumps({**POD, "apiVersion": "a/b/v1"}),
        json.dumps({**POD, "apiVersion": "v1?x"}),
        json.dumps({**POD, "kind": "pod"}),
        json.dumps({**POD, "kind": None}),
        json.dumps({**POD, "metadata": []}),
        json.dumps({**POD, "metadata": {"generateName": "p-"}}),
        json.dumps(pod(name="../x")),
        json.dumps(pod(name="UPPER")),
        json.dumps(pod(name="a..b")),
        json.dumps(pod(name="")),
        json.dumps(pod(name="x" * 254)),
        json.dumps(pod(namespace="a/b")),
        json.dumps(pod(namespace=7)),
        json.dumps(pod(namespace=False)),
        json.dumps({"apiVersion": "v1", "kind": "List"}),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": []}),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "List", "items": []}]}),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [POD, POD]}),
        json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [pod(name=f"p{n}") for n in range(DOCUMENT_LIMIT + 1)]}
        ),
    ],
)
def test_bodies_that_are_refused(body: str) -> None:
    with pytest.raises(Invalid):
        read_documents(body.encode(), is_yaml=False)


def test_what_is_no_unicode_is_refused() -> None:
    with pytest.raises(Invalid, match="UTF-8"):
        read_documents(b'{"a":"\xff"}', is_yaml=False)
    (found,) = read_documents(json.dumps(pod(labels={"a": "\ud800"})).encode(), is_yaml=False)
    with pytest.raises(Invalid, match="surrogate"):
        found.encode()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400 + ".0"])
def test_a_number_beyond_all_bounds_is_not_sent_as_nothing(number: str) -> None:
    body = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a"}},"x":{number}}}'
    for is_yaml in (False, True):
        with pytest.raises(Invalid, match="a number beyond all bounds"):
            read_documents(body.encode(), is_yaml=is_yaml)
