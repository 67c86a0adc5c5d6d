"""The update script with real packages: each step, each error code, kills, and what is left behind."""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.admin_directory import AdminDirectory, make_keys, make_package

UPDATE = """\
echo "apply is $APPLIANCE_APPLY in $PWD"
cp version.txt "$APPLIANCE_ADMIN/etc/version.txt"
printf 'no line end'
"""


@pytest.fixture(scope="module")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    return make_keys(folder / "keys", AdminDirectory.make(folder / "admin"))


@pytest.fixture
def admin(tmp_path: Path, key_folder: Path) -> AdminDirectory:
    directory = AdminDirectory.make(tmp_path / "admin")
    for name in ("updates.key", "updates.pub"):
        (directory.etc / name).write_bytes((key_folder / name).read_bytes())
    return directory


def put(admin: AdminDirectory, keys: Path, version: str = "1.0.1", name: str = "zzz", **files: str) -> Path:
    payload = admin.path.parent / f"payload-{name}"
    given = {key.replace("_", ".", 1).replace("__", "-"): text for key, text in files.items()}
    return make_package(payload, keys, admin.uploads / f"software_package-{name}.enc", version=version, files=given)


def seal(admin: AdminDirectory, keys: Path, inner: bytes, *, sign: bool = True, **extra: bytes) -> None:
    """A package of arbitrary content, made by openssl and tar as a user would."""
    folder = admin.path.parent / "sealed"
    folder.mkdir()
    (folder / "software_package.tar.gz").write_bytes(inner)
    names = ["software_package.tar.gz"]
    if sign:
        names.append("software_package.tar.gz.sign")
        subprocess.run(
            [
                "openssl",
                "dgst",
                "-sha256",
                "-sign",
                str(keys / "updates.private.pem"),
                "-out",
                names[1],
                names[0],
            ],
            cwd=folder,
            check=True,
        )
    for name, data in extra.items():
        (folder / name).write_bytes(data)
        names.append(name)
    subprocess.run(["tar", "-cf", "outer.tar", *names], cwd=folder, check=True)
    encrypt(admin, keys, folder / "outer.tar")


def encrypt(admin: AdminDirectory, keys: Path, outer: Path) -> None:
    argv = [
        "openssl",
        "enc",
        "-aes-256-cbc",
        "-md",
        "sha256",
        "-pbkdf2",
        "-pass",
        f"file:{keys / 'updates.key'}",
    ]
    output = str(admin.uploads / "software_package-zzz.enc")
    subprocess.run([*argv, "-in", str(outer), "-out", output], check=True)


def inner_archive(*entries: tuple[tarfile.TarInfo, bytes], version: str = "1.0.1") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as writer:
        for info, data in [(tarfile.TarInfo("version.txt"), f"{version}\n".encode()), *entries]:
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def status(admin: AdminDirectory) -> tuple[str, int]:
    found = json.loads((admin.etc / "status_update.json").read_text())
    return found["status"], found["percentage"]


def errors(admin: AdminDirectory) -> tuple[str, str] | None:
    code, message = admin.etc / "status_error_code.txt", admin.etc / "status_error_message.txt"
    if not code.exists() and not message.exists():
        return None
    return code.read_text().strip(), message.read_text().strip()


def assert_clean(admin: AdminDirectory) -> None:
    assert sorted(path.name for path in (admin.path / "tmp").iterdir()) == ["update.lock"]
    assert list(admin.uploads.iterdir()) == []
    assert not list(admin.etc.glob("*.new"))


def assert_failed(admin: AdminDirectory, percentage: int, code: str, message: str) -> None:
    assert status(admin) == ("failed", percentage)
    assert errors(admin) == (code, message)
    last = admin.log("update.log")[-1]
    assert last.split("]", 1)[0][1:].isdigit()
    assert last.endswith(f"][SYSTEM] Failed updating: {message}")
    assert_clean(admin)


def test_success(admin: AdminDirectory, key_folder: Path) -> None:
    (admin.etc / "status_error_code.txt").write_text("E1002\n")
    (admin.etc / "status_error_message.txt").write_text("of an earlier run\n")
    put(admin, key_folder, update_sh=UPDATE)
    done = admin.run("update", APPLIANCE_APPLY="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert status(admin) == ("success", 100)
    assert errors(admin) is None
    assert (admin.etc / "version.txt").read_text() == "1.0.1\n"
    lines = admin.log("update.log")
    assert lines[-1].endswith("][SYSTEM] Updating system successful")
    assert f"apply is 1 in {admin.path}/tmp/update" in lines
    assert "no line end" in lines
    assert_clean(admin)


def test_without_update_sh_it_ends_at_90(admin: AdminDirectory, key_folder: Path) -> None:
    put(admin, key_folder, data_txt="x")
    assert admin.run("update").returncode == 0
    assert status(admin) == ("success", 90)
    assert (admin.etc / "version.txt").read_text() == "1.0.0\n"


def test_an_update_sh_that_is_not_executable_runs(admin: AdminDirectory, key_folder: Path) -> None:
    info = tarfile.TarInfo("update.sh")
    info.mode = 0o644
    seal(admin, key_folder, inner_archive((info, UPDATE.encode())))
    assert admin.run("update").returncode == 0
    assert status(admin) == ("success", 100)


def test_the_newest_package_is_taken_and_the_older_go(admin: AdminDirectory, key_folder: Path) -> None:
    old = put(admin, key_folder, "1.0.2", "zzzz-older", update_sh=UPDATE)
    os.utime(old, (1, 1))
    put(admin, key_folder, "1.0.3", "a-newer", update_sh=UPDATE)
    (admin.uploads / "software_package-link.enc").symlink_to(old)
    assert admin.run("update").returncode == 0
    assert (admin.etc / "version.txt").read_text() == "1.0.3\n"
    assert list(admin.uploads.iterdir()) == []


def test_e1003_without_a_package(admin: AdminDirectory) -> None:
    done = admin.run("update")
    assert done.returncode == 1
    assert done.stderr == "E1003 Missing update package\n"
    assert_failed(admin, 20, "E1003", "Missing update package")


DECRYPTING = "Error decrypting software update package"
VERIFYING = "Error verifying software update package signature"
EXTRACTING = "Error extracting software update package"


def test_e1005_when_it_cannot_be_decrypted(admin: AdminDirectory, key_folder: Path) -> None:
    put(admin, key_folder, update_sh=UPDATE)
    (admin.etc / "updates.key").write_text("another\n")
    assert admin.run("update").returncode == 1
    assert_failed(admin, 30, "E1005", DECRYPTING)


@pytest.mark.parametrize("content", [b"", b"Salted__", b"no package" * 1000])
def test_e1005_for_garbage(admin: AdminDirectory, content: bytes) -> None:
    (admin.uploads / "software_package-zzz.enc").write_bytes(content)
    assert admin.run("update").returncode == 1
    assert_failed(admin, 30, "E1005", DECRYPTING)


@pytest.mark.parametrize(("missing", "percentage", "message"), [
    ("updates.key", 30, DECRYPTING),
    ("updates.pub", 40, VERIFYING),
])  # fmt: skip
def test_e1005_without_keys(
    admin: AdminDirectory, key_folder: Path, missing: str, percentage: int, message: str
) -> None:
    put(admin, key_folder, update_sh=UPDATE)
    (admin.etc / missing).unlink()
    assert admin.run("update").returncode == 1
    assert_failed(admin, percentage, "E1005", message)


def test_e1005_for_an_outer_archive_without_the_signature(admin: AdminDirectory, key_folder: Path) -> None:
    seal(admin, key_folder, inner_archive(), sign=False)
    assert admin.run("update").returncode == 1
    assert_failed(admin, 30, "E1005", DECRYPTING)


def test_e1005_for_a_link_in_the_outer_archive(admin: AdminDirectory, key_folder: Path) -> None:
    outer = admin.path.parent / "outer.tar"
    with tarfile.open(outer, "w") as writer:
        for name in ("software_package.tar.gz", "software_package.tar.gz.sign"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "updates.key"
            writer.addfile(info)
    encrypt(admin, key_folder, outer)
    assert admin.run("update").returncode == 1
    assert_failed(admin, 30, "E1005", DECRYPTING)


def test_other_members_of_the_outer_archive_are_left_out(admin: AdminDirectory, key_folder: Path) -> None:
    info = tarfile.TarInfo("update.sh")
    info.mode = 0o755
    script = f"ls -a {admin.path}/tmp; {UPDATE}".encode()
    seal(admin, key_folder, inner_archive((info, script)), intruder=b"x")
    assert admin.run("update").returncode == 0
    assert "intruder" not in admin.log("update.log")


def test_e1005_for_a_wrong_signature(admin: AdminDirectory, key_folder: Path, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", AdminDirectory.make(tmp_path / "other-admin"))
    put(admin, key_folder, update_sh=UPDATE)
    (admin.etc / "updates.pub").write_bytes((other / "updates.pub").read_bytes())
    assert admin.run("update").returncode == 1
    assert_failed(admin, 40, "E1005", VERIFYING)
    assert (admin.etc / "version.txt").read_text() == "1.0.0\n"


def member(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info, b"x" if kind == tarfile.REGTYPE else b""


@pytest.mark.parametrize("trap", [
    member("/tmp/absolute-trap"),
    member("../../etc/version.txt"),
    member("link", tarfile.SYMTYPE, "../../etc"),
    member("hard", tarfile.LNKTYPE, "/etc/passwd"),
    member("device", tarfile.CHRTYPE),
    member("fifo", tarfile.FIFOTYPE),
], ids=lambda trap: trap[0].name)  # fmt: skip
def test_e1005_for_traps_in_a_signed_package(
    admin: AdminDirectory, key_folder: Path, trap: tuple[tarfile.TarInfo, bytes]
) -> None:
    seal(admin, key_folder, inner_archive(trap))
    assert admin.run("update").returncode == 1
    assert_failed(admin, 50, "E1005", EXTRACTING)
    assert (admin.etc / "version.txt").read_text() == "1.0.0\n"


def test_e1005_for_a_gzip_bomb(admin: AdminDirectory, key_folder: Path) -> None:
    info = tarfile.TarInfo("zeros")
    seal(admin, key_folder, inner_archive((info, bytes(8 << 20))))
    assert admin.run("update", APPLIANCE_UNPACK_LIMIT="1000000").returncode == 1
    assert_failed(admin, 50, "E1005", EXTRACTING)
    assert any("more than 1000000 bytes" in line for line in admin.log("update.log"))


def test_e1005_for_an_inner_archive_that_is_none(admin: AdminDirectory, key_folder: Path) -> None:
    seal(admin, key_folder, gzip.compress(b"no tar" * 500))
    assert admin.run("update").returncode == 1
    assert_failed(admin, 50, "E1005", EXTRACTING)


@pytest.mark.parametrize(("installed", "offered", "outcome"), [
    ("1.0.0", "1.0.1", "newer"), ("1.9.0", "1.10.0", "newer"), ("1.10.0", "1.9.0", "older"),
    ("2.0", "10.0", "newer"), ("1.0", "1.0.0", "same"), ("v1.2.03", "1.2.3", "same"),
    ("1.0.0", "1.0.0", "same"),
    ("1.0.0", "0.9", "older"), ("1.0.0-rc1", "1.0.0", "newer"), ("1.0.0", "1.0.0-rc1", "older"),
    ("1.0.0-rc2", "1.0.0-rc10", "newer"), ("1.2.3", "1.2.3-1", "newer"), ("1.0.0beta2", "1.0.0", "newer"),
    ("2026.10.1", "2026.9.30", "older"), ("1.0.10", "1.0.1", "older"), ("", "0.1", "newer"),
])  # fmt: skip
def test_the_version_rule(admin: AdminDirectory, key_folder: Path, installed: str, offered: str, outcome: str) -> None:
    (admin.etc / "version.txt").write_text(f"{installed}\n")
    put(admin, key_folder, offered, update_sh=UPDATE)
    done = admin.run("update")
    if outcome == "newer":
        assert (done.returncode, status(admin)) == (0, ("success", 100))
    else:
        text = {"older": "Software update package is too old", "same": "System is already up-to-date"}[outcome]
        assert_failed(admin, 60, "E1001", text)
        assert (admin.etc / "version.txt").read_text() == f"{installed}\n"


@pytest.mark.parametrize(("offered", "setting"), [("0.9", "DOWNGRADE"), ("1.0.0", "REINSTALL")])
def test_settings_relax_the_version_rule(admin: AdminDirectory, key_folder: Path, offered: str, setting: str) -> None:
    put(admin, key_folder, offered, update_sh=UPDATE)
    assert admin.run("update", **{f"APPLIANCE_ALLOW_{setting}": "1"}).returncode == 0
    assert (admin.etc / "version.txt").read_text() == f"{offered}\n"


def test_e1001_for_a_package_without_a_good_version(admin: AdminDirectory, key_folder: Path) -> None:
    seal(admin, key_folder, inner_archive(version="$(reboot)"))
    assert admin.run("update").returncode == 1
    assert_failed(admin, 60, "E1001", "Missing or invalid version in software update package")


def test_e1002_when_update_sh_fails(admin: AdminDirectory, key_folder: Path) -> None:
    put(admin, key_folder, update_sh="echo broken; exit 7\n")
    assert admin.run("update").returncode == 1
    assert "broken" in admin.log("update.log")
    assert_failed(admin, 80, "E1002", "Error running update")


def test_error_files_of_update_sh_count(admin: AdminDirectory, key_folder: Path) -> None:
    script = 'cd "$APPLIANCE_ADMIN/etc"; echo E2042 >status_error_code.txt; echo No room >status_error_message.txt'
    put(admin, key_folder, update_sh=f"{script}; exit 1\n")
    assert admin.run("update").returncode == 1
    assert_failed(admin, 80, "E2042", "No room")


def test_error_files_of_a_good_update_sh_go(admin: AdminDirectory, key_folder: Path) -> None:
    put(admin, key_folder, update_sh='echo E2042 >"$APPLIANCE_ADMIN/etc/status_error_code.txt"\n')
    assert admin.run("update").returncode == 0
    assert errors(admin) is None


def hook(admin: AdminDirectory, name: str, text: str) -> None:
    path = admin.path / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_hooks_run_around_the_update(admin: AdminDirectory, key_folder: Path) -> None:
    for name in ("pre-update.sh", "health-check.sh", "post-update.sh"):
        hook(admin, name, f"echo in {name}")
    put(admin, key_folder, update_sh="echo in update.sh\n")
    assert admin.run("update").returncode == 0
    said = [line for line in admin.log("update.log") if line.startswith("in ")]
    assert said == ["in pre-update.sh", "in update.sh", "in health-check.sh", "in post-update.sh"]


@pytest.mark.parametrize(("name", "percentage", "text", "ran"), [
    ("pre-update.sh", 70, "the hook before it failed", False),
    ("health-check.sh", 80, "the health check failed", True),
    ("post-update.sh", 80, "the hook after it failed", True),
])  # fmt: skip
def test_e1002_when_a_hook_fails(
    admin: AdminDirectory, key_folder: Path, name: str, percentage: int, text: str, ran: bool
) -> None:
    hook(admin, name, "exit 1")
    put(admin, key_folder, update_sh="echo in update.sh\n")
    assert admin.run("update").returncode == 1
    assert ("in update.sh" in admin.log("update.log")) is ran
    assert_failed(admin, percentage, "E1002", f"Error running update: {text}")


def test_a_failed_health_check_rolls_back(admin: AdminDirectory, key_folder: Path) -> None:
    hook(admin, "health-check.sh", "exit 1")
    put(admin, key_folder, update_sh=UPDATE, rollback_sh="#!/bin/sh\necho rolling back\n")
    assert admin.run("update").returncode == 1
    assert "rolling back" in admin.log("update.log")
    assert (admin.etc / "version.txt").read_text() == "1.0.0\n"
    assert_failed(admin, 80, "E1002", "Error running update: the health check failed")


def test_e1000_for_what_nobody_foresaw(admin: AdminDirectory, key_folder: Path) -> None:
    put(admin, key_folder, update_sh=UPDATE)
    tools = admin.path.parent / "bin"
    tools.mkdir()
    (tools / "sed").write_text("#!/bin/sh\nexit 5\n")
    (tools / "sed").chmod(0o755)
    path = f"{tools}:{admin.environment('update')['PATH']}"
    assert admin.run("update", PATH=path).returncode == 1
    assert_failed(admin, 60, "E1000", "Script error")


def start(admin: AdminDirectory) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        admin.argv("update"),
        env=admin.environment("update"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)


def wait_for_the_end_of_session(leader: int) -> None:
    deadline = time.monotonic() + 60
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(leader, 0)
            assert time.monotonic() < deadline, f"session {leader} did not end"
            time.sleep(0.01)


def test_e1004_a_second_run_is_refused_and_the_first_goes_on(admin: AdminDirectory, key_folder: Path) -> None:
    go, here = admin.path / "go", admin.path / "here"
    waiting = f"touch {here}; while [ ! -e {go} ]; do sleep 0.05; done\n"
    put(admin, key_folder, update_sh=waiting + UPDATE)
    first = start(admin)
    wait_for(here)
    (admin.uploads / "software_package-zzz.enc").touch()
    second = admin.run("update")
    assert (second.returncode, second.stderr) == (1, "E1004 Update is already running\n")
    assert status(admin) == ("running", 70)
    assert errors(admin) is None
    assert any("a second one was refused" in line for line in admin.log("update.log"))
    go.touch()
    assert first.wait(60) == 0
    assert status(admin) == ("success", 100)


def test_a_daemon_of_update_sh_does_not_hold_the_lock(admin: AdminDirectory, key_folder: Path) -> None:
    daemon = f"sleep 300 >/dev/null 2>&1 & echo $! >{admin.path}/daemon\n"
    put(admin, key_folder, update_sh=daemon + UPDATE)
    assert admin.run("update").returncode == 0
    try:
        put(admin, key_folder, "1.0.2", "second", update_sh=UPDATE)
        assert admin.run("update").returncode == 0
    finally:
        os.kill(int((admin.path / "daemon").read_text()), signal.SIGKILL)


def test_the_lock_is_held_while_update_sh_of_a_killed_script_lives(admin: AdminDirectory, key_folder: Path) -> None:
    go, here = admin.path / "go", admin.path / "here"
    put(admin, key_folder, update_sh=f"touch {here}; while [ ! -e {go} ]; do sleep 0.05; done\n")
    first = start(admin)
    wait_for(here)
    first.kill()
    first.wait()
    assert admin.run("update").stderr.startswith("E1004")
    go.touch()
    wait_for_the_end_of_session(first.pid)  # or it would wait for ever for a file in a folder that is gone


def test_term_is_a_script_error(admin: AdminDirectory, key_folder: Path) -> None:
    here = admin.path / "here"
    put(admin, key_folder, update_sh=f"touch {here}; sleep 300\n")
    process = start(admin)
    wait_for(here)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    assert status(admin)[0] == "failed"


def stub(admin: AdminDirectory, name: str, occurrence: int) -> str:
    """A PATH in which the n-th call of that program kills the script with -9."""
    folder = admin.path.parent / "stubs"
    folder.mkdir(exist_ok=True)
    real = shutil.which(name)
    (folder / name).write_text(
        f"#!/bin/sh\necho >>{folder}/count\n"
        f'[ "$(wc -l <{folder}/count)" = {occurrence} ] || exec {real} "$@"\n'
        f"kill -9 $(cat {folder}/script)\nexit 1\n"
    )
    (folder / name).chmod(0o755)
    return f"{folder}:{admin.environment('update')['PATH']}"


@pytest.mark.parametrize(("program", "occurrence"), [
    *(("date", number) for number in range(1, 9)),
    *(("sync", number) for number in range(1, 13, 2)),
    ("mkfifo", 1), ("stat", 1), ("sort", 1), ("mkdir", 2),
])  # fmt: skip
def test_killed_up_to_60_percent_nothing_is_installed_and_the_next_run_works(
    admin: AdminDirectory, key_folder: Path, program: str, occurrence: int
) -> None:
    package = put(admin, key_folder, update_sh=UPDATE)
    (admin.etc / "app.json").write_text("{}")
    before = {name: data for name, data in admin.everything().items() if name.startswith(("etc/", "bin/", "uploads/"))}
    path = stub(admin, program, occurrence)
    # exec keeps the process id, which the stub reads.
    wrapper = f'echo $$ >{admin.path.parent}/stubs/script; exec /bin/dash "$0"'
    script = admin.argv("update")[1]
    done = subprocess.run(
        ["/bin/dash", "-c", wrapper, script], env=admin.environment("update", PATH=path), check=False,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    found = admin.everything()
    assert {name: found.get(name) for name in before} == before
    new = {name for name in found if name not in before and not name.startswith(("tmp/", "log/"))}
    assert new <= {"etc/status_update.json", "etc/status_update.json.new"}
    if (admin.etc / "status_update.json").exists():
        assert status(admin)[0] == "running"
        assert status(admin)[1] <= 70
    assert package.exists()
    assert admin.run("update").returncode == 0
    assert status(admin) == ("success", 100)
    assert_clean(admin)


def test_no_secret_stands_in_an_argument(admin: AdminDirectory, key_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "openssl").write_text(f'#!/bin/sh\necho "$*" >>{folder}/seen\nexec /usr/bin/openssl "$@"\n')
    (folder / "openssl").chmod(0o755)
    put(admin, key_folder, update_sh=UPDATE)
    done = admin.run("update", PATH=f"{folder}:{admin.environment('update')['PATH']}")
    assert done.returncode == 0
    seen = (folder / "seen").read_text()
    assert "-pbkdf2" in seen and "-verify" in seen
    passphrase = (admin.etc / "updates.key").read_text().strip()
    assert passphrase not in seen
    assert passphrase not in (admin.path / "log/update.log").read_text()
