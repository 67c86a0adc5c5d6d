"""A Kubernetes API server for the tests of this folder, and a server of ours that uses it.

In any case it is the double of `tests.support.kubernetes`. Where `APPLIANCE_TEST_KUBECONFIG` names the kubeconfig of a
real cluster's administrator, each test is run against that as well; `admin-token.conf`, `viewer.conf` and `nobody.conf`
must lie beside it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes.cluster import Cluster, cleaned, real
from tests.support.kubernetes.double import Double, double
from tests.support.kubernetes.passage import passage
from tests.support.machine import SystemServer, system_server

REAL = os.environ.get("APPLIANCE_TEST_KUBECONFIG", "")


@pytest.fixture(scope="session", params=["double", *(["real"] if REAL else [])])
def any_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Each test is run against all there are."""
    if request.param == "real":
        yield real(Path(REAL))
        return
    with double(tmp_path_factory.mktemp("double")) as found:
        yield found
        assert found.complaints == ""


@pytest.fixture
def cluster(any_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; the namespaces that a test makes in it are deleted at its end."""
    with cleaned(any_cluster):
        yield any_cluster


@pytest.fixture(scope="session")
def its_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """The double alone, for what a real cluster cannot be made to do."""
    with double(tmp_path_factory.mktemp("its-double")) as found:
        yield found
        assert found.complaints == ""


@contextlib.contextmanager
def server_of(cluster: Cluster, folder: Path, who: str = "admin") -> Iterator[SystemServer]:
    """A server of ours that uses the cluster as one of its users."""
    config = f'kubeconfig = "{cluster.kubeconfig(who)}"\n'
    with system_server(folder, config) as server, passage(server.machine, cluster.port):
        yield server


@pytest.fixture(scope="session")
def any_server(any_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    """A server that uses the cluster as its administrator."""
    with server_of(any_cluster, tmp_path_factory.mktemp(any_cluster.name)) as server:
        yield server


@pytest.fixture
def server(any_server: SystemServer) -> Iterator[SystemServer]:
    """The server, which meets no defect of its own."""
    begin = any_server.server.log.stat().st_size
    yield any_server
    lines = any_server.server.log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
    assert [line for line in lines if "Traceback" in line] == []


@pytest.fixture(scope="session")
def its_server(its_double: Double, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    """A server that uses the double alone."""
    with server_of(its_double, tmp_path_factory.mktemp("its-server")) as server:
        yield server
