import pytest

from appliance.rpc.plugins.shebang import python_command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("#!/usr/bin/python3", ("/usr/bin/python3",)),
        ("#! /usr/bin/python3  ", ("/usr/bin/python3",)),
        ("#!/usr/bin/python3 -I", ("/usr/bin/python3", "-I")),
        ("#!\t/usr/bin/python3\t-sE ", ("/usr/bin/python3", "-sE")),
        ("#!/opt/venv/bin/python", ("/opt/venv/bin/python",)),
        ("#!/usr/bin/python3.13 -Wignore::DeprecationWarning", ("/usr/bin/python3.13", "-Wignore::DeprecationWarning")),
        ("#!/usr/bin/python3 -Xutf8=0", ("/usr/bin/python3", "-Xutf8=0")),
        ("#!/usr/bin/env python3", ("/usr/bin/env", "python3")),
        ("#!/bin/env /usr/bin/python3.9", ("/bin/env", "/usr/bin/python3.9")),
        ("#!/usr/bin/env -S python3 -I -s", ("/usr/bin/env", "-S python3 -I -s")),
        ("#!/usr/bin/env -S A=b python3", ("/usr/bin/env", "-S A=b python3")),
    ],
)
def test_python(line: str, command: tuple[str, ...]) -> None:
    assert python_command(f"{line}\nimport sys\n".encode()) == command
    assert python_command(line.encode()) == command


@pytest.mark.parametrize(
    "line",
    [
        *("", "#!", "#! ", "#!/bin/sh", "import sys", "\x7fELF", "#!python3", "#!./python3", "#!/usr/bin/perl python3"),
        *("#!/usr/bin/python2", "#!/usr/bin/python2.7", "#!/usr/bin/python3-config", "#!/usr/bin/pypy3"),
        *("#!/usr/bin/python3 -i", "#!/usr/bin/python3 -x", "#!/usr/bin/python3 -c", "#!/usr/bin/python3 -v"),
        *("#!/usr/bin/python3 other.py", "#!/usr/bin/python3 -I -s", "#!/usr/bin/python3 -Ximporttime"),
        "#!/usr/bin/python3 -Xdev",
        *("#!/usr/bin/env", "#!/usr/bin/env sh", "#!/usr/bin/env python3 -I", "#!/usr/bin/env -i python3"),
        *("#!/usr/bin/env -S python3 -i", "#!/usr/bin/env -S -i python3", "#!/usr/bin/env -S 'python3'"),
        "#!/" + "x" * 300 + "/python3",
    ],
)
def test_what_is_not_run_warm(line: str) -> None:
    assert python_command(f"{line}\n".encode()[:256]) is None


def test_a_file_of_one_long_line() -> None:
    assert python_command(b"#!/usr/bin/python3" + b" " * 300) is None
