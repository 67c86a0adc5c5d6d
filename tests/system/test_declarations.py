"""What every endpoint of the surface declares, whoever adds one."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import appliance.system
from appliance.http.endpoints import Endpoint, bind
from appliance.identity.caller import administrator, anyone, reader
from appliance.system.exposition.authenticator import scraper

OWN = {"/auth/login": anyone, "/auth/refresh": reader, "/auth/logout": reader}
"""What everybody may do who may log in, though it changes something."""

READERS = {"GET /health": anyone, "GET /openapi.json": anyone, "GET /metrics": scraper}
"""What is not for just those who may log in."""


def declared() -> Iterator[Endpoint]:
    for module in pkgutil.iter_modules(appliance.system.__path__, "appliance.system."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and "routes" in vars(found):
                yield from bind(object.__new__(found))


ENDPOINTS = {f"{each.method} {each.path}": each for each in declared()}


def test_there_are_some() -> None:
    assert {"GET /system/summary", "POST /auth/login", "DELETE /users/<name>", "GET /logs"} <= ENDPOINTS.keys()


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_changes_are_for_administrators_and_audited(name: str) -> None:
    endpoint = ENDPOINTS[name]
    if endpoint.method in ("GET", "HEAD"):
        assert endpoint.audit is None
        assert endpoint.cancellable
        assert endpoint.who is READERS.get(name, reader)
    else:
        assert endpoint.audit
        assert endpoint.who is OWN.get(endpoint.path, administrator)
        assert not endpoint.cancellable or endpoint.path == "/auth/login"


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_everything_is_documented(name: str) -> None:
    assert ENDPOINTS[name].summary
