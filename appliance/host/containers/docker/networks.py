"""Networks of containers: listed, made and removed."""

import ipaddress
from typing import Annotated, Any

import msgspec

from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.model import DockerNetwork, DockerSubnet
from appliance.host.containers.docker.names import NAME, check_name
from appliance.host.containers.docker.wire import CreatedNetwork, Ipam, ListedNetwork
from appliance.host.errors import Invalid

_CHANGE_SECONDS = 60.0
_Short = Annotated[str, msgspec.Meta(max_length=255)]


class NewNetwork(msgspec.Struct, rename="camel", kw_only=True):
    """A network to be made. `subnet` is as `172.30.0.0/16`; the engine chooses one where it is missing."""

    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    driver: Annotated[str, msgspec.Meta(pattern=NAME)] = "bridge"
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool = msgspec.field(name="enableIPv6", default=False)
    subnet: _Short | None = None
    gateway: _Short | None = None
    labels: dict[_Short, Annotated[str, msgspec.Meta(max_length=4096)]] | None = None
    options: dict[_Short, Annotated[str, msgspec.Meta(max_length=4096)]] | None = None


class DockerNetworks:
    """The engine's networks."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    async def networks(self) -> list[DockerNetwork]:
        """All networks. Raises `EngineError`."""
        found = (await self._client.call("GET", "/networks")).decode(list[ListedNetwork])
        return [
            DockerNetwork(
                id=each.id,
                name=each.name,
                driver=each.driver,
                scope=each.scope,
                internal=each.internal,
                attachable=each.attachable,
                enable_ipv6=each.enable_ipv6,
                subnets=[DockerSubnet(one.subnet, one.gateway) for one in (each.ipam or Ipam()).config or []],
                created=each.created,
                labels=each.labels or {},
            )
            for each in found
        ]

    async def create(self, new: NewNetwork) -> tuple[str, str]:
        """Make a network: its id, and what the engine warns of. Raises `Invalid`, `Conflict` or `EngineError`."""
        body = {
            "Name": new.name,
            "CheckDuplicate": True,
            "Driver": new.driver,
            "Internal": new.internal,
            "Attachable": new.attachable,
            "EnableIPv6": new.enable_ipv6,
            "Labels": new.labels or {},
            "Options": new.options or {},
        }
        if new.subnet is not None or new.gateway is not None:
            body["IPAM"] = {"Driver": "default", "Config": [_addresses(new.subnet, new.gateway)]}
        answer = await self._client.call("POST", "/networks/create", json=body, seconds=_CHANGE_SECONDS)
        made = answer.decode(CreatedNetwork)
        return made.id, made.warning

    async def remove(self, id: str) -> None:
        """Remove a network by name or id. Raises `Invalid`, `Unknown`, `Conflict` or `EngineError`."""
        check_name("id", id)
        await self._client.call("DELETE", f"/networks/{segment(id)}", seconds=_CHANGE_SECONDS)


def _addresses(subnet: str | None, gateway: str | None) -> dict[str, Any]:
    if subnet is None:
        raise Invalid("subnet", "a gateway needs one")
    try:
        network = ipaddress.ip_network(subnet)
    except ValueError:
        raise Invalid("subnet", "not a range of addresses, as 172.30.0.0/16 is") from None
    if gateway is None:
        return {"Subnet": str(network)}
    try:
        inside = ipaddress.ip_address(gateway) in network
    except ValueError:
        inside = False
    if not inside:
        raise Invalid("gateway", f"not an address in {network}")
    return {"Subnet": str(network), "Gateway": gateway}
