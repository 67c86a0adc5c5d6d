"""Networks and nodes, on both databases: rules, races, and what reaches whom."""

from collections.abc import Callable
from ipaddress import ip_address

from sqlalchemy import Connection, Table, func, select

from appliance.mesh.certificates.authority import from_pem, verify
from appliance.mesh.certificates.keys import new_host_key
from appliance.mesh.errors import Denied, Invalid, Missing, Taken, Unacceptable
from appliance.mesh.moments import DAY, SECOND, now
from appliance.mesh.networks import NetworkChange, NewNetwork
from appliance.mesh.node_making import Made, NewNode
from appliance.mesh.nodes import NodeChange
from appliance.mesh.store.tables import audit, authorities, blocklist, certificates, networks, nodes
from tests.support.mesh import MeshTestCase, on_both


def blocked(connection: Connection) -> set[str]:
    return set(connection.execute(select(blocklist.c.fingerprint)).scalars())


def network_version(connection: Connection) -> int:
    return int(connection.execute(select(networks.c.version)).scalar_one())


def rows_of(table: Table) -> Callable[[Connection], int]:
    return lambda connection: int(connection.execute(select(func.count()).select_from(table)).scalar_one())


class NetworksOnSQLite(MeshTestCase):
    async def test_a_network_has_an_authority_and_an_owner(self) -> None:
        owner = await self.user("alice")
        made = await self.network(owner)
        self.assertTrue(made.rights.owner)
        self.assertEqual([each.row for each in await self.networks.visible(owner)], [made.row])
        key_sealed = await self.read(lambda c: c.execute(select(authorities.c.key_sealed)).scalar_one())
        self.vault.open_authority(key_sealed)

    async def test_names_and_subnets_that_clash(self) -> None:
        alice, bob = await self.user("alice"), await self.user("bob")
        await self.network(alice)
        await self.refused(Taken, self.network(bob, subnet="10.1.0.0/24"))
        await self.refused(Taken, self.network(alice, "other", "10.77.0.128/25"))
        await self.network(bob, "bobs", "10.77.0.0/24")
        await self.network(alice, "other", "10.77.0.128/25", allow_overlap=True)

    async def test_subnets_that_cannot_be(self) -> None:
        alice = await self.user("alice")
        for subnet in (
            "x",
            "",
            "10.0.0.0",
            "10.0.0.1/24",
            "0.0.0.0/0",
            "10.0.0.0/7",
            "10.0.0.0/31",
            "fd00::/64",
            "10.0.0.0/33",
        ):
            await self.refused(Invalid, self.network(alice, subnet=subnet))
        await self.network(alice, "six", "fd00::/64", certificate_version=2)
        await self.network(alice, "large", "10.0.0.0/8")

    async def test_fifty_at_once_with_one_name(self) -> None:
        alice = await self.user("alice")
        attempts = [self.network(alice, subnet=f"10.{n}.0.0/24") for n in range(50)]
        found = await self.at_once(attempts)
        self.assertEqual(len([each for each in found if isinstance(each, Taken)]), 49)

    async def test_who_is_not_in_it_does_not_know_of_it(self) -> None:
        alice, bob = await self.user("alice"), await self.user("bob")
        admin = await self.user("admin", system_admin=True)
        made = (await self.network(alice)).row
        await self.refused(Missing, self.networks.get(bob, made.id))
        self.assertEqual(await self.networks.visible(bob), [])
        seen = await self.networks.get(admin, made.id)
        self.assertFalse(seen.authority_shown)
        self.assertFalse(seen.rights.can_manage_nodes)
        await self.refused(Denied, self.networks.change(admin, made.id, NetworkChange(name="x")))
        await self.refused(Missing, self.networks.change(bob, made.id, NetworkChange(name="x")))

    async def test_a_name_may_be_given_again_and_an_id_never(self) -> None:
        alice = await self.user("alice")
        first = (await self.network(alice)).row
        await self.nodes.create(alice, first.id, NewNode(name="a"))
        await self.refused(Unacceptable, self.networks.delete(alice, first.id, "offic", lambda _: None))
        await self.networks.delete(alice, first.id, "office", lambda _: None)
        for table in (networks, nodes, certificates, authorities):
            self.assertEqual(await self.read(rows_of(table)), 0)
        second = (await self.network(alice)).row
        self.assertGreater(second.id, first.id)
        node = (await self.nodes.create(alice, second.id, NewNode(name="a"))).node
        self.assertGreater(node.id, 1)

    async def test_what_is_done_is_written_down(self) -> None:
        alice = await self.user("alice")
        await self.network(alice)
        rows = await self.read(
            lambda c: [tuple(row) for row in c.execute(select(audit.c.action, audit.c.actor_email, audit.c.client_ip))]
        )
        self.assertEqual(rows, [("network_created", "alice@example.test", "192.0.2.1")])


class NodesOnSQLite(MeshTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.alice = await self.user("alice")
        self.office = (await self.network(self.alice)).row

    async def node(self, name: str, **more: object) -> Made:
        return await self.nodes.create(self.alice, self.office.id, NewNode(name=name, **more))  # type: ignore[arg-type]

    async def test_a_certificate_is_good(self) -> None:
        made = await self.node("gw", group="servers", duration_days=30)
        certificate, authority = from_pem(made.issued.certificate), from_pem(made.issued.authority)
        verify(certificate, authority, int(self.clock.seconds()))
        self.assertEqual(certificate.details.groups, ("servers",))
        self.assertEqual(str(certificate.details.networks[0]), "10.77.0.1/24")
        self.assertEqual(certificate.details.not_after, int(self.clock.seconds()) + 30 * 86400)
        assert made.key is not None
        self.assertEqual(certificate.details.public_key, made.key.public)
        seen = await self.nodes.get(self.alice, made.node.id)
        self.assertEqual(seen.fingerprint, certificate.fingerprint)
        self.assertEqual(self.vault.open_host_key(seen.row.key_sealed or b""), made.key.private.reveal())

    async def test_the_first_is_a_lighthouse(self) -> None:
        await self.refused(Unacceptable, self.node("a", is_lighthouse=False))
        self.assertTrue((await self.node("a")).node.is_lighthouse)
        self.assertFalse((await self.node("b")).node.is_lighthouse)

    async def test_how_long_a_certificate_may_be_valid(self) -> None:
        await self.refused(Invalid, self.node("a", duration_days=731))
        await self.node("a", duration_days=730)
        self.clock.advance(700 * 86400)
        made = await self.node("b")
        self.assertEqual(from_pem(made.issued.certificate).details.not_after, int(self.clock.seconds()) + 30 * 86400)

    async def test_the_lowest_free_address(self) -> None:
        found = [(await self.node(name)).node for name in "abcde"]
        self.assertEqual([node.ip_address for node in found], [f"10.77.0.{n}" for n in range(1, 6)])
        await self.nodes.delete(self.alice, found[3].id)
        await self.nodes.delete(self.alice, found[1].id)
        self.assertEqual((await self.node("x", suggested_ip="10.77.0.6")).node.host_number, 6)
        self.assertEqual([(await self.node(name)).node.host_number for name in ("f", "g", "h")], [2, 4, 7])

    async def test_addresses_that_cannot_be(self) -> None:
        await self.node("a")
        for wrong in ("10.77.1.1", "10.77.0.0", "10.77.0.255", "x", "fd00::1", ""):
            await self.refused(Invalid, self.node("b", suggested_ip=wrong))
        await self.refused(Taken, self.node("b", suggested_ip="10.77.0.1"))
        self.assertFalse(await self.networks.is_address_free(self.alice, self.office.id, "10.77.0.1"))
        self.assertTrue(await self.networks.is_address_free(self.alice, self.office.id, "10.77.0.2"))
        await self.refused(Unacceptable, self.networks.is_address_free(self.alice, self.office.id, "10.77.0.0"))

    async def test_a_full_network(self) -> None:
        small = (await self.network(self.alice, "small", "10.1.0.0/30")).row
        for name in ("a", "b"):
            await self.nodes.create(self.alice, small.id, NewNode(name=name))
        await self.refused(Taken, self.nodes.create(self.alice, small.id, NewNode(name="c")))

    async def test_fifty_at_once(self) -> None:
        await self.node("first")
        found = await self.at_once([self.node(f"n{n}") for n in range(50)])
        made = [each for each in found if isinstance(each, Made)]
        self.assertEqual(len(made), 50)
        self.assertEqual(len({each.node.ip_address for each in made}), 50)
        same = await self.at_once([self.node("same") for _ in range(50)])
        self.assertEqual(len([each for each in same if isinstance(each, Made)]), 1)
        self.assertEqual(len([each for each in same if isinstance(each, Taken)]), 49)
        one = await self.at_once([self.node(f"s{n}", suggested_ip="10.77.0.200") for n in range(50)])
        self.assertEqual(len([each for each in one if isinstance(each, Made)]), 1)

    async def test_a_change_of_group_makes_another_certificate(self) -> None:
        first = await self.node("a", group="old")
        await self.nodes.change(self.alice, first.node.id, NodeChange(group="new"))
        seen = await self.nodes.get(self.alice, first.node.id)
        text = await self.read(
            lambda c: c.execute(
                select(certificates.c.certificate).where(certificates.c.id == seen.row.certificate_id)
            ).scalar_one()
        )
        self.assertEqual(from_pem(text).details.groups, ("new",))
        self.assertEqual(seen.row.public_key, first.node.public_key)
        self.assertEqual(await self.read(blocked), set())
        await self.nodes.change(self.alice, first.node.id, NodeChange(group=""))
        self.assertIsNone((await self.nodes.get(self.alice, first.node.id)).row.group_name)

    async def test_what_a_revocation_takes(self) -> None:
        first, second = await self.node("a"), await self.node("b")
        fingerprint = from_pem(second.issued.certificate).fingerprint
        before = await self.read(network_version)
        await self.nodes.revoke(self.alice, second.node.id)
        seen = await self.nodes.get(self.alice, second.node.id)
        self.assertEqual(
            (seen.row.status, seen.row.ip_address, seen.row.key_sealed, seen.fingerprint), ("revoked", None, None, None)
        )
        self.assertEqual(await self.read(blocked), {fingerprint})
        self.assertGreater(await self.read(network_version), before)
        self.assertEqual((await self.node("c")).node.ip_address, "10.77.0.2")
        await self.nodes.enroll_again(self.alice, second.node.id)
        seen = await self.nodes.get(self.alice, second.node.id)
        self.assertEqual((seen.row.status, seen.row.ip_address), ("pending", "10.77.0.3"))
        self.assertNotIn(seen.fingerprint, await self.read(blocked))
        await self.nodes.delete(self.alice, second.node.id)
        self.assertEqual(await self.read(blocked), {fingerprint, seen.fingerprint})
        self.assertEqual((await self.nodes.get(self.alice, first.node.id)).row.status, "pending")

    async def test_the_only_lighthouse_stays(self) -> None:
        first, second = await self.node("a"), await self.node("b")
        await self.refused(Taken, self.nodes.delete(self.alice, first.node.id))
        await self.refused(Taken, self.nodes.change(self.alice, first.node.id, NodeChange(is_lighthouse=False)))
        await self.nodes.change(self.alice, second.node.id, NodeChange(is_lighthouse=True))
        await self.nodes.delete(self.alice, first.node.id)

    async def test_signing_for_a_key_of_the_host(self) -> None:
        await self.node("lighthouse")
        key = new_host_key().public
        made = await self.nodes.sign(self.alice, self.office.id, NewNode(name="laptop", group="staff"), key)
        self.assertIsNone(made.node.key_sealed)
        self.assertEqual(from_pem(made.issued.certificate).details.public_key, key)
        again = await self.nodes.sign(self.alice, self.office.id, NewNode(name="laptop"), key)
        self.assertEqual(again.node.id, made.node.id)
        self.assertEqual(from_pem(again.issued.certificate).details.groups, ("staff",))
        self.assertEqual(await self.read(blocked), set())
        other = await self.nodes.sign(self.alice, self.office.id, NewNode(name="laptop"), new_host_key().public)
        old = {from_pem(each.issued.certificate).fingerprint for each in (made, again)}
        self.assertEqual(await self.read(blocked), old)
        self.assertEqual(other.node.ip_address, made.node.ip_address)

    async def test_only_who_manages_nodes_may(self) -> None:
        made = await self.node("a")
        bob, admin = await self.user("bob"), await self.user("admin", system_admin=True)
        for attempt, bobs, admins in (
            (lambda who: self.nodes.create(who, self.office.id, NewNode(name="x")), Missing, Denied),
            (lambda who: self.nodes.visible(who, self.office.id), Missing, Denied),
            (lambda who: self.nodes.get(who, made.node.id), Missing, Missing),
            (lambda who: self.nodes.revoke(who, made.node.id), Missing, Missing),
            (lambda who: self.nodes.delete(who, made.node.id), Missing, Missing),
            (lambda who: self.nodes.enroll_again(who, made.node.id), Missing, Missing),
            (lambda who: self.nodes.change(who, made.node.id, NodeChange()), Missing, Missing),
        ):
            await self.refused(bobs, attempt(bob))
            await self.refused(admins, attempt(admin))
        self.assertEqual(await self.nodes.visible(admin, None), [])

    async def test_the_cost_of_an_address_in_a_large_network(self) -> None:
        large = (await self.network(self.alice, "large", "10.0.0.0/8", allow_overlap=True)).row
        await self.nodes.create(self.alice, large.id, NewNode(name="a"))
        last = await self.nodes.create(self.alice, large.id, NewNode(name="b", suggested_ip="10.255.255.254"))
        self.assertEqual(ip_address(last.node.ip_address or ""), ip_address("10.255.255.254"))
        self.assertEqual((await self.nodes.create(self.alice, large.id, NewNode(name="c"))).node.ip_address, "10.0.0.2")

    async def test_moments(self) -> None:
        made = await self.node("a")
        self.assertEqual(made.node.created_at, now(self.clock))
        expiry = await self.read(lambda c: c.execute(select(certificates.c.expires_at)).scalar_one())
        self.assertEqual(expiry, made.node.created_at + 365 * DAY)
        self.assertEqual(made.node.created_at % SECOND, 0)
        await self.networks.create(self.alice, NewNetwork(name="later", subnet="10.9.0.0/24"))


NetworksOnPostgreSQL = on_both(NetworksOnSQLite)
NodesOnPostgreSQL = on_both(NodesOnSQLite)
