import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.host.kubernetes import places
from appliance.host.kubernetes.access import Access, find
from appliance.host.kubernetes.credentials import from_files
from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError

AUTHORITY = b"-----BEGIN CERTIFICATE-----"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a kubeconfig with these keys of its cluster and user."""

    def write(name: str = "config", cluster: Any = None, user: Any = None, **more: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        content = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
            **more,
        }
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    return write


def headers(access: Access) -> list[tuple[str, str]]:
    return list(from_files(access).headers)


# --- which file counts


def test_the_first_that_is_there_and_says_something(tmp_path: Path, write: Write) -> None:
    empty, other = write("empty", clusters=[], contexts=[]), write("other")
    found = find([tmp_path / "missing", empty, other, write("last")])
    assert found.selected.file == other
    assert set(found.seen) == {tmp_path / "missing", empty, other}
    assert found.is_current()
    (tmp_path / "missing").touch()
    assert not found.is_current()


def test_none(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ClusterAbsent, match=f"no kubeconfig at {tmp_path}/a or {tmp_path}/b"):
        find([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ClusterAbsent):
        find([write("empty", clusters=[], contexts=[])])


def test_a_broken_one_does_not_make_another_count(tmp_path: Path, write: Write) -> None:
    (tmp_path / "broken").write_text("[")
    with pytest.raises(ClusterError, match="broken: line 2: "):
        find([tmp_path / "broken", write()])


def test_what_is_no_file_or_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"\n{}")
    for name in ("pipe", "large"):
        with pytest.raises(ClusterError, match="cannot be read"):
            find([tmp_path / name])


def test_the_usual_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    order = list(places.search_order(None))
    assert order[:2] == [Path("/etc/kubernetes/admin.conf"), tmp_path / ".kube" / "config"]
    assert Path("/etc/rancher/k3s/k3s.yaml") in order
    assert order[-1] == Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert list(places.search_order(Path("/a"))) == [Path("/a")]


# --- who may write it


def test_as_root_none_that_others_may_write(tmp_path: Path, write: Write) -> None:
    path = write("folder/config")
    find([path])
    for mode in (0o620, 0o602):
        path.chmod(mode)
        os.chown(path, 0, 1234)
        with pytest.raises(ClusterError, match="may name a program to run as root: users other than root may write"):
            find([path])
    path.chmod(0o600)
    os.chown(path, 1234, 0)
    with pytest.raises(ClusterError, match="belongs to uid 1234"):
        find([path])
    os.chown(path, 0, 0)
    path.parent.chmod(0o777)
    with pytest.raises(ClusterError, match="folder"):
        find([path])
    path.parent.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(path)
    find([link])
    os.chown(link, 1234, 0, follow_symlinks=False)
    with pytest.raises(ClusterError, match="link belongs to uid 1234"):
        find([link])


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Makes us another user than root for a while, with a folder that this user can look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_one_that_may_not_be_read_is_passed_over(unprivileged: Path, write: Write) -> None:
    private, open_to_all = unprivileged / "admin.conf", unprivileged / "config"
    os.seteuid(0)
    private.write_bytes(write().read_bytes())
    private.chmod(0o600)
    open_to_all.write_bytes(private.read_bytes())
    open_to_all.chmod(0o666)  # which is dangerous for root only
    os.seteuid(65534)
    assert find([private, open_to_all]).selected.file == open_to_all
    with pytest.raises(ClusterError, match=r"admin\.conf may not be read by this service"):
        find([private, unprivileged / "missing"])


# --- what it says


def test_paths_are_taken_from_the_files_folder(tmp_path: Path, write: Write) -> None:
    (tmp_path / "pki").mkdir()
    for name in ("ca.crt", "us.crt", "us.key", "token"):
        (tmp_path / "pki" / name).write_text(f" {name}\n")
    found = find([
        write(
            cluster={"certificate-authority": "pki/ca.crt"},
            user={
                "client-certificate": str(tmp_path / "pki" / "us.crt"),
                "client-key": "./pki/us.key",
                "tokenFile": "pki/token",
            },
        )
    ])  # fmt: skip
    assert found.trust.authorities == b" ca.crt\n"
    assert found.identity is not None
    assert (found.identity.certificate, found.identity.key) == (b" us.crt\n", b" us.key\n")
    assert headers(found) == [("Authorization", "Bearer token")]
    (tmp_path / "pki" / "token").write_text("another")
    assert not found.is_current()


def test_data_counts_before_files_and_a_files_token_before_another(tmp_path: Path, write: Write) -> None:
    (tmp_path / "token").write_text("in-file")
    cluster = {"certificate-authority": "missing", "certificate-authority-data": "QUJD"}
    found = find([write(cluster=cluster, user={"token": "in-place", "tokenFile": "token"})])
    assert found.trust.authorities == b"ABC"
    assert headers(found) == [("Authorization", "Bearer in-file")]


@pytest.mark.parametrize(
    ("cluster", "user", "why"),
    [
        ({"server": "http://10.0.0.1"}, {}, "server of cluster 'c' in .* is http"),
        ({"server": ""}, {}, "server of cluster 'c' in .* has no host name"),
        ({"proxy-url": "socks5://u:secret@p"}, {}, "Proxies are not supported: proxy-url of cluster 'c'"),
        ({"certificate-authority": "missing"}, {}, "certificate-authority in .* cannot be read"),
        ({"certificate-authority": "a\0b"}, {}, "certificate-authority in .* cannot be read"),
        ({"certificate-authority-data": "secret!"}, {}, "certificate-authority-data in .* is not base64"),
        ({}, {"client-key": "/dev/zero", "client-certificate-data": "QQ=="}, "client-key in .* cannot be read"),
        ({}, {"client-key-data": "sécret"}, "client-key-data in .* is not base64"),
        ({}, {"tokenFile": "."}, "tokenFile in .* cannot be read"),
        ({}, {"token": "secret\r\nX: y"}, "token of user 'u' is not one line"),
        ({}, {"token": "secret", "username": "u"}, "has a token and a username"),
        ({}, {"as-groups": ["secret"]}, "but no as"),
        ({}, {"as": "secret\n"}, "cannot stand in a header"),
    ],
)
def test_what_cannot_be_used(write: Write, cluster: Any, user: Any, why: str) -> None:
    with pytest.raises(ClusterError, match=why) as caught:
        from_files(find([write(cluster=cluster, user=user)]))
    assert "secret" not in str(caught.value)


def test_a_name_and_a_password(write: Write) -> None:
    found = find([write(user={"username": "Zoë", "password": "a:b"})])
    assert headers(found) == [("Authorization", "Basic Wm/DqzphOmI=")]


def test_somebody_else(write: Write) -> None:
    user = {
        "token": "t", "as": "ann", "as-uid": "7", "as-groups": ["a", "b"],
        "as-user-extra": {"Example.org/Scope": ["x", "y"]},
    }  # fmt: skip
    assert headers(find([write(user=user)])) == [
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "ann"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.org%2Fscope", "x"),
        ("Impersonate-Extra-example.org%2Fscope", "y"),
    ]


def test_nothing_of_it_prints(write: Write) -> None:
    found = find([write(user={"username": "u", "password": "hidden", "client-certificate-data": "QQ==",
                              "client-key-data": "aGlkZGVu"})])  # fmt: skip
    shown = repr(found) + repr(from_files(found))
    assert "hidden" not in shown and "aGlkZGVu" not in shown and "Basic" not in shown


# --- in a pod


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account's folder as the kubelet makes it: links that are swapped."""
    folder = tmp_path / "serviceaccount"
    data = folder / "..2026"
    data.mkdir(parents=True)
    (data / "token").write_text("first")
    (data / "ca.crt").write_bytes(AUTHORITY)
    (data / "namespace").write_text("there")
    (folder / "..data").symlink_to("..2026")
    for name in ("token", "ca.crt", "namespace"):
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_the_service_account_of_a_pod(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert find([account]).server.base == "https://[fd00::1]:443"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    found = find([account])
    assert (found.server.base, found.trust.authorities) == ("https://10.96.0.1:443", AUTHORITY)
    assert (found.selected.namespace, headers(found)) == ("there", [("Authorization", "Bearer first")])
    (account / "..new").mkdir()
    for name, content in (("token", "second"), ("ca.crt", "x"), ("namespace", "there")):
        (account / "..new" / name).write_text(content)
    (account / "..data_tmp").symlink_to("..new")
    (account / "..data_tmp").rename(account / "..data")
    assert not found.is_current()
    assert headers(find([account])) == [("Authorization", "Bearer second")]


def test_a_folder_in_no_pod_is_nothing(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterAbsent):
        find([account])


def test_one_that_is_not_complete(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (account / "namespace").unlink()
    assert find([account]).selected.namespace == "default"
    (account / "ca.crt").unlink()
    with pytest.raises(ClusterError, match="certificate-authority in"):
        find([account])


@pytest.mark.parametrize("name", ["h\u00f6st", "a\0b", "a b", "-a"])
def test_a_name_for_the_certificate_that_is_none(write: Write, name: str) -> None:
    with pytest.raises(ClusterError, match=r"tls-server-name of cluster 'c' in .* is no host name"):
        find([write(cluster={"tls-server-name": name})])
