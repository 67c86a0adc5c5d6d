import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.kubernetes import kubeconfig
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kubeconfig import Selected

KEYS = (
    "clusters", "users", "contexts", "current-context", "name", "cluster", "user", "context", "server", "token", "exec",
    "command", "args", "env", "as", "as-groups", "as-user-extra", "auth-provider", "extensions", "namespace",
)  # fmt: skip
FILE = Path("/etc/kubernetes/admin.conf")

TEXT = """\
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: one
  cluster: {server: "https://one:6443", certificate-authority: pki/ca.crt, extensions: null}
- name: two
  cluster:
    server: https://two:6443
    insecure-skip-tls-verify: true
    tls-server-name: api
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {audience: 7}
contexts:
- {name: first, context: {cluster: one, user: admin}}
- {name: second, context: {cluster: two, user: plugin, namespace: there}}
- {name: nobody, context: {cluster: two}}
- {name: lost, context: {cluster: three, user: admin}}
- {name: stranger, context: {cluster: one, user: somebody}}
current-context: first
users:
- name: admin
  user:
    client-certificate-data: Yw==
    client-key-data: c2VjcmV0
    as: root
    as-groups: [a, b]
    as-user-extra: {scope: [x]}
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./token
      args: [get, token]
      env: [{name: A, value: secret}]
      interactiveMode: Never
      provideClusterInfo: true
      installHint: Get it.
"""


def selected(context: str) -> Selected:
    config = kubeconfig.decode(TEXT.replace("current-context: first", f"current-context: {context}").encode(), FILE)
    return kubeconfig.selected(config, FILE)


def test_the_current_context_brings_a_cluster_a_user_and_a_namespace_together() -> None:
    first, second = selected("first"), selected("second")
    assert (first.cluster.server, first.user.as_user, first.namespace) == ("https://one:6443", "root", "default")
    assert (first.user.as_groups, first.user.as_user_extra) == (["a", "b"], {"scope": ["x"]})
    assert (second.cluster.tls_server_name, second.cluster.insecure_skip_tls_verify) == ("api", True)
    assert (second.namespace, second.user_name, second.cluster_name) == ("there", "plugin", "two")
    assert second.cluster.extensions[0].extension == {"audience": 7}
    assert second.user.exec is not None
    assert (second.user.exec.command, [each.reveal() for each in second.user.exec.args]) == (
        "./token",
        ["get", "token"],
    )
    assert selected("nobody").user == kubeconfig.User()
    assert first.setting("server") == "server of cluster 'one' in /etc/kubernetes/admin.conf"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ("''", "has no current-context"),
        ("third", "has no context 'third'"),
        ("lost", "has no cluster 'three'"),
        ("stranger", "has no user 'somebody'"),
    ],
)
def test_a_context_that_leads_nowhere(context: str, why: str) -> None:
    with pytest.raises(ClusterError, match=why):
        selected(context)


def test_two_of_a_name() -> None:
    twice = json.dumps({
        "contexts": [{"name": "a", "context": {"cluster": "c"}}] * 2, "current-context": "a",
        "clusters": [{"name": "c", "cluster": {}}],
    })  # fmt: skip
    with pytest.raises(ClusterError, match="has several of context 'a'"):
        kubeconfig.selected(kubeconfig.decode(twice.encode(), FILE), FILE)


@pytest.mark.parametrize("content", ["", "---\n", "null", "{}", "clusters: []\nusers: null\n", "clusters: null"])
def test_one_that_says_nothing(content: str) -> None:
    assert kubeconfig.decode(content.encode(), FILE).is_empty


@pytest.mark.parametrize(
    "content",
    [
        b"- a", b"text", b"7", b"clusters: secret", b"users: [{name: 7}]", b"users: [{user: {}}]", b"users: [null]",
        b"users: [{name: a, user: {token: [secret]}}]", b"users: [{name: a, user: {token: 12345}}]",
        b"users: [{name: a, user: {exec: {interactiveMode: Sometimes}}}]",
        b"clusters: [", b"a: b: c", b"\x00", b"\xff",
        b"a: &x 1\nb: *x", b"a: !!python/object/apply:os.system [secret]", b"a: !secret b",
        b"--- {}\n--- {}", b"? {a: 1}\n: b", b"? [a]\n: b", b"'\\q", b"\"\\q\"", b"[" * 50000, b"{a: " * 200,
        b"a: " + b"[" * 80 + b"]" * 80, b"\tsecret: a", b"a: 1:99:secret\n<<: 7", b"<<: [secret]",
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig_is_told_without_what_stands_in_it(content: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        kubeconfig.decode(content, FILE)
    error = caught.value
    assert str(FILE) in str(error)
    assert "secret" not in str(error) and "12345" not in str(error)
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_whatever_stands_there_it_is_a_kubeconfig_or_refused(value: Any) -> None:
    try:
        found = kubeconfig.decode(json.dumps(value).encode(), FILE)
        kubeconfig.selected(found, FILE)
    except ClusterError:
        pass


def test_secrets_do_not_print() -> None:
    told: Any = [selected("first"), selected("second"), kubeconfig.decode(TEXT.encode(), FILE)]
    assert "c2VjcmV0" not in repr(told) and "value='secret'" not in repr(told) and "secret" not in repr(told)
