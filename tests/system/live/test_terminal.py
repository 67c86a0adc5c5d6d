"""/ws/terminal of the real server over TLS: real shells of real users in a machine of their own."""

import hashlib
import re
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from bench.measure import memory, reset_peak
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer, system_server
from tests.support.processes import alive, children, wait_for

REATTACH = 4.0
LIMIT = 3
CONFIG = f"""
websocket_limit = 100
terminals_per_user = {LIMIT}
terminal_reattach = {REATTACH}
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("terminal"), CONFIG) as server:
        yield server


class Shell:
    """A terminal as a client sees it: what it printed so far, and other messages."""

    def __init__(self, socket: LiveSocket, **payload: object) -> None:
        self.socket = socket
        self.text = ""
        self.ids: list[int] = []
        self.others: list[Any] = []
        socket.say("subscribe", payload=payload)
        self.facts = socket.hear()
        assert self.facts["type"] == "session", self.facts
        self.id = self.facts["payload"]["session"]
        self.pid = self.facts["payload"]["pid"]

    def type(self, text: str) -> None:
        self.socket.say("input", data=text)

    def hear(self) -> Any:
        message = self.socket.hear()
        if message["type"] == "output":
            self.text += message["payload"]["data"]
            self.ids.append(message["id"])
        else:
            self.others.append(message)
        return message

    def until(self, text: str) -> str:
        """What it has printed, once that holds `text`."""
        while text not in self.text:
            self.hear()
        return self.text

    def answer(self) -> Any:
        """The next message that is no output."""
        while self.hear()["type"] == "output":
            pass
        return self.others[-1]

    def quiet(self) -> None:
        """Wait until the shell is ready, and let it print neither prompts nor what is typed."""
        self.type("PS1=; PROMPT_COMMAND=; set +o emacs; stty -echo; echo rea''dy\n")
        self.until("ready\r\n")
        self.text = ""

    def run(self, command: str) -> list[str]:
        """The lines that a command prints."""
        self.text = ""
        self.type(f"{command}; echo don''e\n")
        return self.until("done\r\n").split("\r\n")[:-2]


@pytest.fixture
def shells(server: SystemServer) -> Iterator[Callable[..., Shell]]:
    """Opens terminals of `reader`, or of `who`; all are over at the end."""
    with ExitStack() as stack:
        opened: list[Shell] = []

        def shell(who: str = "reader", *, quiet: bool = True, **payload: object) -> Shell:
            found = Shell(stack.enter_context(live_socket(server, "/ws/terminal", who)), **payload)
            opened.append(found)
            if quiet:
                found.quiet()
            return found

        yield shell
    wait_for(lambda: not any(alive(each.pid) for each in opened), "the end of all shells")


def drop(shell: Shell) -> None:
    """Break the connection: the server gets an RST and no farewell."""
    shell.socket.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    shell.socket.connection.close()


def waits_to_write(shell: int) -> bool:
    """Whether the program in the foreground has used no processor for a moment."""
    (child,) = children(shell)
    before = ticks(child)
    time.sleep(0.3)
    return ticks(child) == before


def ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def refused(server: SystemServer, who: str = "reader", **payload: object) -> Any:
    """The error that answers `subscribe`."""
    with live_socket(server, "/ws/terminal", who) as socket:
        socket.say("subscribe", payload=payload, id="mine")
        error = socket.hear()
        socket.say("ping")
        assert socket.hear()["type"] == "pong"  # the socket is kept
    assert (error["type"], error["id"]) == ("error", "mine")
    return error


def audited(server: SystemServer, action: str) -> list[tuple[str, str, str, str]]:
    """Who, upon what, with which outcome and details."""
    file = server.server.state / "appliance.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        query = "SELECT actor_name, object, outcome, details FROM audit WHERE action = ? ORDER BY id"
        return database.execute(query, (action,)).fetchall()


class TestWhoseShellItIs:
    def test_it_is_a_login_shell_of_the_user_with_his_groups(
        self, server: SystemServer, shells: Callable[..., Shell]
    ) -> None:
        shell = shells("admin")
        machine = server.machine
        assert shell.run("whoami; echo $0; pwd; umask; tty | cut -c 1-8; echo $((PPID > 1))") == [
            *("admin", "-bash", "/home/admin", "0022", "/dev/pts", "1"),
        ]
        assert shell.run("id") == [machine.run("id", "admin").stdout.strip()]
        assert "sudo" in shell.run("id -Gn")[0].split()
        assert shell.run("ps -o sid=,pid= -p $$ | awk '{print $1 == $2}'; stty size") == ["1", "24 80"]

    def test_nothing_of_the_servers_is_in_it(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        environment = Path(f"/proc/{shell.pid}/environ").read_bytes().decode().split("\0")[:-1]
        assert dict(each.split("=", 1) for each in environment) == {
            "HOME": "/home/reader",
            "USER": "reader",
            "LOGNAME": "reader",
            "SHELL": "/bin/bash",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        assert {each.readlink().as_posix()[:9] for each in Path(f"/proc/{shell.pid}/fd").iterdir()} == {"/dev/pts/"}
        status = Path(f"/proc/{shell.pid}/status").read_text()
        uid = server.machine.run("id", "-u", "reader").stdout.strip()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
        assert "CapEff:\t0000000000000000\n" in status
        assert shell.run("ulimit -Sn") == ["1024"]

    def test_another_shell(self, shells: Callable[..., Shell]) -> None:
        shell = shells(shell="/bin/dash", quiet=False)
        assert shell.facts["payload"]["shell"] == "/bin/dash"
        shell.type("echo $0 $SHELL\n")
        shell.until("-dash /bin/dash\r\n")

    @pytest.mark.parametrize("shell", ["/usr/bin/python3", "/bin/bash -c id", "../bin/bash", "/home/reader/own"])
    def test_a_shell_outside_the_list_is_refused(self, server: SystemServer, shell: str) -> None:
        error = refused(server, shell=shell)
        assert error["code"] == "INVALID_INPUT"
        assert "/etc/shells" in error["error"]

    def test_trying_again_and_again(self, server: SystemServer) -> None:
        before = len(audited(server, "terminal.start"))
        with live_socket(server, "/ws/terminal", "reader") as socket:
            for number in range(5):
                socket.say("subscribe", payload={"shell": f"/bin/{number}"})
                assert socket.hear()["code"] == "INVALID_INPUT"
            for _ in range(20):
                socket.say("subscribe", payload={"shell": "/bin/bash"})
            assert socket.end() == 1008
        assert len(audited(server, "terminal.start")) == before + 5

    @pytest.mark.parametrize("shell", [None, "/bin/bash"])
    def test_a_user_without_a_log_in_shell_is_refused(self, server: SystemServer, shell: str | None) -> None:
        if "closed" not in server.tokens:
            server.machine.add_user("closed")
            server.log_in("closed")
            server.machine.run("usermod", "-s", "/usr/sbin/nologin", "closed")
            server.api("PUT", "/users/closed", {"groups": ""})  # has the server look at it again
        error = refused(server, "closed", **({} if shell is None else {"shell": shell}))
        assert error["code"] == "PERMISSION_DENIED"
        assert "nologin" in error["error"]

    def test_one_too_many(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        opened = [shells(quiet=False) for _ in range(LIMIT)]
        assert refused(server)["code"] == "CONFLICT"
        opened[0].type("exit\n")
        opened[0].answer()
        shells(quiet=False)

    def test_only_who_has_logged_in(self, server: SystemServer) -> None:
        with live_socket(server, "/ws/terminal", None) as socket:
            socket.say("subscribe", payload={"cols": 80, "rows": 24})
            assert socket.hear()["error"] == "Not authenticated"
            assert socket.log_in("wrong")["code"] == "AUTH_FAILED"
            assert socket.end() == 4401


class TestWhatIsSaid:
    def test_both_forms_of_input(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.socket.say("input", payload={"data": "echo $((6 * 7))\n"})
        shell.until("42\r\n")
        shell.socket.say("input", data="echo $((6 * 8)) ")
        shell.socket.say("input", data="€ 😀\n")
        shell.until("48 € 😀\r\n")

    def test_what_the_output_looks_like(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("printf abc\n")
        message = shell.hear()
        assert message == {"type": "output", "payload": {"data": "abc"}, "id": message["id"]}
        assert shell.ids == list(range(1, len(shell.ids) + 1))

    def test_resizing_in_both_forms(self, shells: Callable[..., Shell]) -> None:
        shell = shells(cols=100, rows=30)
        assert shell.run("stty size") == ["30 100"]
        shell.socket.say("resize", cols=132, rows=50)
        assert shell.answer() == {"type": "resize", "payload": {"success": True, "rows": 50, "cols": 132}}
        assert shell.run("stty size") == ["50 132"]
        shell.run("trap 'echo size is $(stty size)' WINCH")
        shell.socket.say("resize", payload={"cols": 1000, "rows": 1}, id=5)
        assert shell.answer() == {"type": "resize", "payload": {"success": True, "rows": 1, "cols": 1000}, "id": 5}
        shell.type("\n")
        shell.until("size is 1 1000\r\n")

    @pytest.mark.parametrize("cols", [-1, 0, 1001, 99_999_999, 10**30, "80", 80.5, None, [], True])
    def test_sizes_that_are_none(self, server: SystemServer, shells: Callable[..., Shell], cols: object) -> None:
        shell = shells()
        for fields in ({"cols": cols, "rows": 24}, {"payload": {"cols": cols, "rows": 24}}, {"cols": 80}, {}):
            shell.socket.say("resize", **fields)
            error = shell.answer()
            assert (error["type"], error["code"]) == ("error", "INVALID_INPUT"), fields
            assert re.match(r"(payload\.)?(cols|rows): ", error["error"]), error
        assert shell.run("stty size") == ["24 80"]
        shell.type("exit\n")
        shell.answer()
        assert refused(server, cols=cols, rows=24)["code"] == "INVALID_INPUT"

    def test_what_comes_too_early_too_late_or_without_data(
        self, server: SystemServer, shells: Callable[..., Shell]
    ) -> None:
        with live_socket(server, "/ws/terminal", "reader") as socket:
            socket.say("input", data="x")
            assert socket.hear()["code"] == "CONFLICT"
            socket.say("resize", cols=80, rows=24)
            assert socket.hear()["code"] == "CONFLICT"
        shell = shells()
        wrong: list[dict[str, object]] = [{}, {"data": 5}, {"payload": {}}, {"payload": "x"}]
        for fields in wrong:
            shell.socket.say("input", **fields)
            assert shell.answer()["code"] == "INVALID_INPUT", fields
        shell.socket.say("subscribe", payload={"cols": 80, "rows": 24})
        assert shell.answer()["code"] == "CONFLICT"
        shell.socket.send(b'{"type":"input","data":"\\ud800"}')  # half of a character
        assert shell.answer()["type"] == "error"
        assert shell.run("echo still here") == ["still here"]


class TestFlow:
    def test_characters_arrive_whole(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("printf '%060000d' 0 | sed 's/0/€/g'; printf '%060000d' 0 | sed 's/0/😀/g'; echo e''nd\n")
        text = shell.until("end\r\n")
        assert text == "€" * 60_000 + "😀" * 60_000 + "end\r\n"

    def test_a_reader_that_stalls_gets_everything_and_costs_no_memory(
        self, server: SystemServer, shells: Callable[..., Shell]
    ) -> None:
        shell = shells()
        pid = server.server.pid
        reset_peak(pid)
        before = memory(pid, "VmRSS")
        shell.type("seq 1 2000000; echo e''nd\n")
        time.sleep(3)
        pieces: list[str] = []
        while "end" not in (pieces[-1] if pieces else ""):
            pieces.append(shell.hear()["payload"]["data"])
        assert "".join(pieces) == "".join(f"{number}\r\n" for number in range(1, 2_000_001)) + "end\r\n"
        assert memory(pid, "VmHWM") - before < 20 * MIB
        shell.text = ""

    def test_more_is_typed_than_is_read(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("stty raw; echo g''o; sleep 1; head -c 4000000 | md5sum\n")
        shell.until("go\n")
        pid = server.server.pid
        reset_peak(pid)
        before = memory(pid, "VmRSS")
        for _ in range(40):
            shell.type("x" * 100_000)
        shell.until(hashlib.md5(b"x" * 4_000_000).hexdigest())
        assert memory(pid, "VmHWM") - before < 20 * MIB


class TestTheEnd:
    def test_an_exit_code(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("exit 7\n")
        assert shell.answer() == {"type": "exit", "payload": {"code": 7, "signal": None}}
        assert shell.socket.end() == 1000
        assert not Path(f"/proc/{shell.pid}").exists()  # no zombie
        assert shell.pid not in children(server.server.pid)

    def test_a_signal(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("kill -9 $$\n")
        assert shell.answer()["payload"] == {"code": None, "signal": "SIGKILL"}
        assert shell.socket.end() == 1000

    def test_no_orphans(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        (pid,) = shell.run("sleep 1000 & echo $!")[-1:]
        shell.type("disown; exit 3\n")
        assert shell.answer()["payload"]["code"] == 3
        assert not alive(int(pid))

    @pytest.mark.parametrize("how", ["close", "unsubscribe"])
    def test_hanging_up(self, shells: Callable[..., Shell], how: str) -> None:
        shell = shells()
        (pid,) = shell.run("sleep 1000 & echo $!")[-1:]
        if how == "close":
            shell.socket.close()
        else:
            shell.socket.say("unsubscribe")
            assert shell.answer()["payload"] == {"code": None, "signal": "SIGHUP"}
            assert shell.socket.end() == 1000
        wait_for(lambda: not alive(int(pid)) and not Path(f"/proc/{shell.pid}").exists(), "the end of the session")

    def test_a_connection_that_stays_away(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        (pid,) = shell.run("sleep 1000 & echo $!")[-1:]
        drop(shell)
        begun = time.monotonic()
        wait_for(lambda: not Path(f"/proc/{shell.pid}").exists(), "the end of the shell")
        assert time.monotonic() - begun > REATTACH / 2
        wait_for(lambda: not alive(int(pid)), "the end of its child")
        assert refused(server, session=shell.id)["code"] == "NOT_FOUND"

    @pytest.mark.parametrize("change", ["lock", "regroup"])
    def test_an_account_that_changes(self, server: SystemServer, shells: Callable[..., Shell], change: str) -> None:
        name = f"leaver{change}"
        server.machine.run("groupadd", "-f", "helpers")
        server.machine.add_user(name, "correct horse 7", "helpers")
        server.log_in(name)
        server.log_in("admin")
        shell = shells(name)
        body: dict[str, object] = {"locked": True} if change == "lock" else {"groups": ""}
        assert server.api("PUT", f"/users/{name}", body).status == 200
        wait_for(lambda: not Path(f"/proc/{shell.pid}").exists(), "the end of the shell")
        assert shell.socket.end() == (4401 if change == "lock" else 1000)


class TestComingBack:
    def test_what_was_printed_meanwhile(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.run("x=kept")
        shell.type("sleep 0.5; echo mean''while; seq 1 20000\n")
        drop(shell)
        again = shells(quiet=False, session=shell.id, cols=90, rows=40)
        facts = again.facts["payload"]
        assert (facts["session"], facts["pid"]) == (shell.id, shell.pid)
        assert (facts["reattached"], facts["complete"]) == (True, True)
        numbers = "".join(f"{number}\r\n" for number in range(1, 20_001))
        assert again.until("\n20000\r\n") == f"meanwhile\r\n{numbers}"
        assert again.run("echo $x; stty size") == ["kept", "40 90"]

    def test_what_was_lost_on_the_way(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.run("echo one")
        last = shell.ids[-1]
        shell.type("echo two\n")
        shell.until("two\r\n")
        drop(shell)
        again = shells(quiet=False, session=shell.id, after=last)
        assert again.until("two\r\n") == "two\r\n"
        assert again.ids[0] == last + 1

    def test_a_reader_that_stalled_and_was_lost(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("seq 1 1000000; echo e''nd\n")
        shell.until("1000\r\n")
        wait_for(lambda: waits_to_write(shell.pid), "the program to wait")
        last = shell.ids[-1]
        drop(shell)
        again = shells(quiet=False, session=shell.id, after=last)
        assert again.facts["payload"]["complete"] is False  # more was on the way than is kept
        again.until("\n1000000\r\nend\r\n")
        assert again.run("echo here") == ["here"]
        assert "Failed while" not in server.server.log.read_text()

    def test_the_newer_connection_wins(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        again = shells(quiet=False, session=shell.id)
        assert shell.socket.end() == 4409
        assert again.run("echo here") == ["here"]

    def test_the_end_is_told_to_who_comes_back(self, shells: Callable[..., Shell]) -> None:
        shell = shells()
        shell.type("sleep 0.3; exit 5\n")
        drop(shell)
        wait_for(lambda: not Path(f"/proc/{shell.pid}").exists(), "the end of the shell")
        again = shells(quiet=False, session=shell.id)
        assert again.answer()["payload"] == {"code": 5, "signal": None}
        assert again.socket.end() == 1000

    def test_another_users_is_refused(self, server: SystemServer, shells: Callable[..., Shell]) -> None:
        shell = shells()
        for who, id in (("admin", shell.id), ("reader", "x" * 32), ("reader", "")):
            error = refused(server, who, session=id)
            assert error["code"] == "NOT_FOUND"
        assert refused(server, session="x" * 65)["code"] == "INVALID_INPUT"
        assert shell.run("echo mine") == ["mine"]


def test_what_is_written_down_and_what_is_not(server: SystemServer, shells: Callable[..., Shell]) -> None:
    shell = shells("admin")
    shell.run("echo keystroke-4711 > /dev/null; read -rs line <<< secret-4712")
    drop(shell)
    again = shells("admin", quiet=False, session=shell.id)
    again.type("exit 9 # keystroke-4713\n")
    again.answer()
    refused(server, "admin", shell="/usr/bin/python3")
    name = f"admin, process {shell.pid}"
    wait_for(lambda: name in [entry[1] for entry in audited(server, "terminal.end")], "the audit entry")
    started = [entry for entry in audited(server, "terminal.start") if entry[1] == name]
    assert started == [("admin", name, "success", '{"shell":"/bin/bash"}')]
    assert [entry[0::2] for entry in audited(server, "terminal.reattach") if entry[1] == name] == [("admin", "success")]
    (ended,) = (entry for entry in audited(server, "terminal.end") if entry[1] == name)
    assert re.fullmatch(r'\{"code":9,"reason":"exit","seconds":[\d.]+,"signal":null\}', ended[3])
    assert audited(server, "terminal.start")[-1][1:3] == (
        "admin",
        "refused: shell: '/usr/bin/python3' is not one of those in /etc/shells",
    )
    written = server.server.log.read_bytes()
    for file in server.server.state.rglob("*"):
        if file.is_file():
            written += file.read_bytes()
    assert name.encode() in written
    for text in ("keystroke-471", "secret-471", shell.id, server.tokens["admin"]):
        assert text.encode() not in written


def test_the_end_of_the_server_is_the_end_of_the_shells(tmp_path: Path) -> None:
    with system_server(tmp_path, CONFIG) as server, ExitStack() as stack:
        shell = Shell(stack.enter_context(live_socket(server, "/ws/terminal", "reader")))
        shell.quiet()
        other = Shell(stack.enter_context(live_socket(server, "/ws/terminal", "admin")))
        other.quiet()
        drop(other)
        server.server.stop()
        assert shell.socket.end() == 1001
        assert not alive(shell.pid) and not alive(other.pid)
        assert [entry[3].split('"')[5] for entry in audited(server, "terminal.end")] == ["shutdown"] * 2
        server.server.start()
        shell = Shell(stack.enter_context(live_socket(server, "/ws/terminal", "reader")))
        shell.quiet()
        shell.type("sleep 1000 &\n")
        server.server.kill()
        wait_for(lambda: not alive(shell.pid), "the end of the shell of a killed server")
