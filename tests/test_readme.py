"""What the README promises holds when it is pasted."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from appliance.cli import main
from tests.support.engines import Engine
from tests.support.kubernetes.double import double
from tests.support.kubernetes.passage import passage
from tests.support.machine import machine, system_server
from tests.support.node import command
from tests.support.server import ROOT, Server, running

README = (ROOT / "README.md").read_text("utf-8")


def block_after(heading: str, language: str = "sh") -> str:
    """The first block in a language below a heading."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(f"\n## {heading}\n") :], re.DOTALL)
    assert found is not None
    return found[1]


def test_the_settings_table_is_the_one_the_program_prints() -> None:
    printed = CliRunner().invoke(main, ["check-config", "--explain", "--markdown"])
    assert printed.exit_code == 0
    assert printed.output in README


def test_commands_are_one_line_each() -> None:
    assert block_after("Run it").count("\n") == 1
    assert block_after("Test it").count("\n") == 1


def test_the_tour_works_when_pasted(tmp_path: Path) -> None:
    """In a fresh folder, against a server in its first run; `appliance` as it would lie in the virtual environment."""
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    program = commands / "appliance"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m appliance.cli "$@"\n')
    program.chmod(0o755)
    with running(tmp_path / "server", "", "--first-run", token=None) as server:
        finished = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", block_after("A tour with curl")],
            cwd=tmp_path,
            env={**os.environ, "STATE": str(server.state), "HOST": f"127.0.0.1:{server.port}"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    shown = finished.stdout
    assert finished.returncode == 0, shown + finished.stderr
    assert "403 Forbidden" not in shown
    assert "Error-Message" not in shown
    for expected in (
        '{"version":"1.0.0"}',
        '{"version":"1.1.0"}',
        '"mode":"static"',
        '"status":"success","percentage":100',
        '"app":"enterprise"',
        '"filesize":',
        "etc/network.json",
        "debug.key.enc",
    ):
        assert expected in shown, (expected, shown)
    assert shown.count('"status":"success"') == 3  # update, certificate, backup
    assert (server.admin / "staged").is_dir()


def test_the_examples_of_the_system_api_work_when_pasted(tmp_path: Path, all_engines: dict[str, Engine]) -> None:
    """By curl, Python and JavaScript, with no more changed than the port; the shell's part sets the trust for all."""
    (tmp_path / "example.py").write_text(block_after("The system API", "python"))
    (tmp_path / "example.mjs").write_text(block_after("The system API", "javascript"))
    script = (
        f"cd {tmp_path}\n" + block_after("The system API") + f"\necho\n{sys.executable} example.py\nnode example.mjs\n"
    )
    docker = all_engines["docker"]
    docker.make("example", "/bin/true", start=False)
    with system_server(tmp_path / "server", f'docker_socket = "{docker.socket}"\n') as server:
        server.machine.add_user("your-username", "your-password")
        for name in ("example.py", "example.mjs"):
            path = tmp_path / name
            path.write_text(path.read_text().replace("localhost:8443", f"localhost:{server.server.port}"))
        finished = subprocess.run(
            [*server.machine.prefix, "bash", "-eu", "-o", "pipefail"],
            input=script.replace("localhost:8443", f"localhost:{server.server.port}"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        hostname = server.machine.run("hostname").stdout.strip()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    docker.remove_all()
    curl, python, containers, *node = finished.stdout.strip().split("\n")
    summary, _, listed = curl.partition("}{")
    assert json.loads(summary + "}")["data"]["hostname"] == hostname
    assert json.loads("{" + listed)["data"]["containers"][0]["name"] == "example"
    assert ast.literal_eval(python)["data"]["hostname"] == hostname
    assert ast.literal_eval(containers)["data"]["containers"][0]["name"] == "example"
    assert f"hostname: '{hostname}'" in "\n".join(node)
    assert "name: 'example'" in "\n".join(node)


def test_the_examples_of_kubernetes_work_when_pasted(tmp_path: Path) -> None:
    """In the shell that has logged in by the first of the system API's."""
    login = block_after("The system API").partition("# Get the summary")[0]
    with double(tmp_path / "cluster") as cluster:
        config = f'kubeconfig = "{cluster.kubeconfig()}"\n'
        with system_server(tmp_path / "server", config) as server, passage(server.machine, cluster.port):
            server.machine.add_user("your-username", "your-password", "sudo")
            script = f"cd {tmp_path}\n{login}\n{block_after('Kubernetes')}"
            finished = subprocess.run(
                [*server.machine.prefix, "bash", "-eu", "-o", "pipefail"],
                input=script.replace("localhost:8443", f"localhost:{server.server.port}"),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    applied, pods, namespaces, deleted = (
        answer["data"] for answer in map(json.loads, finished.stdout.replace("}{", "}\n{").splitlines())
    )
    assert [each["kind"] for each in applied["results"]] == ["Namespace", "ConfigMap"]
    assert pods == {"pods": [], "count": 0, "continue": ""}
    assert "example" in [each["name"] for each in namespaces["namespaces"]]
    assert deleted["message"] == "ConfigMap example/web deleted"


def test_the_example_of_a_websocket_works_in_node(tmp_path: Path) -> None:
    """With no more changed than port and token; a line is added that ends it after one sample."""
    with system_server(tmp_path / "server") as server:
        text = block_after("Live figures: WebSockets", "javascript")
        assert text.count("your-jwt-token") == text.count("localhost:8443") == 1
        example = tmp_path / "example.mjs"
        example.write_text(
            "import { createRequire } from 'node:module';\n"
            "globalThis.WebSocket ??= createRequire(import.meta.url)('undici').WebSocket;\n"
            + text.replace("your-jwt-token", server.tokens["reader"]).replace("8443", str(server.server.port))
            + "let left = 6;\nws.addEventListener('message', () => --left === 0 && ws.close());\n"
        )
        finished = subprocess.run(
            [*server.machine.prefix, *command(), str(example)],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.server.certificate)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "authenticated: true, username: 'reader'" in finished.stdout
    for metric in ("cpu", "memory", "disk", "network", "load"):
        assert f"metric: '{metric}'" in finished.stdout


def test_writing_a_plugin_works_when_pasted(tmp_path: Path) -> None:
    """From the file to the call; nothing differs but where the folders and the port are."""
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, module in (("appliance", "appliance.cli"), ("api-cli", "appliance.api_cli")):
        program = commands / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    plugins, acls = tmp_path / "plugins", tmp_path / "acl.d"
    plugins.mkdir()
    config = f'[rpc]\nplugin_directories = ["{plugins}"]\nacl_directories = ["{acls}"]\n'
    with machine(tmp_path) as inside:
        inside.run("mkdir", "-p", "/etc/appliance")
        inside.run("tee", "/etc/appliance/appliance.toml", stdin=config)
        server = Server(tmp_path / "server", config, prefix=inside.prefix)
        server.start()
        try:
            finished = subprocess.run(
                [*inside.prefix, "bash", "-eu", "-o", "pipefail", "-c", f"cd {tmp_path}\n" + block_after("Plugins")],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "STATE": str(server.state),
                    "PLUGINS": str(plugins),
                    "ACLS": str(acls),
                    "APPLIANCE_URL": f"{server.base}/api",
                },
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
        finally:
            server.stop()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.splitlines() == [
        f"{server.state}/rpc-users.toml: user root set",
        '{"result": "hello world"}',
        '{"result": "from a pipe"}',
        "exit code 1",
        "exit code 1",
        "exit code 2",
        '{"code":200,"data":{"result": "hello curl"},"message":"ubus call action success"}',
        f"{server.state}/rpc-users.toml: user reader set",
        '{"result": "myvalue"}',
        "reader may call ns.example say: example-reader (read)",
    ]
    for expected in ("400 validation_failed", "500 no_such_mood", "401 incorrect Username or Password"):
        assert expected in finished.stderr


def test_two_machines_of_a_mesh_ping_each_other_when_pasted(tmp_path: Path) -> None:
    # What is left of it where it fails in the middle ends with the shell.
    script = f"trap 'kill $(jobs -p) || true' EXIT\ncd {tmp_path}\n" + block_after("A mesh")
    with system_server(tmp_path / "server") as server:
        finished = subprocess.run(
            [*server.machine.prefix, "bash", "-eu", "-o", "pipefail", "-c", script],
            env={**os.environ, "STATE": str(server.server.state), "HOST": f"localhost:{server.server.port}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        left = server.machine.run("ip", "netns", "list").stdout
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "bytes from 10.42.0.1" in finished.stdout
    assert left == ""
