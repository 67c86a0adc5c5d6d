"""What hosts of a group let in: rules for each group of a network, which its owner or a manager sets."""

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import Missing
from appliance.mesh.firewall_rules import InboundRule, check_ports
from appliance.mesh.issuing import touch
from appliance.mesh.moments import now
from appliance.mesh.store.tables import firewalls

MISSING = "Group firewall not found"

_decode = msgspec.json.Decoder(list[InboundRule]).decode


class GroupFirewall(msgspec.Struct, frozen=True):
    """A group's rules."""

    group_name: str
    inbound_rules: list[InboundRule]


class GroupFirewalls:
    """The rules in `store`."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def of(self, actor: Actor, network_id: int) -> list[GroupFirewall]:
        """All groups of a network that have rules, by name. Raises `Missing`, `Denied`."""

        def work(connection: Connection) -> list[GroupFirewall]:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_firewall or his.system_admin)
            query = (
                select(firewalls.c.group_name, firewalls.c.inbound_rules)
                .where(firewalls.c.network_id == network_id)
                .order_by(firewalls.c.group_name)
            )
            return [GroupFirewall(name, _decode(rules)) for name, rules in connection.execute(query)]

        return await self._store.run(work)

    async def set(self, actor: Actor, network_id: int, group: str, rules: list[InboundRule]) -> GroupFirewall:
        """Give a group its rules. Raises `Missing`, `Denied`, and `Invalid` for ports that are none."""
        for number, rule in enumerate(rules):
            check_ports(rule.port_range, f"inbound_rules[{number}].port_range")
        moment, text = now(self._clock), msgspec.json.encode(rules).decode()

        def work(connection: Connection) -> GroupFirewall:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_firewall)
            changed = connection.execute(
                update(firewalls)
                .where(firewalls.c.network_id == network_id, firewalls.c.group_name == group)
                .values(inbound_rules=text, version=firewalls.c.version + 1)
            )
            if not changed.rowcount:
                connection.execute(
                    insert(firewalls).values(network_id=network_id, group_name=group, inbound_rules=text)
                )
            self._record(connection, actor, moment, "network_group_firewall_updated", network_id, group)
            return GroupFirewall(group, rules)

        return await self._store.run(work)

    async def remove(self, actor: Actor, network_id: int, group: str) -> None:
        """Take a group's rules away: its hosts let everything in again. Raises `Missing`, `Denied`."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_firewall)
            removed = connection.execute(
                delete(firewalls).where(firewalls.c.network_id == network_id, firewalls.c.group_name == group)
            )
            if not removed.rowcount:
                raise Missing(MISSING)
            touch(connection, network_id)  # rules set later count their versions from the beginning again
            self._record(connection, actor, moment, "network_group_firewall_deleted", network_id, group)

        await self._store.run(work)

    def _record(
        self, connection: Connection, actor: Actor, moment: int, action: str, network_id: int, group: str
    ) -> None:
        event = Event(action=action, resource_type="network", resource_id=network_id, details={"group": group})
        record(connection, actor, moment, event)
