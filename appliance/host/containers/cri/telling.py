"""Messages of the Container Runtime Interface, told in our own types. Lists are long: call these in a thread."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

import msgspec

from appliance.host.containers.model import Container, ContainerDetails, ContainerImage, Mount, State
from appliance.host.outgoing.peer import UNREADABLE

_STATES = cast(Sequence[State], get_args(State))  # they are CRI's, in the order of their numbers
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Process(msgspec.Struct, frozen=True):
    args: list[str] = []
    env: list[str] = []
    cwd: str = ""


class _Specification(msgspec.Struct, frozen=True):
    process: _Process = _Process()


class Information(msgspec.Struct, frozen=True, rename="camel"):
    """What runtimes tell beside the interface, for debugging: of a runtime's own form, which not all of them have.

    `runtime_spec` is what runc is given (OCI Runtime Specification, config.json).
    """

    pid: int = 0
    runtime_spec: _Specification = _Specification()


def state(number: int) -> State:
    """The word for a state."""
    return _STATES[number] if 0 <= number < len(_STATES) else "CONTAINER_UNKNOWN"


def containers(answer: Any, runtime: str) -> list[Container]:
    """A ListContainersResponse."""
    return [
        Container(
            id=each.id,
            name=each.metadata.name,
            image=_image(each),
            state=state(each.state),
            created_at=moment(each.created_at),
            runtime=runtime,
            status=state(each.state).removeprefix("CONTAINER_").capitalize(),
            labels=dict(each.labels),
        )
        for each in answer.containers
    ]


def details(answer: Any, runtime: str) -> ContainerDetails:
    """A ContainerStatusResponse with what is told by `verbose`."""
    found, information = answer.status, _information(answer.info)
    process = information.runtime_spec.process
    return ContainerDetails(
        id=found.id,
        name=found.metadata.name,
        image=_image(found),
        image_id=found.image_id or found.image_ref,
        state=state(found.state),
        created_at=moment(found.created_at),
        started_at=moment(found.started_at),
        finished_at=moment(found.finished_at),
        exit_code=found.exit_code,
        reason=": ".join(filter(None, (found.reason, found.message))),
        pid=information.pid,
        command=process.args,
        env=process.env,
        working_dir=process.cwd,
        mounts=[Mount(each.host_path, each.container_path, each.readonly) for each in found.mounts],
        labels=dict(found.labels),
        annotations=dict(found.annotations),
        log_path=found.log_path,
        runtime=runtime,
    )


def images(answer: Any) -> list[ContainerImage]:
    """A ListImagesResponse."""
    return [ContainerImage(each.id, list(each.repo_tags), list(each.repo_digests), each.size) for each in answer.images]


def moment(nanoseconds: int) -> str:
    """A time since 1970 as RFC 3339 in UTC; empty for 0, which stands for never."""
    if nanoseconds <= 0:
        return ""
    at = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanoseconds % 1_000_000_000:09}Z"


def _image(found: Any) -> str:
    """The image's name: whoever made the container may have asked for it by its id, and said what that stood for."""
    return str(found.image.user_specified_image or found.image.image or found.image_ref)


def _information(told: Any) -> Information:
    try:
        return msgspec.json.decode(told.get("info", "{}"), type=Information)
    except UNREADABLE:
        return Information()
