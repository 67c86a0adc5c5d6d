"""What every endpoint of the surface declares, whoever adds one."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import appliance.rpc
from appliance.http.endpoints import Endpoint, FormBody, RawBody, bind
from appliance.identity.caller import Permission, anyone
from appliance.rpc.authenticator import any_token, live, sudo

PUBLIC = {"POST /login", "POST /2fa/otp-verify", "GET /ubus/openapi.json"}
CHANGING_READS = {"GET /refresh", "GET /2fa/qr-code", "GET /2fa/recovery-codes"}
"""GETs that change something, as the reference has them."""

LIMITS = {"POST /login": 32 << 10, "POST /sudo": 32 << 10, "POST /2fa/otp-verify": 32 << 10, "POST /logout": 1 << 10}


def declared() -> Iterator[Endpoint]:
    for module in pkgutil.iter_modules(appliance.rpc.__path__, "appliance.rpc."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and "routes" in vars(found):
                yield from bind(object.__new__(found))


ENDPOINTS = {f"{each.method} {each.path}": each for each in declared()}


def test_there_are_some() -> None:
    assert PUBLIC | CHANGING_READS | LIMITS.keys() | {"POST /ubus/call"} <= ENDPOINTS.keys()


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_who_may_and_what_is_audited(name: str) -> None:
    endpoint = ENDPOINTS[name]
    assert isinstance(endpoint.who, Permission)
    assert (endpoint.who is anyone) is (name in PUBLIC)
    assert endpoint.who in (anyone, any_token, live, sudo)
    assert bool(endpoint.audit) is (endpoint.method != "GET" or name in CHANGING_READS)
    assert endpoint.summary


@pytest.mark.parametrize("name", sorted(name for name, each in ENDPOINTS.items() if each.body is not None))
def test_every_body_has_its_limit(name: str) -> None:
    body = ENDPOINTS[name].body
    assert isinstance(body, RawBody | FormBody)
    if name in LIMITS:
        assert body.limit == LIMITS[name]
