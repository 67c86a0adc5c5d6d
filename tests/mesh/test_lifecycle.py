"""What goes on by itself, over two years of a clock that the test moves: on both databases."""

from sqlalchemy import Connection, select

from appliance.mesh.certificates.authority import from_pem, verify
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.model import Certificate
from appliance.mesh.device.views import network_view, node_view
from appliance.mesh.lifecycle.lifecycle import Lifecycle
from appliance.mesh.moments import now
from appliance.mesh.node_making import NewNode
from appliance.mesh.nodes import NodeChange
from appliance.mesh.store.tables import audit, authorities, blocklist, certificates, nodes
from tests.support.mesh import MeshTestCase, on_both

DAY = 86400.0


class LifecycleOnSQLite(MeshTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.lifecycle = Lifecycle(self.store, self.clock, self.vault, keep_days=400)
        self.alice = await self.user("alice")
        self.office = (await self.network(self.alice)).row
        made = await self.nodes.create(self.alice, self.office.id, NewNode(name="gw", group="old"))
        self.node_id = made.node.id

    async def certificate(self) -> Certificate:
        """The certificate that the node's configuration has."""
        view = await self.read(lambda c: node_view(c, self.vault, self.node_id))
        assert view is not None
        return from_pem(view.certificate)

    async def trusted(self) -> list[Certificate]:
        """The CAs that the hosts trust."""
        view = await self.read(lambda c: network_view(c, self.office.id, now(self.clock)))
        return [from_pem(text) for text in view.authorities]

    async def blocked(self) -> set[str]:
        return await self.read(lambda c: set(c.execute(select(blocklist.c.fingerprint)).scalars()))

    async def test_a_certificate_is_renewed_when_a_third_is_left(self) -> None:
        first = await self.certificate()
        self.clock.advance(240 * DAY)
        await self.lifecycle.run()
        self.assertEqual(await self.certificate(), first)
        self.clock.advance(5 * DAY)
        await self.lifecycle.run()
        second = await self.certificate()
        self.assertNotEqual(second.fingerprint, first.fingerprint)
        self.assertEqual(second.details.public_key, first.details.public_key)
        self.assertEqual(second.details.not_after, int(self.clock.seconds()) + 365 * 86400)
        self.assertEqual(await self.blocked(), set())
        await self.lifecycle.run()
        self.assertEqual(await self.certificate(), second)

    async def test_audit_entries_are_kept_for_a_while(self) -> None:
        async def actions() -> set[str]:
            return set(await self.read(lambda c: c.execute(select(audit.c.action)).scalars().all()))

        self.clock.advance(400 * DAY)
        await self.lifecycle.run()
        self.assertIn("network_created", await actions())
        self.clock.advance(1)
        await self.lifecycle.run()
        self.assertEqual(await actions(), {"cert_signed", "network_updated"})  # what went on just now

    async def test_a_replaced_certificate_ends_a_day_later(self) -> None:
        first = await self.certificate()
        await self.nodes.change(self.alice, self.node_id, NodeChange(group="new"))
        self.clock.advance(DAY - 1)
        await self.lifecycle.run()
        self.assertEqual(await self.blocked(), set())
        self.clock.advance(1)
        await self.lifecycle.run()
        self.assertEqual(await self.blocked(), {first.fingerprint})
        self.clock.advance(366 * DAY)
        await self.lifecycle.run()
        self.assertEqual(await self.blocked(), set())

    async def test_the_authority_changes_and_no_host_is_cut_off(self) -> None:
        """Every third day for three years: what a host has is trusted by one who polled up to nine days ago."""
        seen = [await self.trusted()] * 3
        signers = set()
        for _ in range(365):
            self.clock.advance(3 * DAY)
            await self.lifecycle.run()
            certificate = await self.certificate()
            seen = [*seen[1:], await self.trusted()]
            signers.add(certificate.details.issuer)
            for trusted in seen:
                self.assertTrue(self.is_trusted(certificate, trusted))
        self.assertGreaterEqual(len(signers), 3)
        states = await self.read(lambda c: list(c.execute(select(authorities.c.state)).scalars()))
        self.assertIn("retired", states)
        self.assertEqual(states.count("current"), 1)
        self.assertLessEqual(len(await self.trusted()), 2)

    def is_trusted(self, certificate: Certificate, trusted: list[Certificate]) -> bool:
        for authority in trusted:
            try:
                verify(certificate, authority, int(self.clock.seconds()))
            except BadCertificate:
                continue
            return True
        return False

    async def test_many_are_renewed_in_portions(self) -> None:
        for number in range(150):
            await self.nodes.create(self.alice, self.office.id, NewNode(name=f"n{number}"))
        self.clock.advance(300 * DAY)
        await self.lifecycle.run()

        def expiries(connection: Connection) -> list[int]:

            joined = nodes.join(certificates, certificates.c.id == nodes.c.certificate_id)
            return list(connection.execute(select(certificates.c.expires_at).select_from(joined)).scalars())

        found = await self.read(expiries)
        self.assertEqual(len(found), 151)
        self.assertTrue(all(each > now(self.clock) + 364 * 86_400_000_000 for each in found))


LifecycleOnPostgreSQL = on_both(LifecycleOnSQLite)
