"""A PostgreSQL server of our own: on a Unix socket and a loopback port, as the user `postgres`, without fsync."""

import contextlib
import itertools
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "correct horse 9"
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")


def program(name: str) -> str:
    """The path of one of the server's programs, of the newest version there is."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1])


@dataclass
class PostgresServer:
    """A running server."""

    folder: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases, with the password in it."""
        return f"postgresql://app:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"mesh_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return what it prints, values alone."""
        finished = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return finished.stdout

    def control(self, *arguments: str) -> None:
        """Run pg_ctl."""
        run([program("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), *arguments])

    def start(self) -> None:
        """Start it."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
        self.control("start", "-o", f"{options} -c fsync=off -c max_connections=60")

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        self.control("stop", "-m", "fast")


def run(argv: list[str]) -> None:
    """Run a program as the user `postgres`. Its output goes nowhere, for the server would inherit a pipe."""
    subprocess.run([*_AS_POSTGRES, *argv], stdout=subprocess.DEVNULL, cwd="/", timeout=120, check=True)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A new server, stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))  # the user must be able to pass its parents
    try:
        folder.chmod(0o755)
        password = folder / "password"
        password.write_text(PASSWORD)
        shutil.chown(folder, "postgres")
        shutil.chown(password, "postgres")
        options = ["-U", "app", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8"]
        run([program("initdb"), "-D", str(folder / "data"), *options])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = PostgresServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
