"""The real server in a machine of its own, with plugins, ACLs and users of both kinds."""

import contextlib
import json
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.rpc.passwords import hash_password
from appliance.secret import Secret
from tests.support.machine import PASSWORD, Machine, SystemServer, machine
from tests.support.server import Answer, Server

LOCAL_PASSWORD = "Nethesis,1234"
_HASH = hash_password(Secret(LOCAL_PASSWORD))

USERS = f"""
[user.root]
password_hash = "{_HASH}"

[user.reader]
password_hash = "{_HASH}"
read = ["test-*", "!test-secret"]

[user.nobody]
password_hash = "{_HASH}"

[group.operators]
write = ["test-writer"]
"""

ACLS: dict[str, dict[str, object]] = {
    "superuser": {"write": {"ubus": {"*": ["*"]}, "uci": ["*"]}},
    "test-reader": {"read": {"ubus": {"ns.test": ["say", "exit"], "session": ["list"]}}, "write": {}},
    "test-writer": {"read": {"ubus": {"ns.test": ["say"]}}, "write": {"ubus": {"ns.test": ["set-*"]}}},
    "test-secret": {"read": {"ubus": {"ns.test": ["hidden"]}}},
}

# Each method stands for a branch of the contract's table.
PLUGIN = r"""#!/bin/sh
case "$1 $2" in
"list ") cat <<'END'
{"say":{"message":"value","number":32},"exit":{"code":32},"text":{"text":"value"},"kill":{},"hang":{},"noise":{},
 "background":{},"long":{},"size":{},"set-it":{},"hidden":{},"progress":{},"env":{},"keep":{}}
END
;;
"call say" | "call set-it" | "call hidden") cat ;;
"call keep") cat; sleep 0.4 ;;
"call exit") exit "$(sed 's/[^0-9]//g')" ;;
"call text") exec python3 -c 'import json,sys; sys.stdout.write(json.load(sys.stdin)["text"])' ;;
"call kill") kill -KILL $$ ;;
"call hang") sleep 987654 & echo $! > "FOLDER/hang.pid"; wait ;;
"call noise") echo "password is hunter2" >&2; echo '{"kept":true}'; echo noise >&2 ;;
"call background") sleep 300 & echo $! > "FOLDER/background.pid"; echo '{"answered":true}' ;;
"call long") head -c 50000000 /dev/zero | tr '\0' x | sed 's/^/"/; s/$/"/' ;;
"call size") printf '{"size":%d}' "$(wc -c)" ;;
"call progress") echo '{"progress":40}' >&3; sleep 0.5; echo '{"done":true}' ;;
"call env") printf '{"env":"%s"}' "$(env | tr '\n"' '  ')" ;;
*) exit 3 ;;
esac
"""


@dataclass
class RpcServer:
    """A server with tokens by name of their users."""

    machine: Machine
    server: Server
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def plugins(self) -> Path:
        """Where its plugins are."""
        return self.folder / "plugins"

    @property
    def acls(self) -> Path:
        """Where its ACL files are."""
        return self.folder / "acl.d"

    @property
    def users_file(self) -> Path:
        """Its local users."""
        return self.server.state / "rpc-users.toml"

    def curl(self, *arguments: str, path: str, stdin: bytes | None = None) -> Answer:
        """Run curl inside; `path` counts from the root."""
        return self.server.curl(*arguments, self.server.base + path, stdin=stdin)

    def api(self, method: str, path: str, body: object = None, *headers: str, token: str | None = None) -> Answer:
        """Send a request to a path below /api, with a body where one is given, as JSON unless it is bytes."""
        arguments = ["-X", method]
        for header in headers:
            arguments += ["-H", header]
        if token is not None:
            arguments += ["-H", f"Authorization: Bearer {token}"]
        stdin = None
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
            stdin = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.curl(*arguments, path="/api" + path, stdin=stdin)

    def many(self, requests: Iterable[tuple[str, str, Sequence[str]]]) -> list[Answer]:
        """Send requests by one curl: method, path from the root, headers."""
        return SystemServer(self.machine, self.server).many(requests)

    def log_in(self, username: str = "root", password: str = LOCAL_PASSWORD) -> str:
        """Log in, keep the token by the user's name, and return it."""
        answer = self.api("POST", "/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        token: str = answer.json["token"]
        self.tokens[username] = token
        return token

    def sudo(self, username: str = "root") -> str:
        """A token in sudo mode of who has logged in."""
        answer = self.api("POST", "/sudo", {"password": LOCAL_PASSWORD}, token=self.tokens[username])
        assert answer.status == 200, answer
        token: str = answer.json["data"]["token"]
        return token

    def call(self, path: str, method: str, payload: object = None, *headers: str, who: str = "root") -> Answer:
        """Call a method as a user who has logged in; `payload` in bytes goes as it is."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        names = json.dumps({"path": path, "method": method})[:-1].encode()
        body = names + b"}" if payload is None else names + b',"payload":' + raw + b"}"
        return self.api("POST", "/ubus/call", body, *headers, token=self.tokens[who])

    def data(self, path: str, method: str, payload: object = None, who: str = "root") -> Any:
        """The data of a call that succeeds."""
        answer = self.call(path, method, payload, who=who)
        assert answer.status == 200, answer
        assert answer.json["message"] == "ubus call action success"
        return answer.json["data"]

    def add_plugin(self, name: str, text: str) -> Path:
        """Put a plugin into its folder, as a person would: written elsewhere, made executable, moved."""
        path = self.plugins / name
        new = self.folder / f".{name}"
        new.write_text(text)
        new.chmod(new.stat().st_mode | stat.S_IXUSR)
        new.rename(path)
        return path

    def audit(self) -> list[dict[str, Any]]:
        """The audit log's rows of this surface, the oldest first."""
        with contextlib.closing(sqlite3.connect(self.server.state / "appliance.db")) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM audit WHERE surface = 'rpc' ORDER BY id").fetchall()
        return [{**row, "details": json.loads(row["details"])} for row in map(dict, rows)]


@contextlib.contextmanager
def rpc_server(folder: Path, config: str = "", *, rate: int = 0, host_users: bool = False) -> Iterator[RpcServer]:
    """
    A server with the plugin `ns.test`, where `root` has logged in.

    `config` are keys of `[rpc]`, then other tables. With `host_users` the machine has `hostadmin` (group sudo),
    `ops` (group operators) and `plain`, with the password `PASSWORD`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with machine(folder) as inside:
        if host_users:
            inside.run("groupadd", "operators")
            inside.add_user("hostadmin", PASSWORD, "sudo")
            inside.add_user("ops", PASSWORD, "operators")
            inside.add_user("plain")
        settings = f"""[rpc]
plugin_directories = ["{folder}/plugins"]
acl_directories = ["{folder}/acl.d"]
rate_limit_per_second = {rate}
{config}"""
        server = Server(folder / "server", settings, prefix=inside.prefix)
        found = RpcServer(inside, server, folder)
        found.plugins.mkdir()
        found.acls.mkdir()
        for name, group in ACLS.items():
            (found.acls / f"{name}.json").write_text(json.dumps({name: {"description": name, **group}}))
        found.add_plugin("ns.test", PLUGIN.replace("FOLDER", str(folder)))
        server.state.mkdir(parents=True, mode=0o700)
        found.users_file.write_text(USERS)
        found.users_file.chmod(0o600)
        try:
            server.start()
            found.log_in()
            yield found
        finally:
            if server.process is not None:
                server.stop()
