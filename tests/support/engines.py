"""Real engines of containers, a registry, and an image made of busybox, without any network but a loopback.

They run in mount and network namespaces of their own: /run, /etc and /dev/shm are theirs, and so are bridges and rules.
Their sockets lie in a folder that everybody sees. The packages are docker.io, podman, runc, busybox-static,
docker-registry and skopeo.
"""

import contextlib
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

IMAGE = "bb:1"
REGISTRY = "127.0.0.1:5000"
_START_SECONDS = 60
_APPLETS = "sh ls echo sleep cat ps true false env id head yes stty tty trap printf kill"
_HOUSE = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
for each in /run /dev/shm; do mount -t tmpfs -o mode=755 tmpfs "$each"; done
ip link set lo up
echo ready
exec sleep infinity
"""
_REGISTRY = """
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}}}
http:
  addr: {address}
"""
# This kernel's control groups are of both versions, which crun does not take, and its limits may not be raised.
_PODMAN = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{folder}/tmp"
[network]
network_config_dir = "{folder}/networks"
"""
_PODMAN_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
_PODMAN_REGISTRIES = """
[[registry]]
location = "{registry}"
insecure = true
"""


class House:
    """The namespaces that the engines live in; they end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        layer = folder / "etc"
        layer.mkdir(parents=True)
        argv = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", _HOUSE, "sh", str(layer)]
        self._holder = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        """Of a process inside."""
        return self._holder.pid

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that shall run inside."""
        return ("nsenter", f"--target={self._holder.pid}", "--mount", "--net", "--")

    def spawn(
        self, argv: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program inside."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.prefix, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def run(self, *argv: str) -> None:
        """Run a program inside that must succeed."""
        finished = subprocess.run([*self.prefix, *argv], capture_output=True, text=True, timeout=120, check=False)
        assert finished.returncode == 0, (argv, finished.stdout, finished.stderr)

    def close(self) -> None:
        """End what runs inside and has forgotten its parent, then the namespaces."""
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait(10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def _members(self) -> list[int]:
        """The processes that were told of our folder: what watches over containers, and nobody else."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if str(self.folder).encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


@dataclass
class Engine:
    """An engine: `docker` or `podman`. `stop` and `start` may alternate."""

    house: House
    name: str
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.house.folder / self.name

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "engine.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        log = self.folder / "log"
        self.process = self.house.spawn(self.argv, log, self.environment)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.request("GET", "/_ping")[0] == 200:
                    return
            assert self.process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError(log.read_text()[-2000:])

    def stop(self) -> None:
        """End it in good order."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)
        self.process = None

    def close(self) -> None:
        """End it, whatever state it is in; what it leaves ends with the house."""
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.remove_all()
            _end(self.process)

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Ask the engine itself."""
        connection = _UnixConnection(self.socket)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": content_type} if data is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that is no refusal."""
        status, answer = self.request(method, path, body)
        assert status < 400, (path, status, answer)
        return json.loads(answer) if answer.strip() else None

    def load(self, archive: Path) -> None:
        """Bring an image."""
        status, answer = self.request("POST", "/images/load", archive.read_bytes(), "application/x-tar")
        assert status == 200 and b"Loaded image" in answer, (status, answer)

    def make(self, name: str, *command: str, start: bool = True, **more: Any) -> str:
        """A container of the engine's own making, in the engines' network; its id."""
        body = {"Image": IMAGE, "Cmd": list(command), "HostConfig": {"NetworkMode": "host"}, **more}
        id: str = self.json("POST", f"/containers/create?name={quote(name)}", body)["Id"]
        if start:
            self.json("POST", f"/containers/{id}/start")
        return id

    def wait(self, id: str) -> int:
        """Wait for a container to end; its exit code."""
        code: int = self.json("POST", f"/containers/{id}/wait")["StatusCode"]
        return code

    def inspect(self, id: str) -> Any:
        """What the engine says of a container."""
        return self.json("GET", f"/containers/{id}/json")

    def remove_all(self) -> None:
        """Remove all containers."""
        for each in self.json("GET", "/containers/json?all=1"):
            self.request("DELETE", f"/containers/{each['Id']}?force=1&v=1")


def docker(house: House) -> Engine:
    """Docker, with its own bridge."""
    folder = house.folder / "docker"
    argv = ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    argv += ["--pidfile", str(folder / "pid"), "-H", f"unix://{folder}/engine.sock", "--storage-driver", "overlay2"]
    return Engine(house, "docker", argv)


def podman(house: House) -> Engine:
    """Podman's service that speaks as Docker does."""
    folder = house.folder / "podman"
    (folder / "networks").mkdir(parents=True)
    environment = {}
    for name, text in (("CONF", _PODMAN), ("STORAGE_CONF", _PODMAN_STORAGE), ("REGISTRIES_CONF", _PODMAN_REGISTRIES)):
        file = folder / f"{name.lower()}.conf"
        file.write_text(text.format(folder=folder, registry=REGISTRY))
        environment[f"CONTAINERS_{name}"] = str(file)
    argv = ["podman", "system", "service", "--time", "0", f"unix://{folder}/engine.sock"]
    return Engine(house, "podman", argv, environment)


@contextlib.contextmanager
def engines(folder: Path) -> Iterator[dict[str, Engine]]:
    """Docker and Podman, each with `IMAGE`, beside a registry that has it as `REGISTRY`/probe/bb:1."""
    with contextlib.ExitStack() as ending:
        house = House(folder)
        ending.callback(house.close)
        archive = folder / "bb.tar"
        archive.write_bytes(image_archive(IMAGE))
        ending.callback(_end, _start_registry(house, archive))
        found = {each.name: each for each in (docker(house), podman(house))}
        for each in found.values():
            ending.callback(each.close)
            each.start()
            each.load(archive)
        yield found


def image_archive(name: str, *command: str) -> bytes:
    """An image of busybox alone, as docker(1) saves one, which runs `command` or a shell."""
    layer = _layer()
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": command or ["/bin/sh"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2024-01-01T00:00:00Z"}],
    }
    described = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    files = {f"{digest}/layer.tar": layer, config_name: described, "manifest.json": json.dumps(manifest).encode()}
    return _tar([_file(path, content) for path, content in files.items()])


def _layer() -> bytes:
    entries: list[tuple[tarfile.TarInfo, bytes]] = []
    for path in ("bin", "tmp", "etc", "proc", "sys", "dev", "run"):
        folder = tarfile.TarInfo(path)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
        entries.append((folder, b""))
    entries.append(_file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755))
    entries.append(_file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"))
    for applet in _APPLETS.split():
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        entries.append((link, b""))
    return _tar(entries)


def _file(path: str, content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    return info, content


def _tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


def _start_registry(house: House, archive: Path) -> "subprocess.Popen[bytes]":
    store, settings = house.folder / "registry", house.folder / "registry.yml"
    store.mkdir()
    settings.write_text(_REGISTRY.format(folder=store, address=REGISTRY))
    log = house.folder / "registry.log"
    process = house.spawn(["docker-registry", "serve", str(settings)], log)
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"docker-archive:{archive}"]
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            house.run(*copy, f"docker://{REGISTRY}/probe/bb:1")
            return process
        except AssertionError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
