"""The real containerd with its CRI plugin, and what a kubelet would do with it. The packages are containerd and runc.

It runs in namespaces of its own (`House`); pods have the network of those. What makes pods and containers speaks CRI as
the server does, by further messages of the same interface.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from appliance.host.containers.cri.schema import message_classes
from appliance.host.containers.cri.v1 import MESSAGES, Fields
from tests.support.engines import House, image_archive

IMAGE = "docker.io/library/bb:1"
_PAUSE = "docker.io/library/pause:1"
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # other tests of this process fork
_START_SECONDS = 60
# Limits may not be raised here, and control groups are not systemd's.
_CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
{disabled}
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{folder}/cni"
"""
_NODE, _CONTAINER, _POD = 2, 1, 0
_FURTHER: Mapping[str, Fields] = {
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "string")},
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"),
        "log_directory": (3, "string"),
        "linux": (8, "LinuxPodSandboxConfig"),
    },
    "PodSandboxMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string")},
    "LinuxPodSandboxConfig": {"security_context": (2, "LinuxSandboxSecurityContext")},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption")},
    "NamespaceOption": {"network": (1, "int32"), "pid": (2, "int32"), "ipc": (3, "int32")},
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, "string"),
        "config": (2, "ContainerConfig"),
        "sandbox_config": (3, "PodSandboxConfig"),
    },
    "CreateContainerResponse": {"container_id": (1, "string")},
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"),
        "image": (2, "ImageSpec"),
        "command": (3, "repeated string"),
        "envs": (6, "repeated KeyValue"),
        "mounts": (7, "repeated Mount"),
        "labels": (9, "map"),
        "annotations": (10, "map"),
        "log_path": (11, "string"),
        "working_dir": (5, "string"),
        "tty": (14, "bool"),
        "linux": (15, "LinuxContainerConfig"),
    },
    "KeyValue": {"key": (1, "string"), "value": (2, "bytes")},
    "LinuxContainerConfig": {"security_context": (2, "LinuxContainerSecurityContext")},
    "LinuxContainerSecurityContext": {"namespace_options": (3, "NamespaceOption")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "RemovePodSandboxResponse": {},
    "ReopenContainerLogRequest": {"container_id": (1, "string")},
    "ReopenContainerLogResponse": {},
}


class Containerd:
    """containerd, with CRI or as Docker's packages bring it. `stop` and `start` may alternate."""

    def __init__(self, house: House, *, has_cri: bool = True) -> None:
        self.folder = house.folder / ("containerd" if has_cri else "plain")
        self.folder.mkdir()
        self.process: Any = None
        self._house = house
        self._has_cri = has_cri
        self._classes = message_classes({**MESSAGES, **_FURTHER})
        self._channel = grpc.insecure_channel(f"unix:{self.socket}", [("grpc.max_reconnect_backoff_ms", 100)])
        self._attempts = count()
        self._pod = ""
        spaces = {"network": _NODE, "pid": _CONTAINER, "ipc": _POD}
        self._sandbox = {
            "metadata": {"name": "pod", "uid": "u-1", "namespace": "default"},
            "log_directory": str(self.folder / "logs"),
            "linux": {"security_context": {"namespace_options": spaces}},
        }
        disabled = "" if has_cri else 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
        config = _CONFIG.format(folder=self.folder, pause=_PAUSE, disabled=disabled)
        (self.folder / "config.toml").write_text(config)

    @property
    def network(self) -> int:
        """A process that is in its network, where it streams programs."""
        return self._house.pid

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "containerd.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder / "log"
        self.process = self._house.spawn(["containerd", "-c", str(self.folder / "config.toml")], log)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.ask("Version")
                return
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order; its containers run on."""
        self.process.terminate()
        self.process.wait(60)
        self.process = None

    def kill(self) -> None:
        """End it as a crash would, which leaves its socket."""
        self.process.kill()
        self.process.wait(60)
        self.process = None

    def close(self) -> None:
        """End it; what it leaves ends with the house."""
        if self.process is not None:
            if self._has_cri:
                self.remove_all()
                self._remove_pod()
            self.stop()
        self._channel.close()

    def ask(self, method: str, **fields: object) -> Any:
        """Call a method of the interface."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        call = self._channel.unary_unary(
            f"/runtime.v1.{service}/{method}",
            request_serializer=self._classes[f"{method}Request"].SerializeToString,
            response_deserializer=self._classes[f"{method}Response"].FromString,
        )
        return call(self._classes[f"{method}Request"](**fields), timeout=60)

    def load(self, *names: str) -> None:
        """Bring images of busybox."""
        for name in names:
            archive = self.folder / "image.tar"
            archive.write_bytes(image_archive(name.rpartition("/")[2], "/bin/sleep", "100000"))
            self._house.run("ctr", "-a", str(self.socket), "-n", "k8s.io", "image", "import", str(archive))

    def make(self, name: str, *command: str, start: bool = True, log: str | None = None, **more: object) -> str:
        """A container in the one pod; its id. `log` is its file's name, empty for none, and `more` is configuration."""
        if not self._pod:
            self._pod = self.ask("RunPodSandbox", config=self._sandbox).pod_sandbox_id
        attempt = next(self._attempts)
        config = {
            "metadata": {"name": name, "attempt": attempt},
            "image": {"image": IMAGE},
            "command": command,
            "log_path": f"{name}-{attempt}.log" if log is None else log,
            "linux": self._sandbox["linux"],
            **more,
        }
        made = self.ask("CreateContainer", pod_sandbox_id=self._pod, config=config, sandbox_config=self._sandbox)
        if start:
            self.ask("StartContainer", container_id=made.container_id)
        id: str = made.container_id
        return id

    def status(self, id: str) -> Any:
        """What containerd says of a container."""
        return self.ask("ContainerStatus", container_id=id).status

    def wait(self, id: str) -> int:
        """Wait for a container to end, and its log to be whole; its exit code."""
        deadline = time.monotonic() + _START_SECONDS
        while (found := self.status(id)).state != 2 or found.log_path in self._open():
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        code: int = found.exit_code
        return code

    def _open(self) -> set[str]:
        """The files that containerd has open: the log of a container for a moment longer than it runs."""
        found = set()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(descriptor.readlink()))
        return found

    def remove_all(self) -> None:
        """Remove all containers; one that is ending just then is not removed at the first try."""
        deadline = time.monotonic() + _START_SECONDS
        while found := self.ask("ListContainers").containers:
            for each in found:
                try:
                    self.ask("RemoveContainer", container_id=each.id)
                except grpc.RpcError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)

    def _remove_pod(self) -> None:
        """Remove the pod, whose own process would run on without anybody."""
        if self._pod:
            self.ask("StopPodSandbox", pod_sandbox_id=self._pod)
            self.ask("RemovePodSandbox", pod_sandbox_id=self._pod)


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[tuple[Containerd, Containerd]]:
    """containerd with CRI and `IMAGE`, and one without either."""
    with contextlib.ExitStack() as ending:
        house = House(folder)
        ending.callback(house.close)
        found, plain = Containerd(house), Containerd(house, has_cri=False)
        for each in (found, plain):
            ending.callback(each.close)
            each.start()
        found.load(IMAGE, _PAUSE)
        yield found, plain
