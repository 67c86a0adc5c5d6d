from typing import Any

import msgspec
import pytest

from appliance.host.containers.docker.creation import NewContainer, creation
from appliance.host.errors import Invalid


def made(**body: Any) -> dict[str, Any]:
    return creation(msgspec.convert({"image": "bb:1", **body}, NewContainer))


def test_the_example_of_the_reference() -> None:
    body = {
        "name": "my-nginx",
        "image": "nginx:latest",
        "env": ["ENV=production"],
        "portBindings": {"80/tcp": [{"hostPort": "8080"}]},
    }
    assert made(**body) == {
        "Image": "nginx:latest",
        "Env": ["ENV=production"],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080", "HostIp": ""}]}},
    }


def test_nothing_is_said_of_what_is_not_asked_for() -> None:
    assert made() == {"Image": "bb:1", "HostConfig": {}}


def test_everything() -> None:
    found = made(
        cmd="sh -c 'echo \"a b\"'",
        entrypoint=["/entry", "--x"],
        env={"A": "b=c", "EMPTY": ""},
        labels={"x": "y"},
        workingDir="/srv",
        user="1000:1000",
        hostname="box",
        tty=True,
        openStdin=True,
        networkMode="container:other",
        restartPolicy={"name": "on-failure", "maximumRetryCount": 5},
        volumes=["/a:/b", "named:/c:ro", {"source": "/d", "target": "/e", "readOnly": True}, "/nameless"],
        portBindings={"53/udp": [{"hostPort": 5353, "hostIp": "::1"}], "80": None},
        resources={
            "memory": 1 << 20,
            "memorySwap": -1,
            "cpus": 1.5,
            "cpuShares": 512,
            "cpusetCpus": "0-2,4",
            "pidsLimit": 10,
        },
    )
    host = found.pop("HostConfig")
    assert found == {
        "Image": "bb:1",
        "Cmd": ["sh", "-c", 'echo "a b"'],
        "Entrypoint": ["/entry", "--x"],
        "Env": ["A=b=c", "EMPTY="],
        "Labels": {"x": "y"},
        "WorkingDir": "/srv",
        "User": "1000:1000",
        "Hostname": "box",
        "Tty": True,
        "OpenStdin": True,
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        "Volumes": {"/nameless": {}},
    }
    assert host == {
        "PortBindings": {"53/udp": [{"HostPort": "5353", "HostIp": "::1"}], "80/tcp": []},
        "Binds": ["/a:/b", "named:/c:ro", "/d:/e:ro"],
        "NetworkMode": "container:other",
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        "Memory": 1 << 20,
        "MemorySwap": -1,
        "NanoCpus": 1_500_000_000,
        "CpuShares": 512,
        "CpusetCpus": "0-2,4",
        "PidsLimit": 10,
    }


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("image", {"image": "UPPER"}),
        ("cmd", {"cmd": "echo 'open"}),
        ("env[1]", {"env": ["A=1", "=secret"]}),
        ("env[0]", {"env": ["A=\0"]}),
        ("portBindings", {"portBindings": {"http": []}}),
        ("portBindings", {"portBindings": {"0/tcp": []}}),
        ("portBindings", {"portBindings": {"80/icmp": []}}),
        ("portBindings.80", {"portBindings": {"80": [{"hostPort": "70000"}]}}),
        ("portBindings.80", {"portBindings": {"80": [{"hostPort": "http"}]}}),
        ("portBindings.80", {"portBindings": {"80": [{"hostIp": "box"}]}}),
        ("volumes[0]", {"volumes": ["../x:/y"]}),
        ("volumes[0]", {"volumes": ["/a/../b:/y"]}),
        ("volumes[0]", {"volumes": ["/a:y"]}),
        ("volumes[0]", {"volumes": ["/a:/b:suid"]}),
        ("volumes[0]", {"volumes": ["/a:/b:ro:rw"]}),
        ("volumes[0]", {"volumes": ["nameless"]}),
        ("volumes[0]", {"volumes": [{"source": "/a:/b", "target": "/c"}]}),
        ("networkMode", {"networkMode": "a b"}),
        ("networkMode", {"networkMode": "container:"}),
        ("restartPolicy", {"restartPolicy": {"name": "always", "maximumRetryCount": 1}}),
        ("workingDir", {"workingDir": "srv"}),
        ("resources.cpusetCpus", {"resources": {"cpusetCpus": "all"}}),
        ("resources.memorySwap", {"resources": {"memorySwap": 1 << 30}}),
        ("resources.memorySwap", {"resources": {"memory": 2 << 30, "memorySwap": 1 << 30}}),
    ],
)
def test_what_is_refused(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        made(**body)
    assert caught.value.field == field
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "-x"},
        {"restartPolicy": "sometimes"},
        {"resources": {"memory": -1}},
        {"tty": "yes"},
        {"env": "A=1"},
        {"volumes": [1]},
        {"cmd": ["a"] * 257},
    ],
)
def test_what_is_not_even_decoded(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        made(**body)


def test_only_the_names_of_the_environment_are_told() -> None:
    for env in (["A=secret", "B"], {"A": "secret", "B": ""}):
        assert msgspec.convert({"image": "x", "env": env}, NewContainer).env_names == ["A", "B"]
