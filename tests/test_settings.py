"""Settings: what is read, what is refused and in which words, and what follows from them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import data, settings
from appliance.address import Address, Network
from appliance.admin.optional import features
from appliance.settings import Settings, SettingsError, System
from appliance.settings_errors import keys

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a settings file in place and says where."""

    def write_file(text: str) -> Path:
        path = tmp_path / "appliance.toml"
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(settings, "INSTALLED_FILE", tmp_path / "none.toml")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def refused(path: Path, overriding: dict[str, object] | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        settings.load(path, overriding)
    assert "\n" not in str(caught.value)
    return caught.value


# --- defaults


@pytest.mark.usefixtures("as_user")
def test_a_user_gets_loopback_and_the_own_state_folder() -> None:
    loaded = settings.load()
    assert str(loaded.server.https) == "127.0.0.1:8443"
    assert loaded.state == Path("/home/someone/.local/state/appliance")
    assert loaded.server.http is None
    assert loaded.admin.apply is False


@pytest.mark.usefixtures("as_user")
def test_xdg_state_home_is_followed_where_it_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert settings.load().state == Path("/srv/state/appliance")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert settings.load().state == Path("/home/someone/.local/state/appliance")


@pytest.mark.usefixtures("as_root")
def test_root_serves_everybody_from_var_lib() -> None:
    loaded = Settings()
    assert str(loaded.server.https) == "0.0.0.0:8443"
    assert loaded.state == Path("/var/lib/appliance")


@pytest.mark.usefixtures("as_user")
def test_the_installed_file_is_read_where_no_other_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "INSTALLED_FILE", write("[audit]\nkeep_days = 7"))
    assert settings.load().audit.keep_days == 7


def test_folders_follow_from_the_state_directory_unless_they_are_set(write: Write) -> None:
    loaded = settings.load(write('[server]\nstate = "/srv/a"'))
    assert loaded.admin_directory == Path("/srv/a/admin")
    assert loaded.backup_root == Path("/srv/a/admin")
    assert loaded.build_file == Path("/srv/a/admin/etc/build.json")
    loaded = settings.load(write('[admin]\ndirectory = "/srv/b"\nbackup_root = "/"\nbuild_file = "/etc/build.json"'))
    assert loaded.admin_directory == Path("/srv/b")
    assert loaded.backup_root == Path("/")
    assert loaded.build_file == Path("/etc/build.json")


def test_the_upload_limit_is_given_in_mebibytes(write: Write) -> None:
    assert settings.load(write("[admin]\nupload_limit_mb = 3")).upload_limit == 3 * 1024 * 1024


def test_settings_cannot_be_changed_once_loaded() -> None:
    with pytest.raises(AttributeError):
        Settings().server.drain_timeout = 1  # type: ignore[misc]  # that it is refused is the point


# --- the file that an installation brings


def test_the_example_is_correct_and_switches_changes_on() -> None:
    loaded = settings.load(data.path("appliance.toml"))
    assert loaded.admin.apply is True
    assert loaded.state == Path("/var/lib/appliance")


def test_the_example_shows_every_key_with_a_value_that_is_accepted(write: Write) -> None:
    text = data.path("appliance.toml").read_text()
    uncommented = re.sub(r"(?m)^#(?=[a-z_.]+ = )", "", text)
    settings.load(write(uncommented))
    shown, section = set(), ""
    for line in uncommented.splitlines():
        if match := re.match(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.match(r"([a-z_.]+) = ", line):
            shown.add(f"{section}.{match[1]}")
    assert shown == {key.dotted for key in keys(Settings)}


def test_every_key_has_a_meaning_and_a_default_in_words() -> None:
    for key in keys(Settings):
        assert key.description.endswith("."), key
        assert key.default, key


# --- options over the file


def test_options_win_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    path = write('[server]\nstate = "/srv/a"\nhttps = "0.0.0.0:1"\n[admin]\nfirst_run.enabled = false')
    given = settings.overrides(state="here", https="[::1]:0", first_run=True)
    loaded = settings.load(path, given)
    assert loaded.state == tmp_path / "here"
    assert (loaded.server.https.host, loaded.server.https.port) == ("::1", 0)
    assert loaded.admin.first_run.enabled is True


def test_options_not_given_change_nothing(write: Write) -> None:
    path = write('[server]\nstate = "/srv/a"')
    assert settings.load(path, settings.overrides()) == settings.load(path)


def test_a_wrong_option_is_not_blamed_on_the_file(write: Write) -> None:
    error = refused(write(""), settings.overrides(https="8443"))
    assert (error.file, error.key) == ("command line", "server.https")


def test_a_wrong_file_is_refused_even_where_an_option_hides_the_mistake(write: Write) -> None:
    path = write('[server]\nhttps = "nowhere"')
    error = refused(path, settings.overrides(https="127.0.0.1:1"))
    assert (error.file, error.key) == (str(path), "server.https")


# --- mistakes


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[server]\nstte = 1", "server.stte", "unknown key"),
        ("state = 1", "state", "unknown key"),
        ("[cloud]\nx = 1", "cloud", "unknown key"),
        ("[admin]\nfirst_run.words = 3", "admin.first_run.words", "unknown key"),
        ("server = 1", "server", "expected a table"),
        ('[server]\nstate = "here"', "server.state", "not an absolute path"),
        ('[server]\nstate = "/a\\u0000b"', "server.state", "not an absolute path"),
        ("[server]\nhttps = 8443", "server.https", "expected text in quotes"),
        ('[server]\nhttps = "8443"', "server.https", "not ADDRESS:PORT"),
        ('[server]\nhttps = "::1:8443"', "server.https", "needs brackets"),
        ('[server]\nhttps = "127.0.0.1:65536"', "server.https", "not between 0 and 65535"),
        ('[server]\nhttps = "example.org:1"', "server.https", "not ADDRESS:PORT"),
        ('[server]\nhttp = "127.0.0.1:9"\nhttps = "127.0.0.1:9"', "server.http", "is the https address too"),
        ('[server]\ntrusted_proxies = ["10.0.0.1/8"]', "server.trusted_proxies[0]", "host bits"),
        ('[server]\ntrusted_proxies = "10.0.0.1"', "server.trusted_proxies", "expected a list"),
        ("[server]\nmax_connections = 0", "server.max_connections", ">= 1"),
        ("[server]\nmax_connections = 1.5", "server.max_connections", "expected a whole number"),
        ("[server]\nmax_connections = true", "server.max_connections", "got true or false"),
        ("[server]\nheader_timeout = 0", "server.header_timeout", "expected a number > 0"),
        ("[server]\nheader_timeout = inf", "server.header_timeout", "expected a number <= 86400"),
        ("[server]\nheader_timeout = nan", "server.header_timeout", "expected a number"),
        ("[server]\ndrain_timeout = -1", "server.drain_timeout", ">= 0"),
        ('[server]\naccess_log = "yes"', "server.access_log", "expected true or false"),
        ('[server]\nlog_level = "loud"', "server.log_level", "invalid enum value 'loud'"),
        ('[server]\nweb_csp = "a\\r\\nSet-Cookie: b"', "server.web_csp", "matching regex"),
        ('[server]\nweb_csp = "a\\n"', "server.web_csp", "matching regex"),
        ('[admin]\nendpoints = ["shell"]', "admin.endpoints[0]", "invalid enum value 'shell'"),
        ('[admin]\nstorage_options = ["usb"]', "admin.storage_options[0]", "invalid enum value 'usb'"),
        ("[admin]\nreboot_command = []", "admin.reboot_command", "length >= 1"),
        ('[admin]\nreboot_command = [""]', "admin.reboot_command[0]", "length >= 1"),
        ('[admin]\nreboot_command = "reboot now"', "admin.reboot_command", "expected a list"),
        ("[admin]\nfirst_run.word_length = 1", "admin.first_run.word_length", ">= 2"),
        ("[audit]\nkeep_days = 2026-01-01", "audit.keep_days", "expected a whole number"),
        ("[audit\nkeep_days = 1", "", "at line 1"),
        ("[audit]\nkeep_days = 1\nkeep_days = 2", "", "Cannot overwrite a value"),
    ],
)
def test_a_mistake_is_told_with_file_key_reason_and_fix(write: Write, text: str, key: str, reason: str) -> None:
    path = write(text)
    error = refused(path)
    assert error.file == str(path)
    assert error.key == key
    assert reason in error.reason
    assert len(error.fix) > 10
    assert str(error) == ": ".join(filter(None, [error.file, key, error.reason])) + f". {error.fix.rstrip('.')}."


def test_a_misspelt_key_gets_its_likely_name(write: Write) -> None:
    assert "server.https?" in refused(write("[server]\nhtps = 1")).fix


def test_a_key_in_the_wrong_section_gets_the_right_one(write: Write) -> None:
    assert "admin.apply?" in refused(write("[server]\napply = true")).fix


def test_a_file_that_is_not_there() -> None:
    error = refused(Path("/nonexistent/appliance.toml"))
    assert "no such file" in str(error)


def test_things_that_are_no_settings_file(tmp_path: Path) -> None:
    assert "not a regular file" in refused(tmp_path).reason
    binary = tmp_path / "binary"
    binary.write_bytes(b"a = '\xff'")
    assert "not UTF-8 at byte 5" in refused(binary).reason
    large = tmp_path / "large"
    large.write_bytes(b"#" * (1 << 20) + b"\n")
    assert "larger than" in refused(large).reason


# --- addresses


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8443", "127.0.0.1", 8443, True),
        ("127.8.9.1:0", "127.8.9.1", 0, True),
        ("localhost:1", "127.0.0.1", 1, True),
        ("[::1]:65535", "::1", 65535, True),
        ("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, True),
        ("0.0.0.0:8443", "0.0.0.0", 8443, False),
        ("[::]:8443", "::", 8443, False),
        ("192.0.2.1:443", "192.0.2.1", 443, False),
        ("[fe80::1%eth0]:443", "fe80::1%eth0", 443, False),
    ],
)
def test_an_address_is_read_and_written(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert address.port == port
    assert address.is_loopback is loopback
    assert address.is_ipv6 is (":" in host)
    assert Address.parse(str(address)) == address
    assert hash(Address.parse(str(address))) == hash(address)
    assert address == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:٣", "[127.0.0.1]:1",
     "[::1]", "[::1:1", "::1]:1", "999.0.0.1:1", "127.0.0.1:000001", "a:1", "127.0.0.1 :1"],
)  # fmt: skip
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ADDRESS:PORT|brackets"):
        Address.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


def test_trusted_proxies_are_addresses_and_networks(write: Write) -> None:
    path = write('[server]\ntrusted_proxies = ["192.0.2.0/24", "2001:db8::7"]')
    server = settings.load(path).server
    assert server.trusted_proxies == (Network("192.0.2.0/24"), Network("2001:db8::7"))
    assert server.is_trusted_proxy("192.0.2.255")
    assert server.is_trusted_proxy("::ffff:192.0.2.1")
    assert server.is_trusted_proxy("2001:db8::7")
    assert not server.is_trusted_proxy("192.0.3.0")
    assert not server.is_trusted_proxy("2001:db8::8")
    assert not server.is_trusted_proxy("not an address")


# --- what is on


@pytest.fixture
def configured(tmp_path: Path, write: Write) -> Callable[..., Settings]:
    """Settings with `https` and more of [admin], whose two JSON files are in the test's own folder."""

    def load(https: str = "127.0.0.1:8443", admin: str = "") -> Settings:
        return settings.load(
            write(
                f'[server]\nhttps = "{https}"\n[admin]\n{admin}\n'
                f'legacy_config = "{tmp_path}/legacy.json"\nstorage_options_file = "{tmp_path}/storage.json"'
            )
        )

    return load


EVERY = {"settings", "certs", "license", "storage", "backup"}


def test_without_further_files_everything_is_on(configured: Callable[..., Settings]) -> None:
    on = features(configured())
    assert on.endpoints == EVERY
    assert on.storage_types == ("local", "nfs", "aoe", "iscsi", "nbd")
    assert on.word_length == 4


@pytest.mark.parametrize(("https", "expected"), [("127.0.0.1:1", False), ("[::1]:1", False), ("0.0.0.0:1", True)])
def test_the_first_run_is_on_where_others_can_reach_us(
    configured: Callable[..., Settings], https: str, expected: bool
) -> None:
    assert features(configured(https)).first_run is expected


def test_our_own_settings_decide_without_a_legacy_file(configured: Callable[..., Settings]) -> None:
    on = features(configured("0.0.0.0:1", 'endpoints = ["certs"]\nfirst_run = {enabled = false, word_length = 6}'))
    assert (on.endpoints, on.first_run, on.word_length) == (frozenset({"certs"}), False, 6)


def test_no_endpoints_at_all_is_a_choice(configured: Callable[..., Settings]) -> None:
    assert features(configured(admin="endpoints = []")).endpoints == frozenset()


def test_the_legacy_file_decides_where_it_exists(configured: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "legacy.json").write_text(
        '{"endpoints": ["settings", "backup", "other"], "parameters": ["public"],'
        ' "first-run": {"word-length": 5, "enabled": true}}'
    )
    on = features(configured(admin='endpoints = ["certs"]\nfirst_run.word_length = 6'))
    assert (on.endpoints, on.first_run, on.word_length) == (frozenset({"settings", "backup"}), True, 5)


def test_a_legacy_file_without_a_word_on_the_first_run(configured: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "legacy.json").write_text('{"endpoints": []}')
    on = features(configured("0.0.0.0:1", "first_run.word_length = 6"))
    assert (on.endpoints, on.first_run, on.word_length) == (frozenset(), True, 6)


def test_the_option_first_run_wins_over_the_legacy_file(configured: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "legacy.json").write_text('{"first-run": {"enabled": false}}')
    assert features(configured("0.0.0.0:1")).first_run is False
    assert features(configured("0.0.0.0:1", "first_run.enabled = true")).first_run is True


def test_the_storage_file_replaces_the_storage_options(configured: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "storage.json").write_text('{"options": ["nfs", "local"]}')
    assert features(configured(admin='storage_options = ["nbd"]')).storage_types == ("nfs", "local")


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("legacy.json", b"{", ""),
        ("legacy.json", b"\xff", ""),
        ("legacy.json", b"[]", ""),
        ("legacy.json", b'{"endpoints": "certs"}', "endpoints"),
        ("legacy.json", b'{"first-run": {"word-length": 0}}', "first-run.word-length"),
        ("legacy.json", b" " * 70000, ""),
        ("storage.json", b"{}", ""),
        ("storage.json", b'{"options": ["usb"]}', "options[0]"),
    ],
)
def test_a_broken_json_file_is_told_by_name(
    configured: Callable[..., Settings], tmp_path: Path, name: str, content: bytes, key: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        features(configured())
    assert (caught.value.file, caught.value.key) == (str(tmp_path / name), key)


def test_the_limits_of_the_system_surface_are_those_of_its_reference() -> None:
    limits = System()
    assert (limits.rate_limit_per_minute, limits.websocket_limit, limits.upload_limit_mb) == (100, 10, 100)
    assert not limits.is_rate_limit_exempt("127.0.0.1")
