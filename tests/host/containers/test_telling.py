"""What engines say, as it is told on."""

import json

import pytest

from appliance.host.containers.docker.failures import by_words, refusal
from appliance.host.containers.docker.inspection import details, lacks_earlier, usage
from appliance.host.containers.docker.wire import (
    BlockEntry,
    BlockStats,
    Config,
    ContainerStats,
    CpuStats,
    CpuUsage,
    InspectedContainer,
    MemoryStats,
    NetworkSettings,
    NetworkStats,
    PidsStats,
    PortBinding,
    State,
)
from appliance.host.containers.errors import EngineError
from appliance.host.containers.masking import mask_command, mask_env, mask_labels
from appliance.host.errors import Conflict, Invalid, Unknown
from appliance.host.outgoing.words import shown


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("cannot remove container x as it is running: container state improper", Conflict),
        ("network name n1 already used: network already exists", Conflict),
        ("Bind for 0.0.0.0:80 failed: port is already allocated", Conflict),
        ("default network podman cannot be removed", Conflict),
        ("image used by x: image is in use by a container", Conflict),
        ("no such image: docker.io/library/nosuch:1: image not known", Unknown),
        ("reading manifest x in y: manifest unknown", Unknown),
        ("Cannot restart container c1: network office not found", Unknown),
        ("Multiple IDs found with provided prefix: 0", Invalid),
        ("more than one result for container name or ID 0: container already exists", Invalid),
        ("nosuch is an invalid filter", Invalid),
        ("invalid signal: SIGFOO", Invalid),
        ("no volume plugin with name x available: required plugin missing", Invalid),
        ('cannot create network with name "bridge" because it conflicts with a valid network mode', Conflict),
        ('exec: "/x": executable file not found in $PATH', Invalid),
        (f'Cannot restart container c1: exec: "/{"x" * 4000}": executable file not found in $PATH', Invalid),
        ("unable to find user nobody2: no matching entries in passwd file", Invalid),
        ("unable to find group none: no matching entries in group file", Invalid),
        ("OCI runtime create failed: runc create failed: the minimum allowed cpu-shares is 2: unknown", Invalid),
        ("mounting /dev/null to rootfs at /etc: not a directory: OCI runtime error", Invalid),
        ("exec /etc: permission denied: OCI permission denied", Invalid),
        ("failed to create OCI runtime console socket: read-only file system", EngineError),
        ('fill out specgen: unable to process labels: invalid label format: "=a"', Invalid),
        ("something went wrong", EngineError),
        ("dial tcp 127.0.0.1:1: connect: connection refused", EngineError),
    ],
)
def test_words_that_stand_for_a_status(message: str, kind: type[Exception]) -> None:
    assert type(by_words(message)) is kind
    body = {"cause": "x", "message": message, "response": 500}
    assert type(refusal(500, json.dumps(body).encode())) is kind


def test_a_refusal_without_words() -> None:
    assert str(refusal(404, b"")) == "There is nothing of that name"
    assert str(refusal(409, b"")) == "status 409"
    assert "page not found" in str(refusal(404, b"404 page not found\n"))
    assert "\ufffd" in str(refusal(500, b"\xff"))


def test_words_are_cut_and_put_in_one_line() -> None:
    assert shown("a\nb\x1b[31m\tc") == "a b [31m c"
    assert len(shown("x" * 100_000)) == 400


def test_figures_of_a_container_that_works() -> None:
    found = ContainerStats(
        read="2026-01-01T00:00:01.5Z",
        cpu_stats=CpuStats(CpuUsage(3_000_000), 200_000_000, 4),
        precpu_stats=CpuStats(CpuUsage(1_000_000), 100_000_000, 4),
        memory_stats=MemoryStats(1000, 4000, {"total_inactive_file": 200, "inactive_file": 100}),
        networks={"eth0": NetworkStats(1, 2), "eth1": NetworkStats(10, 20)},
        blkio_stats=BlockStats([BlockEntry("Read", 5), BlockEntry("write", 6), BlockEntry("read", 7)]),
        pids_stats=PidsStats(3),
    )
    assert not lacks_earlier(found)
    told = usage("c", found)
    assert (told.cpu_percent, told.online_cpus, told.pids) == (8.0, 4, 3)
    assert (told.memory_usage, told.memory_limit, told.memory_percent) == (800, 4000, 20.0)
    assert (told.network_rx, told.network_tx, told.block_read, told.block_write) == (11, 22, 12, 6)


def test_figures_of_two_moments_that_an_engine_does_not_compare() -> None:
    def at(read: str, used: int) -> ContainerStats:
        return ContainerStats(read=read, cpu_stats=CpuStats(CpuUsage(used), 5, 2), precpu_stats=CpuStats(CpuUsage(0)))

    first = at("2026-01-01T00:00:01.123456789Z", 1_000_000_000)
    assert lacks_earlier(first)
    assert usage("c", at("2026-01-01T00:00:03.123456789+00:00", 2_500_000_000), first).cpu_percent == 75.0
    assert usage("c", at("soon", 2_500_000_000), first).cpu_percent == 0.0


def test_figures_of_a_container_that_rests() -> None:
    for found in (ContainerStats(), ContainerStats(read="0001-01-01T00:00:00Z", cpu_stats=CpuStats())):
        assert not lacks_earlier(found)
        told = usage("c", found)
        assert (told.read, told.cpu_percent, told.memory_usage, told.memory_percent, told.pids) == ("", 0.0, 0, 0.0, 0)


def test_details_of_what_says_little() -> None:
    told = details(InspectedContainer("a", Config(), State()))
    assert (told.id, told.ports, told.mounts, told.networks, told.restart_policy.name) == ("a", [], [], [], "no")
    ports = {"80/tcp": [PortBinding("0.0.0.0", "8080"), PortBinding("::", "8080")], "81/udp": None, "x": []}
    told = details(InspectedContainer("a", Config(entrypoint="/x"), State(), network_settings=NetworkSettings(ports)))
    assert told.ports == ["80/tcp->8080/tcp", "81/udp"] and told.entrypoint == ["/x"]


def test_masks() -> None:
    assert mask_env(["A=b=c", "B"]) == ["A=***", "B=***"]
    assert mask_command([]) == [] and mask_command(["mysqld", "--password=x"]) == ["***"]
    assert mask_labels({"com.docker.compose.project": "shop", "traefik.auth": "x"}) == {
        "com.docker.compose.project": "shop",
        "traefik.auth": "***",
    }
