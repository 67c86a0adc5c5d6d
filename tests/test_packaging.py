"""What an installation gets: the wheel's content, the plugin, the data, the declared libraries."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance import __version__

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCE = [
    ".git",
    ".tox",
    ".venv",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "build",
    "dist",
    "*.egg-info",
    "dropin.cache",
    "tests",
]


def called(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that sees none of this process's paths; fails the test with its errors."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    finished = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def installed(folder: Path, what: list[str]) -> Path:
    """
    The scripts folder of a new environment into which pip installed `what` and nothing else.

    The libraries come from the environment that runs the tests, behind the new one's own packages.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    own = called(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(own) / "zz-libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # That we may be installed among those libraries must not satisfy pip.
    options.append("--ignore-installed")
    called(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, since a build leaves files beside its source."""
    copy = tmp_path_factory.mktemp("source") / "appliance"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    called(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source, cwd=folder)
    return next(folder.iterdir())


@pytest.fixture(scope="module", params=["wheel", "editable"])
def scripts(
    request: pytest.FixtureRequest, source: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The scripts folder of an environment with us installed, in either way."""
    what = [str(wheel)] if request.param == "wheel" else ["--editable", str(source)]
    return installed(tmp_path_factory.mktemp(request.param) / "environment", what)


# --- the wheel


def test_the_wheel_holds_the_package_the_plugin_and_the_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name == f"appliance-{__version__}-py3-none-any.whl"
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "appliance").rglob("*.py")}
    data = {
        f"appliance-{__version__}.data/data/share/appliance/{path.relative_to(ROOT / 'data').as_posix()}"
        for path in (ROOT / "data").rglob("*")
        if path.is_file()
    }
    assert package <= names
    assert data <= names
    assert "appliance/py.typed" in names
    assert {"appliance/database/schema.sql", "appliance/database/migrations/env.py"} <= names
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/appliance_plugin.py"]
    extra = names - package - data
    assert {name.split("/")[0] for name in extra} == {
        "appliance",
        "twisted",
        f"appliance-{__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "bench"))]


def test_plugins_stay_executable(scripts: Path, tmp_path: Path) -> None:
    program = "import os; from appliance import data; f = data.path('plugins'); "
    program += "print(*(n for n in os.listdir(f) if os.access(f / n, os.X_OK)))"
    plugins = called(scripts / "python", "-c", program, cwd=tmp_path).split()
    assert sorted(plugins) == sorted(path.name for path in (ROOT / "data" / "plugins").iterdir())


# --- what is installed works


def test_twistd_finds_the_plugin(scripts: Path, tmp_path: Path) -> None:
    if (Path(sysconfig.get_path("purelib")) / "twisted" / "plugins" / "appliance_plugin.py").exists():
        pytest.skip("an installation in the environment of the tests hides the one under test; tox has none")
    program = "import appliance, twisted.plugins.appliance_plugin as p; print(appliance.__file__, p.__file__)"
    for file in called(scripts / "python", "-c", program, cwd=tmp_path).split():
        assert not Path(file).is_relative_to(ROOT) and not file.startswith(sysconfig.get_path("purelib"))
    # As the script `twistd` does it: a path of its own, not the working directory, comes first.
    twistd = "import sys; sys.path[0] = sys.argv.pop(1); from twisted.scripts.twistd import run; run()"
    output = called(scripts / "python", "-c", twistd, scripts, "--help", cwd=tmp_path)
    assert re.search(r"^ +appliance +\S", output, re.MULTILINE)


def test_the_console_script_works(scripts: Path, tmp_path: Path) -> None:
    assert called(scripts / "appliance", "--version", cwd=tmp_path).strip() == f"appliance, version {__version__}"
    assert "\n  https: " in called(scripts / "appliance", "check-config", "--explain", cwd=tmp_path)


def test_the_data_files_are_found(scripts: Path, tmp_path: Path) -> None:
    program = "from appliance import data; print(data.root()); print(data.path('scripts/update').read_text()[:2])"
    folder, start = called(scripts / "python", "-c", program, cwd=tmp_path).splitlines()
    assert not Path(folder).is_relative_to(ROOT)
    assert start == "#!"
    missing = "from appliance import data\ntry: data.path('none')\nexcept FileNotFoundError as e: print(e)"
    assert "data file none is missing" in called(scripts / "python", "-c", missing, cwd=tmp_path)


# --- what is declared


def declared(section: str, option: str) -> list[Requirement]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config[section][option].splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.strip().startswith("#")]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize(
    "requirement",
    [*declared("options", "install_requires"), *declared("options.extras_require", "test")],
    ids=lambda requirement: requirement.name,
)
def test_the_locked_version_is_within_the_bounds(requirement: Requirement) -> None:
    assert constraints()[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_library_has_a_lower_and_an_upper_bound_and_a_reason() -> None:
    for requirement in declared("options", "install_requires"):
        assert {each.operator for each in requirement.specifier} == {">=", "<"}, requirement
    lines = (ROOT / "setup.cfg").read_text().split("install_requires =\n")[1].split("\n\n")[0].splitlines()
    for reason, line in zip(lines[::2], lines[1::2], strict=True):
        assert reason.startswith("    # ") and not line.strip().startswith("#"), line


def test_every_library_that_is_imported_is_declared() -> None:
    needed = {canonicalize_name(each.name) for each in declared("options", "install_requires")}
    extra = {canonicalize_name(each.name) for each in declared("options.extras_require", "cri")}
    owners = metadata.packages_distributions()
    for path in (ROOT / "appliance").rglob("*.py"):
        allowed = needed | extra if path.parent.name == "cri" else needed
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in (each.split(".")[0] for each in names):
                if name in sys.stdlib_module_names or name == "appliance":
                    continue
                if path.parent.name in ("tools", "zygote") and path.with_name(f"{name}.py").exists():
                    continue  # programs that run outside the package, and share modules among themselves
                found = {canonicalize_name(owner) for owner in owners.get(name, [])} - {"appliance"}
                assert found & allowed, f"{path}: {name} comes from {found or 'nowhere'}"


# --- the README's commands


def commands() -> list[str]:
    """The README's commands that a new machine gets."""
    return [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("apt-get update && ")]


def test_the_readme_has_one_command_to_run_and_one_to_test() -> None:
    run, test = commands()
    assert run.endswith("python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/appliance run --first-run")
    assert test.endswith("python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -p all -o")


@pytest.mark.parametrize("readme_is_in_step", [True, False])
def test_ci_runs_the_readmes_test_command(tmp_path: Path, readme_is_in_step: bool) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    readme = (ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(readme if readme_is_in_step else readme.replace("install -q tox", "-q tox"))
    # Commands that only write down how they were called.
    (tmp_path / "bin").mkdir()
    for name in ("python3", "apt-get", "sudo"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n')
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin" / "dpkg-query").write_text('#!/bin/sh\nprintf "install ok installed"\n')
    (tmp_path / "bin" / "dpkg-query").chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("pip", "tox"):
        (tmp_path / ".venv" / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n')
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    finished = subprocess.run(
        ["bash", ".ci/run"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if readme_is_in_step:
        assert finished.returncode == 0, finished.stderr
        calls = (tmp_path / "calls").read_text().splitlines()
        assert calls == ["python3 -m venv .venv", "pip install -q tox", "tox -p all -o"]
    else:
        assert finished.returncode == 1
        assert "README.md no longer has this line" in finished.stderr
        assert not (tmp_path / "calls").exists()
