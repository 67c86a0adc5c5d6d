"""Which endpoints there are, and how each of them refuses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import API, TOKEN, Server, hash_of, running
from tests.support.surface import ENDPOINTS, REFUSED

FIXED = [
    "build",
    "changelog",
    "debug",
    "endpoints",
    "health",
    "logs",
    "reboot",
    "services",
    "setup",
    "update",
    "version",
]
OPTIONAL = ["backup", "certs", "license", "settings", "storage"]
FORMS = [path for method, path in ENDPOINTS if method == "POST"]


def listed(names: list[str]) -> dict[str, list[str]]:
    return {"endpoints": [f"{API}/{name}" for name in sorted(names)] + ["/docs"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = "[admin]\nbackoff_after = 0\nupload_limit_mb = 1\n"
    with running(tmp_path_factory.mktemp("endpoints"), config) as server:
        yield server


def test_all_are_on_by_default(server: Server) -> None:
    assert server.get("/endpoints").json == listed(FIXED + OPTIONAL)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_refused_credentials(server: Server, method: str, path: str) -> None:
    if path == "/setup":
        return  # with its pause, in test_authentication
    fields = ("-F", "token=wrong", "-F", "action=STOP")
    ways: list[tuple[tuple[str, ...], str]] = [
        ((), "?token=wrong"),
        ((), f"?hash={hash_of(method, '/nothing')}"),
        ((), ""),
    ]
    ways += [(fields, ""), (("-d", "hash=wrong"), "")] if method == "POST" else []
    for arguments, query in ways:
        answer = server.curl("-X", method, *arguments, path=path + query)
        assert (answer.status, answer.json) == (403, REFUSED), (arguments, query)
        assert answer.headers["error-message"] == "Authentication error"


@pytest.mark.parametrize("path", FORMS)
def test_empty_and_wrong_forms_are_400(server: Server, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"\xff\0binary")
    before = sorted((server.admin / "etc").iterdir())
    url = f"{path}?token={TOKEN}"
    for arguments in (
        ("-X", "POST"),
        ("-F", "unknown=value"),
        ("-F", f"unknown=@{tmp_path}/file"),
        ("-d", "unknown=value"),
        ("-d", "x=%zz&%00=1"),
        ("-H", "Content-Type: multipart/form-data", "-d", "no boundary"),
        ("-H", "Content-Type: multipart/form-data; boundary=b", "-d", "no part"),
        ("-H", "Content-Type: multipart/form-data; boundary=b", "-d", "--b\r\n\r\nwithout a name\r\n--b--\r\n"),
    ):
        answer = server.curl(*arguments, path=url)
        assert (answer.status, answer.json["Status"]) == (400, "400 Bad Request"), arguments
    answer = server.curl("-H", "Content-Type: text/html", "-d", "<form>", path=url)
    assert answer.status in (400, 415)
    assert sorted((server.admin / "etc").iterdir()) == before


@pytest.mark.parametrize(("path", "part"), [("/update", "update"), ("/backup/restore", "archive")])
def test_too_large_uploads_are_413(server: Server, tmp_path: Path, path: str, part: str) -> None:
    (tmp_path / "large").write_bytes(bytes(1_500_000))
    for arguments in ((), ("-H", "Transfer-Encoding: chunked")):
        answer = server.curl(*arguments, "-F", f"{part}=@{tmp_path}/large", path=f"{path}?token={TOKEN}")
        assert (answer.status, answer.json["Status"]) == (413, "413 Content Too Large")
    assert list((server.admin / "uploads").iterdir()) == []


@pytest.mark.parametrize("path", ["/settings", "/storage", "/certs", "/license"])
def test_too_large_forms_are_413(server: Server, tmp_path: Path, path: str) -> None:
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    part = {"/certs": "public", "/license": "license"}.get(path, "settings")
    assert server.post(path, f"{part}=@{tmp_path}/large").status == 413


def test_a_name_is_no_path(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no package")
    for name in ("../../etc/version.txt", "/etc/passwd", "..", "a\\..\\b"):
        answer = server.post("/backup/restore", f"archive=@{tmp_path}/file;filename={name}")
        assert answer.status == 400
    assert (server.admin / "etc" / "version.txt").read_text() == "1.0.0\n"


def test_the_older_configuration_decides(tmp_path: Path) -> None:
    legacy = tmp_path / "legacy.json"
    given = {
        "endpoints": ["certs", "backup"],
        "parameters": ["public", "private"],
        "first-run": {"word-length": 6, "enabled": True},
    }
    legacy.write_text(json.dumps(given))
    config = f'[admin]\nlegacy_config = "{legacy}"\nendpoints = ["storage"]\n'
    with running(tmp_path / "server", config, token=None) as server:
        words = (server.admin / "etc" / "api.token.setup").read_text()
        assert words.count("-") >= 5
        assert server.curl("-F", f"newtoken={TOKEN}", path=f"/setup?token={words}").status == 200
        assert server.get("/endpoints").json == listed([*FIXED, "backup", "certs"])
        for name in ("settings", "license", "storage"):
            for method in ("GET", "POST"):
                for query in (f"?token={TOKEN}", ""):
                    answer = server.curl("-X", method, path=f"/{name}{query}")
                    assert (answer.status, answer.json) == (404, {"Status": "404 Not Found"})
        assert server.get("/certs").status == 200
        assert server.get("/backup").status == 404
        assert server.curl(path="/backup").json == REFUSED | {"First-Run": False}


def test_our_settings_decide_without_it(tmp_path: Path) -> None:
    config = f'[admin]\nlegacy_config = "{tmp_path}/none.json"\nendpoints = ["license"]\n'
    with running(tmp_path / "server", config) as server:
        assert server.get("/endpoints").json == listed([*FIXED, "license"])
        assert server.get("/certs").json == {"Status": "404 Not Found"}
        assert server.curl("-X", "POST", path="/backup/restore").status == 404
