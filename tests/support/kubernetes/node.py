"""The one node: it runs a container as a local process, keeps what it says, and tells how it fares.

Only containers of the image `IMAGE` are run, and their command is taken as it is: a test that names that image means
what it says. Any other image cannot be pulled, and nothing of it is run.
"""

import asyncio
import contextlib
import copy
import os
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubernetes.store import Change
from tests.support.kubernetes.world import NODE, Document, World, finely, now

IMAGE = "bb:1"
_MOMENT = 0.05
_LINES = 100_000
_BACK_OFF = (0.5, 1.0, 2.0, 5.0)


@dataclass
class Container:
    """A container of a pod: its process while it runs, and what it has said (time and line, whole)."""

    name: str
    lines: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=_LINES))
    told: int = 0  # lines in all, over those that are kept
    process: asyncio.subprocess.Process | None = None
    state: Document = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Document = field(default_factory=dict)
    restarts: int = 0
    started: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    programs: set[int] = field(default_factory=set)  # ids of what was started in it besides, each a session of its own

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return "running" in self.state

    def say(self, line: bytes) -> None:
        """Keep a line."""
        self.lines.append((finely(), line))
        self.told += 1
        self.tell()

    def tell(self) -> None:
        """Wake who follows it."""
        self.changed.set()
        self.changed = asyncio.Event()


class Node:
    """Runs the pods."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods: dict[str, dict[str, Container]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        world.store.hooks.append(self._seen)

    def containers(self, pod: Mapping[str, Any]) -> dict[str, Container]:
        """The containers of a pod by name; empty before it has reached the node."""
        return self._pods.get(pod["metadata"]["uid"], {})

    def _seen(self, change: Change) -> None:
        if change.key != self._world.pods.key or change.after is None:
            return
        if change.before is None:
            self._spawn(self._run_pod(change.after))
        elif change.after["metadata"].get("deletionTimestamp") and not change.before["metadata"].get(
            "deletionTimestamp"
        ):
            self._spawn(self._end_pod(change.after))

    def _spawn(self, work: Any) -> None:
        self.keep(asyncio.get_running_loop().create_task(work))

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Own a task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_pod(self, pod: Mapping[str, Any]) -> None:
        await asyncio.sleep(_MOMENT)
        if pod["spec"]["schedulerName"] != "default-scheduler":
            return
        if not self._change(pod, lambda live: live["spec"].update(nodeName=NODE)):
            return
        found = {each["name"]: Container(each["name"]) for each in pod["spec"]["containers"]}
        self._pods[pod["metadata"]["uid"]] = found
        self._publish(pod)
        await asyncio.sleep(_MOMENT)
        for spec in pod["spec"]["containers"]:
            self._spawn(self._run_container(pod, spec, found[spec["name"]]))

    async def _run_container(self, pod: Mapping[str, Any], spec: Document, container: Container) -> None:
        if spec["image"] != IMAGE:
            message = f'rpc error: code = NotFound desc = failed to pull and unpack image "{spec["image"]}": not found'
            container.state = {"waiting": {"reason": "ErrImagePull", "message": message}}
            self._publish(pod)
            return
        while self._alive(pod):
            code = await self._run_once(pod, spec, container)
            self._publish(pod)
            policy = pod["spec"]["restartPolicy"]
            if policy == "Never" or (policy == "OnFailure" and code == 0) or not self._alive(pod):
                return
            container.last_state = container.state
            if container.restarts:  # the first time it is not waited for
                container.state = {"waiting": {"reason": "CrashLoopBackOff"}}
                self._publish(pod)
            await asyncio.sleep(_BACK_OFF[min(container.restarts, len(_BACK_OFF) - 1)])
            container.restarts += 1

    async def _run_once(self, pod: Mapping[str, Any], spec: Document, container: Container) -> int:
        argv = [*(spec.get("command") or ["/bin/sh"]), *(spec.get("args") or [])]
        environment = {"PATH": os.environ["PATH"], **{e["name"]: e.get("value", "") for e in spec.get("env") or []}}
        started = now()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            container.state = _ended(128, "StartError", started, str(error))
            return 128
        container.process, container.started = process, True
        container.state = {"running": {"startedAt": started}}
        self._publish(pod)
        assert process.stdout is not None
        while line := await _line(process.stdout):
            container.say(line)
        code = await process.wait()
        code = 128 - code if code < 0 else code
        container.process = None
        container.state = _ended(code, "Completed" if code == 0 else "Error", started)
        container.tell()
        return code

    def _alive(self, pod: Mapping[str, Any]) -> bool:
        live = self._live(pod)
        return live is not None and not live["metadata"].get("deletionTimestamp")

    def _live(self, pod: Mapping[str, Any]) -> Document | None:
        metadata = pod["metadata"]
        live = self._world.store.get(self._world.pods, metadata["namespace"], metadata["name"])
        return live if live is not None and live["metadata"]["uid"] == metadata["uid"] else None

    def _change(self, pod: Mapping[str, Any], how: Any) -> bool:
        """Change a pod that is still there; whether it is."""
        live = self._live(pod)
        if live is None:
            return False
        changed = copy.deepcopy(live)
        how(changed)
        if changed != live:
            self._world.store.put(self._world.pods, changed)
        return True

    def _publish(self, pod: Mapping[str, Any]) -> None:
        """Put what the containers do into the pod's status."""
        containers = self.containers(pod)
        self._change(pod, lambda live: live["status"].update(_status(live, containers)))

    async def _end_pod(self, pod: Mapping[str, Any]) -> None:
        """Let the containers end, by force after their time; then take the pod out."""
        seconds = pod["metadata"].get("deletionGracePeriodSeconds", 30)
        processes = [each.process for each in self.containers(pod).values() if each.process is not None]
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            waits = [asyncio.ensure_future(process.wait()) for process in processes]
            if waits:
                _, waiting = await asyncio.wait(waits, timeout=patience)
                for each in waiting:
                    each.cancel()
        for container in self.containers(pod).values():
            _kill(container)
        await asyncio.sleep(_MOMENT)
        live = self._live(pod)
        if live is not None and not live["metadata"].get("finalizers"):
            self._world.store.remove(self._world.pods, live)
        self._pods.pop(pod["metadata"]["uid"], None)

    def close(self) -> None:
        """End all processes."""
        for task in list(self._tasks):
            task.cancel()
        for containers in self._pods.values():
            for container in containers.values():
                _kill(container)


def _kill(container: Container) -> None:
    """End what was started in a container."""
    for pid in [*container.programs, *([container.process.pid] if container.process is not None else [])]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    container.programs.clear()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """A line with its end, or what there is of one at the limit or the end; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed or 1)


def _ended(code: int, reason: str, started: str, message: str = "") -> Document:
    found = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
    return {"terminated": {**found, **({"message": message} if message else {})}}


def _status(pod: Document, containers: dict[str, Container]) -> Document:
    moment, states = now(), [each.state for each in containers.values()]
    ready = all(each.running for each in containers.values())
    ended = all("terminated" in state for state in states) and pod["spec"]["restartPolicy"] != "Always"
    if ended:
        phase = "Succeeded" if all(state["terminated"]["exitCode"] == 0 for state in states) else "Failed"
    else:
        phase = "Running" if any(each.started for each in containers.values()) else "Pending"
    known = {each["type"]: each for each in pod["status"].get("conditions", [])}
    unready = [each.name for each in containers.values() if not each.running]
    conditions = []
    for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled"):
        value = "True" if ready or kind in ("Initialized", "PodScheduled") else "False"
        condition = {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": moment}
        if value == "False":
            message = f"containers with unready status: [{' '.join(unready)}]"
            condition |= {"reason": "ContainersNotReady", "message": message}
        if known.get(kind, {}).get("status") == value:
            condition["lastTransitionTime"] = known[kind]["lastTransitionTime"]
        conditions.append(condition)
    address = pod["status"].get("podIP") or "192.0.2.2"
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": "192.0.2.2",
        "startTime": pod["status"].get("startTime", moment),
        "containerStatuses": [_container_status(pod, each) for each in containers.values()],
        "podIP": address,
        "podIPs": [{"ip": address}],
    }


def _container_status(pod: Document, container: Container) -> Document:
    (image,) = [each["image"] for each in pod["spec"]["containers"] if each["name"] == container.name]
    return {
        "name": container.name,
        "state": container.state,
        "lastState": container.last_state,
        "ready": container.running,
        "restartCount": container.restarts,
        "image": image if image != IMAGE else f"docker.io/library/{IMAGE}",
        "imageID": f"sha256:{'0' * 64}" if container.started else "",
        "containerID": f"containerd://{pod['metadata']['uid'].replace('-', '') * 2}" if container.started else "",
        "started": container.running,
    }
