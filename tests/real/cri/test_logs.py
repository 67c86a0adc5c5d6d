"""Logs that the real containerd has written: both streams and nothing else, of any length, read on as they grow."""

import json
import os
import time
from datetime import datetime
from pathlib import Path

from tests.support.containerd import Containerd
from tests.support.machine import SystemServer
from tests.support.processes import descriptors_of, memory_of, wait_for
from tests.support.streaming import following

LONG = 40_000_000
"""Bytes of the long log."""


def lines(text: str) -> list[str]:
    return text.splitlines()


def log_of(runtime: Containerd, id: str) -> Path:
    return Path(runtime.status(id).log_path)


def written(path: Path) -> bytes:
    """What a container has printed, by its log of one stream."""
    parts = (line.split(b" ", 3) for line in path.read_bytes().splitlines())
    return b"".join(text + b"\n" * (tag == b"F") for _, _, tag, text in parts)


def test_both_streams_and_nothing_else(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("talks", "/bin/sh", "-c", "echo to-out; printf 'gr\\303\\274n\\n' >&2; echo; echo last")
    runtime.wait(id)
    data = server.data(f"/containers/{id}/logs", who="reader")
    assert sorted(lines(data["logs"])) == ["", "grün", "last", "to-out"]
    assert (data["container_id"], data["runtime"], data["truncated"]) == (id, "containerd", False)
    assert server.data("/containers/talks/logs?stderr=false")["logs"] == "to-out\n\nlast\n"
    assert server.data(f"/containers/{id[:60]}/logs?stdout=false")["logs"] == "grün\n"
    answer = server.api("GET", f"/containers/{id}/logs?stream=true")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert sorted(answer.body.splitlines()) == sorted([b"", b"to-out", "grün".encode(), b"last"])


def test_a_terminal_has_one_stream(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("terminal", "/bin/sh", "-c", "echo to-out; echo to-err >&2", tty=True)
    runtime.wait(id)
    assert server.data(f"/containers/{id}/logs")["logs"] == "to-out\nto-err\n"


def test_lines_that_are_written_in_parts(server: SystemServer, runtime: Containerd) -> None:
    """And the last of each stream, which has no end."""
    command = "busybox head -c 50000 /dev/zero | busybox tr '\\000' x; echo; echo err >&2; printf open"
    id = runtime.make("long", "/bin/sh", "-c", command)
    runtime.wait(id)
    assert log_of(runtime, id).read_bytes().count(b" stdout P ") == 4
    assert server.data(f"/containers/{id}/logs?stderr=false")["logs"] == f"{'x' * 50000}\nopen"
    assert server.data(f"/containers/{id}/logs?stderr=false&tail=1")["logs"] == "open"
    assert server.data(f"/containers/{id}/logs?stderr=false&tail=2")["logs"] == f"{'x' * 50000}\nopen"


def test_some_of_the_lines(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("counts", "/bin/sh", "-c", "for i in 1 2 3; do echo early $i; done; sleep 1; echo late")
    runtime.wait(id)

    def read(query: str) -> list[str]:
        return lines(server.data(f"/containers/{id}/logs?{query}")["logs"])

    assert read("tail=2") == ["early 3", "late"]
    assert read("tail=0") == []
    assert read("tail=all") == ["early 1", "early 2", "early 3", "late"]
    stamped = read("timestamps=true")
    assert [line.partition(" ")[2] for line in stamped] == read("tail=all")
    late = datetime.fromisoformat(stamped[3].partition(" ")[0]).timestamp()
    assert read(f"since={late - 0.5:.3f}") == ["late"]
    assert read(f"until={late - 0.5:.3f}") == ["early 1", "early 2", "early 3"]
    assert read(f"until={late - 0.5:.3f}&tail=1") == ["early 3"]
    assert read("since=-1h") == read("tail=all")


def test_one_without_a_log(server: SystemServer, runtime: Containerd) -> None:
    silent = runtime.make("silent", "/bin/true", log="")
    assert server.api("GET", f"/containers/{silent}/logs").status == 404
    created = runtime.make("created", "/bin/true", start=False)
    assert server.data(f"/containers/{created}/logs")["logs"] == ""


def test_what_is_not_a_log(server: SystemServer, runtime: Containerd, tmp_path: Path) -> None:
    """Neither a link in its place is read, nor a pipe, nor a file that is none of a container's lines."""
    id = runtime.make("evil", "/bin/true")
    runtime.wait(id)
    path = log_of(runtime, id)
    secret = tmp_path / "secret"
    secret.write_text("root:hash\n")
    path.unlink()
    path.symlink_to(secret)
    answer = server.api("GET", f"/containers/{id}/logs")
    assert answer.status == 503 and "is a link" in answer.json["error"]["message"]
    path.unlink()
    os.mkfifo(path)
    assert server.api("GET", f"/containers/{id}/logs").status == 503
    path.unlink()
    path.hardlink_to(secret)
    assert server.data(f"/containers/{id}/logs")["logs"] == ""


def test_one_is_read_on_until_its_container_ends(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("grows", "/bin/sh", "-c", "echo one; sleep 0.5; echo two >&2; sleep 0.5; printf three")
    assert server.api("GET", f"/containers/{id}/logs?follow=true").body == b"one\ntwo\nthree"
    assert server.api("GET", f"/containers/{id}/logs?follow=true&tail=1").body == b"three"


def test_one_is_read_on_through_rotation(server: SystemServer, runtime: Containerd) -> None:
    """As the kubelet does it: the file is renamed, then the runtime is told."""
    command = "i=0; while [ $i -lt 200 ]; do echo $i; i=$((i+1)); busybox usleep 10000; done"
    id = runtime.make("rotates", "/bin/sh", "-c", command)
    path = log_of(runtime, id)
    with following(server, f"/containers/{id}/logs?follow=true&tail=all") as output:
        assert output.read(2) == b"0\n"
        for number in range(3):
            time.sleep(0.5)
            path.rename(f"{path}.{number}")
            runtime.ask("ReopenContainerLog", container_id=id)
        assert output.read() == b"".join(b"%d\n" % number for number in range(1, 200))
    assert 0 < len(lines(server.data(f"/containers/{id}/logs")["logs"])) < 150  # the file it writes now


def test_a_long_one_is_streamed_with_flat_memory(server: SystemServer, runtime: Containerd) -> None:
    """To a client that does not read at first: what it does not take is not held for it."""
    id = runtime.make("writes", "/bin/sh", "-c", f"yes {'a' * 99} | head -c {LONG}")
    assert runtime.wait(id) == 0
    text = written(log_of(runtime, id))
    assert LONG * 9 // 10 < len(text) <= LONG  # containerd may let go of the last of it when the machine is busy
    answer = server.data(f"/containers/{id}/logs?tail=30000")
    assert answer["truncated"] and len(answer["logs"]) > 1_900_000 and text.endswith(answer["logs"].encode())
    data = server.data(f"/containers/{id}/logs")["logs"].encode()
    assert len(data.splitlines()) == 1000 and text.endswith(b"\n" + data)
    before = memory_of(server.server.pid)
    with following(server, f"/containers/{id}/logs?tail=all&stream=true") as output:
        time.sleep(1)
        assert memory_of(server.server.pid) - before < LONG // 4
        size = 0
        while piece := output.read(1 << 16):
            size += len(piece)
            assert not piece.strip(b"a\n")
        assert memory_of(server.server.pid) - before < LONG // 4
    assert size == len(text)


def test_a_client_that_goes_ends_what_it_followed(server: SystemServer, runtime: Containerd) -> None:
    ticks = runtime.make("ticks", "/bin/sh", "-c", "while :; do echo tick; sleep 0.05; done")
    silent = runtime.make("silent", "/bin/sleep", "1000")
    before = descriptors_of(server.server.pid)
    for followed in (ticks, silent):
        with following(server, f"/containers/{followed}/logs?follow=true") as output:
            wait_for(lambda: descriptors_of(server.server.pid) >= before + 2, "the beginning of the stream")
            if followed == ticks:
                assert output.read(10) == b"tick\ntick\n"
        wait_for(lambda: descriptors_of(server.server.pid) <= before, "the end of the stream")


def test_followers_outlive_the_runtime(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("goes-on", "/bin/sh", "-c", "echo one; while ! [ -e /tmp/end ]; do sleep 0.1; done; echo two")
    with following(server, f"/containers/{id}/logs?follow=true") as output:
        assert output.read(4) == b"one\n"
        runtime.stop()
        runtime.start()
        pid = json.loads(runtime.ask("ContainerStatus", container_id=id, verbose=True).info["info"])["pid"]
        (Path(f"/proc/{pid}/root/tmp") / "end").touch()
        assert output.read() == b"two\n"
