"""networks/{id}/dns: names of a network's hosts."""

from typing import Annotated

import msgspec

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import Reply
from appliance.mesh.callers import actor_of, user
from appliance.mesh.dns import Alias, Dns, DnsChange, DnsmasqFile, DnsSettings
from appliance.mesh.envelope import NO_STORE
from appliance.mesh.errors import Invalid
from appliance.mesh.models import ID, AddressText, Id, is_address, is_host

_Alias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$(?!\n)", max_length=63)]


class DnsBody(msgspec.Struct, kw_only=True):
    """What is to change: an empty domain clears it, what is missing or null stays."""

    domain: Annotated[str, msgspec.Meta(max_length=253)] | None = None
    enabled: bool | None = None
    upstream_servers: Annotated[list[AddressText], msgspec.Meta(max_length=16)] | None = None

    def change(self) -> DnsChange:
        """For the domain. Raises `Invalid`."""
        if self.domain and not is_host(self.domain):
            raise Invalid("domain", "a host name is wanted, as mesh.example.com")
        for number, server in enumerate(self.upstream_servers or []):
            if not is_address(server):
                raise Invalid(f"upstream_servers[{number}]", "an IP address is wanted")
        return DnsChange(domain=self.domain, enabled=self.enabled, upstream_servers=self.upstream_servers)


class AliasBody(msgspec.Struct, kw_only=True):
    """Another name, and whose it is."""

    alias: _Alias
    node_id: Id


class DnsEndpoints:
    """Names of a network."""

    routes = Routes(prefix=f"/networks/<{ID}:network_id>/dns", tag="DNS")

    def __init__(self, dns: Dns) -> None:
        self._dns = dns

    @routes.get("", reply=DnsSettings, who=user, statuses=(403,))
    async def get_dns(self, call: Call, network_id: str) -> DnsSettings:
        """Whether the network's hosts have names, and under which domain."""
        return await self._dns.settings(actor_of(call), int(network_id))

    @routes.put("", reply=DnsSettings, who=user, body=JsonBody(DnsBody), audit="mesh.dns.update", statuses=(403,))
    async def set_dns(self, call: Call, body: DnsBody, network_id: str) -> DnsSettings:
        """Change it; for owners and system admins."""
        return await self._dns.change(actor_of(call), int(network_id), body.change())

    @routes.get("/aliases", reply=list[Alias], who=user, statuses=(403,))
    async def list_aliases(self, call: Call, network_id: str) -> list[Alias]:
        """The other names of nodes."""
        return await self._dns.aliases(actor_of(call), int(network_id))

    @routes.post(
        "/aliases",
        reply=Alias,
        who=user,
        body=JsonBody(AliasBody),
        audit="mesh.dns.alias.create",
        status=201,
        statuses=(403, 409),
    )
    async def create_alias(self, call: Call, body: AliasBody, network_id: str) -> Alias:
        """Give a node another name; for owners and system admins."""
        return await self._dns.add_alias(actor_of(call), int(network_id), body.alias, body.node_id)

    @routes.delete(f"/aliases/<{ID}:alias_id>", who=user, audit="mesh.dns.alias.delete", status=204, statuses=(403,))
    async def delete_alias(self, call: Call, network_id: str, alias_id: str) -> None:
        """Take a name away; for owners and system admins."""
        await self._dns.remove_alias(actor_of(call), int(network_id), int(alias_id))

    @routes.get("/dnsmasq.conf", reply=str, who=user, statuses=(403,), produces="text/plain")
    async def dnsmasq(self, call: Call, network_id: str) -> Reply:
        """The names as a configuration for dnsmasq; 404 while DNS is off."""
        return text_file(await self._dns.file(actor_of(call), int(network_id)))


def text_file(made: DnsmasqFile) -> Reply:
    """A configuration for dnsmasq."""
    return Reply(200, made.body, "text/plain; charset=utf-8", {**NO_STORE, "ETag": made.etag})
