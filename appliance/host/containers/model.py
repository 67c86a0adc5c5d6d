"""What is told of containers whatever runs them, in the words of the Container Runtime Interface (CRI)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance.host.containers.masking import mask_command, mask_env, mask_labels
from appliance.process.terminal import Size

State = Literal["CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_UNKNOWN"]


class Container(msgspec.Struct, frozen=True):
    """A container; `created_at` is RFC 3339 in UTC, `runtime` what runs it.

    For those who are no administrators most labels are `***`.
    """

    id: str
    name: str
    image: str
    state: State
    created_at: str
    runtime: str
    status: str
    labels: dict[str, str]

    def masked(self) -> "Container":
        """Without what may hold secrets."""
        return msgspec.structs.replace(self, labels=mask_labels(self.labels))


class Mount(msgspec.Struct, frozen=True):
    """Something of the host in a container."""

    source: str
    destination: str
    read_only: bool


class ContainerDetails(msgspec.Struct, frozen=True):
    """A container, looked at closely. Times are RFC 3339 in UTC, empty where there is none.

    For those who are no administrators `command`, the values of `env` and most labels are `***`.
    """

    id: str
    name: str
    image: str
    image_id: str
    state: State
    created_at: str
    started_at: str
    finished_at: str
    exit_code: int
    reason: str
    pid: int
    command: list[str]
    env: list[str]
    working_dir: str
    mounts: list[Mount]
    labels: dict[str, str]
    annotations: dict[str, str]
    log_path: str
    runtime: str

    def masked(self) -> "ContainerDetails":
        """Without what may hold secrets."""
        return msgspec.structs.replace(
            self,
            command=mask_command(self.command),
            env=mask_env(self.env),
            labels=mask_labels(self.labels),
            annotations=mask_labels(self.annotations),
        )


class ContainerImage(msgspec.Struct, frozen=True):
    """An image; `size` in bytes."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    size: int


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """A program to be run in a container on a terminal of this size; `user` None is the container's own."""

    command: Sequence[str]
    size: Size
    user: str | None = None


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines of a container's log: the last `tail` (None for all), those of a time (seconds since 1970)."""

    tail: int | None = None
    since: float | None = None
    until: float | None = None
    timestamps: bool = False
    follow: bool = False
    stdout: bool = True
    stderr: bool = True
