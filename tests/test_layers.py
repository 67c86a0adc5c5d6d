"""What the layout promises and no other tool checks."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "appliance").rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that an import statement anywhere in the module may bind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_reactor(source: str) -> bool:
    return any((name + ".").startswith("twisted.internet.reactor.") for name in imported(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from twisted.internet import reactor",
        "def f():\n    from twisted.internet import reactor as r",
        "import twisted.internet.reactor",
        "from twisted.internet.reactor import callLater",
    ],
)
def test_the_check_sees_every_way_to_import_the_reactor(source: str) -> None:
    assert imports_reactor(source)


def test_the_check_lets_the_reactors_types_pass() -> None:
    assert not imports_reactor("from twisted.internet.interfaces import IReactorTime\nreactor = object()")


def test_only_tap_imports_the_reactor() -> None:
    guilty = [path.relative_to(ROOT).as_posix() for path in MODULES if imports_reactor(path.read_text())]
    assert guilty == ["appliance/tap.py"]


def test_tap_imports_the_reactor_only_when_the_service_is_made() -> None:
    # At module level it would install a reactor while twistd is still reading its options.
    tree = ast.parse((ROOT / "appliance" / "tap.py").read_text())
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert not imports_reactor(ast.unparse(top))


def test_the_plugin_folder_is_no_package_and_holds_one_plugin() -> None:
    # An __init__.py there would hide Twisted itself.
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "twisted").rglob("*.py")]
    assert sources == ["twisted/plugins/appliance_plugin.py"]


def test_the_plugin_imports_nothing_but_its_maker() -> None:
    tree = ast.parse((ROOT / "twisted" / "plugins" / "appliance_plugin.py").read_text())
    assert list(imported(tree)) == ["twisted.application.service.ServiceMaker"]
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert len(assigned) == 1


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_what_only_some_servers_need_is_not_loaded_at_the_start() -> None:
    # An idle server shall stay small: these are imported when they are needed first.
    names = ("autobahn", "google.protobuf", "grpc", "sqlalchemy")
    script = f"import sys, appliance.server; print([name for name in {names} if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
