"""Names of a network's hosts: for dnsmasq on a lighthouse, and for the resolvers of the others."""

import hashlib

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import Rights, rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import Denied, Invalid, Missing, Taken
from appliance.mesh.moments import now
from appliance.mesh.store.tables import dns_aliases, networks, nodes

DNS_OFF = "DNS is not enabled for the network"
ALIAS_MISSING = "DNS alias not found"
ALIAS_TAKEN = "The name is in use already"
NODE_MISSING = "Node not found"


class DnsSettings(msgspec.Struct, frozen=True):
    """Whether a network has names, under which domain, and who is asked for all others."""

    domain: str | None
    enabled: bool
    upstream_servers: list[str]


class DnsChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; None leaves it."""

    domain: str | None = None
    enabled: bool | None = None
    upstream_servers: list[str] | None = None


class Alias(msgspec.Struct, frozen=True):
    """Another name of a node."""

    id: int
    alias: str
    node_id: int
    node_hostname: str


class ClientConfig(msgspec.Struct, frozen=True):
    """What a host's resolver asks for the domain."""

    domain: str | None
    dns_servers: list[str]


class DnsmasqFile(msgspec.Struct, frozen=True):
    """A configuration for dnsmasq and its ETag."""

    body: bytes
    etag: str


class Dns:
    """The names in `store`."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def settings(self, actor: Actor, network_id: int) -> DnsSettings:
        """A network's settings. Raises `Missing`, `Denied`."""

        def work(connection: Connection) -> DnsSettings:
            _require_reader(rights(connection, actor, network_id))
            return _settings(connection, network_id)

        return await self._store.run(work)

    async def change(self, actor: Actor, network_id: int, change: DnsChange) -> DnsSettings:
        """Change them. Raises `Missing`, `Denied`, and `Invalid` for names without a domain."""
        moment = now(self._clock)

        def work(connection: Connection) -> DnsSettings:
            _require_writer(rights(connection, actor, network_id))
            values: dict[str, object] = {}
            if change.domain is not None:
                values["dns_domain"] = change.domain or None
            if change.enabled is not None:
                values["dns_enabled"] = change.enabled
            if change.upstream_servers is not None:
                values["dns_upstream"] = msgspec.json.encode(change.upstream_servers).decode()
            if values:
                connection.execute(update(networks).where(networks.c.id == network_id).values(**values))
            found = _settings(connection, network_id)
            if found.enabled and found.domain is None:
                raise Invalid("domain", "names need a domain")
            _record(connection, actor, moment, "network_dns_updated", network_id, **msgspec.structs.asdict(found))
            return found

        return await self._store.run(work)

    async def aliases(self, actor: Actor, network_id: int) -> list[Alias]:
        """The other names of a network's nodes. Raises `Missing`, `Denied`."""

        def work(connection: Connection) -> list[Alias]:
            _require_reader(rights(connection, actor, network_id))
            return _aliases(connection, network_id)

        return await self._store.run(work)

    async def add_alias(self, actor: Actor, network_id: int, alias: str, node_id: int) -> Alias:
        """Give a node another name. Raises `Missing`, `Denied`, `Taken`."""
        moment = now(self._clock)

        def work(connection: Connection) -> Alias:
            _require_writer(rights(connection, actor, network_id))
            node = select(nodes.c.hostname).where(nodes.c.id == node_id, nodes.c.network_id == network_id)
            hostname = connection.execute(node).scalar()
            if hostname is None:
                raise Missing(NODE_MISSING)
            used = {each.alias.lower() for each in _aliases(connection, network_id)}
            hostnames = select(nodes.c.hostname).where(nodes.c.network_id == network_id)
            used |= {name.lower() for name in connection.execute(hostnames).scalars()}
            if alias.lower() in used:
                raise Taken(ALIAS_TAKEN)
            made = connection.execute(
                insert(dns_aliases)
                .values(network_id=network_id, node_id=node_id, alias=alias)
                .returning(dns_aliases.c.id)
            )
            _record(connection, actor, moment, "network_dns_alias_created", network_id, alias=alias, node_id=node_id)
            return Alias(int(made.scalar_one()), alias, node_id, hostname)

        return await self._store.run(work)

    async def remove_alias(self, actor: Actor, network_id: int, alias_id: int) -> None:
        """Take a name away. Raises `Missing`, `Denied`."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            _require_writer(rights(connection, actor, network_id))
            removed = connection.execute(
                delete(dns_aliases).where(dns_aliases.c.id == alias_id, dns_aliases.c.network_id == network_id)
            )
            if not removed.rowcount:
                raise Missing(ALIAS_MISSING)
            _record(connection, actor, moment, "network_dns_alias_deleted", network_id, alias_id=alias_id)

        await self._store.run(work)

    async def file(self, actor: Actor, network_id: int) -> DnsmasqFile:
        """The configuration for dnsmasq, for a person. Raises `Missing`, `Denied`."""

        def work(connection: Connection) -> DnsmasqFile:
            _require_reader(rights(connection, actor, network_id))
            return _file(connection, network_id)

        return await self._store.run(work)

    async def file_for_device(self, network_id: int) -> DnsmasqFile:
        """The same for a device of the network. Raises `Missing`."""
        return await self._store.run(lambda connection: _file(connection, network_id))

    async def client_config(self, network_id: int) -> ClientConfig:
        """Whom a device asks for names: the lighthouses. Raises `Missing` where DNS is off."""

        def work(connection: Connection) -> ClientConfig:
            found = _enabled(connection, network_id)
            lighthouses = (
                select(nodes.c.ip_address)
                .where(nodes.c.network_id == network_id, nodes.c.is_lighthouse, nodes.c.ip_address.is_not(None))
                .order_by(nodes.c.id)
            )
            return ClientConfig(found.domain, list(connection.execute(lighthouses).scalars()))

        return await self._store.run(work)


def _require_reader(his: Rights) -> None:
    his.require(his.member or his.system_admin)


def _require_writer(his: Rights) -> None:
    if not (his.owner or his.system_admin):
        raise Denied


def _settings(connection: Connection, network_id: int) -> DnsSettings:
    query = select(networks.c.dns_domain, networks.c.dns_enabled, networks.c.dns_upstream)
    domain, enabled, upstream = connection.execute(query.where(networks.c.id == network_id)).one()
    return DnsSettings(domain, bool(enabled), msgspec.json.decode(upstream, type=list[str]))


def _enabled(connection: Connection, network_id: int) -> DnsSettings:
    found = _settings(connection, network_id)
    if not found.enabled:
        raise Missing(DNS_OFF)
    return found


def _aliases(connection: Connection, network_id: int) -> list[Alias]:
    query = (
        select(dns_aliases.c.id, dns_aliases.c.alias, dns_aliases.c.node_id, nodes.c.hostname)
        .join(nodes, nodes.c.id == dns_aliases.c.node_id)
        .where(dns_aliases.c.network_id == network_id)
        .order_by(dns_aliases.c.id)
    )
    return [Alias(*row) for row in connection.execute(query)]


def _file(connection: Connection, network_id: int) -> DnsmasqFile:
    """As dnsmasq(8) reads it: names are validated before they are kept, so nothing here needs quoting."""
    found = _enabled(connection, network_id)
    hosts = (
        select(nodes.c.id, nodes.c.hostname, nodes.c.ip_address)
        .where(nodes.c.network_id == network_id, nodes.c.ip_address.is_not(None))
        .order_by(nodes.c.id)
    )
    addresses = {node_id: (hostname, address) for node_id, hostname, address in connection.execute(hosts)}
    lines = ["# Made by the mesh's controller; changes are overwritten.", "no-resolv", "domain-needed", "bogus-priv"]
    lines += [f"domain={found.domain}", f"local=/{found.domain}/"]
    lines += [f"server={server}" for server in found.upstream_servers]
    lines += [f"host-record={hostname}.{found.domain},{address}" for hostname, address in addresses.values()]
    for each in _aliases(connection, network_id):
        if each.node_id in addresses:
            lines.append(f"host-record={each.alias}.{found.domain},{addresses[each.node_id][1]}")
    body = ("\n".join(lines) + "\n").encode()
    return DnsmasqFile(body, hashlib.sha256(body).hexdigest())


def _record(connection: Connection, actor: Actor, moment: int, action: str, network_id: int, **details: object) -> None:
    event = Event(action=action, resource_type="network", resource_id=network_id, details=details)
    record(connection, actor, moment, event)
