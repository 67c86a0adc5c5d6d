"""device/…: what devices ask for with their tokens, and the codes that they get them with."""

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import Reply
from appliance.identity.caller import anyone
from appliance.mesh.callers import actor_of, device, device_of, user
from appliance.mesh.device.downloads import Downloads
from appliance.mesh.device.enrollment import Enrolled, Enrollment
from appliance.mesh.device.heartbeats import Heartbeats
from appliance.mesh.device.information import Information
from appliance.mesh.device.polls import Configurations
from appliance.mesh.dns import ClientConfig, Dns
from appliance.mesh.endpoints_dns import text_file
from appliance.mesh.endpoints_nodes import attachment
from appliance.mesh.envelope import NO_STORE
from appliance.mesh.limits import Limits
from appliance.mesh.models_nodes import (
    CodeBody,
    CodeReply,
    DeviceInfo,
    EnrollBody,
    LighthousePeer,
    LighthousePeers,
    RouteList,
)
from appliance.mesh.moments import shown


class DeviceEndpoints:
    """Devices and their enrolment."""

    routes = Routes(prefix="/device", tag="Devices")

    def __init__(
        self,
        enrollment: Enrollment,
        configurations: Configurations,
        downloads: Downloads,
        information: Information,
        dns: Dns,
        heartbeats: Heartbeats,
        limits: Limits,
    ) -> None:
        self._enrollment = enrollment
        self._configurations = configurations
        self._downloads = downloads
        self._information = information
        self._dns = dns
        self._heartbeats = heartbeats
        self._limits = limits

    @routes.post(
        "/enrollment-codes",
        reply=CodeReply,
        who=user,
        body=JsonBody(CodeBody),
        audit="mesh.enrollment-code.create",
        statuses=(403, 404),
    )
    async def create_enrollment_code(self, call: Call, body: CodeBody) -> CodeReply:
        """A code with which a device enrols once as that node; shown here and nowhere else."""
        made = await self._enrollment.make_code(actor_of(call), body.node_id, body.expires_in_hours)
        return CodeReply(made.code, f"{shown(made.expires_at)}Z", made.node_id, made.hostname)

    async def _limit_enrolments(self, call: Call) -> None:
        self._limits.enroll.of_address(call)

    @routes.post(
        "/enroll",
        reply=Enrolled,
        who=anyone,
        body=JsonBody(EnrollBody),
        audit="mesh.device.enroll",
        statuses=(404,),
        guard=_limit_enrolments,
    )
    async def enroll(self, call: Call, body: EnrollBody) -> Enrolled:
        """Redeem a code for a device token, with which the node's configuration can be fetched for a year."""
        return await self._enrollment.redeem(actor_of(call), body.code)

    async def _limit_polls(self, call: Call) -> None:
        self._limits.device_config.of_device(call, device_of(call).node_id)

    @routes.get(
        "/config",
        reply=bytes,
        who=device,
        statuses=(304, 404),
        produces="application/yaml",
        guard=_limit_polls,
    )
    async def device_config(self, call: Call) -> Reply:
        """The node's configuration for Nebula. With the ETag in `If-None-Match` 304 as long as nothing has changed."""
        state = device_of(call)
        etags = parse_etags(call)
        unchanged = self._configurations.unchanged(state, etags)
        if unchanged is None:
            made = await self._configurations.get(state)
            await self._heartbeats.beat(state.node_id, polled=True)
            if made.etag not in etags and "*" not in etags:
                return Reply(200, made.body, "application/yaml", {**NO_STORE, "ETag": made.etag})
            unchanged = made.etag
        else:
            await self._heartbeats.beat(state.node_id, polled=state.first_polled_at is None)
        return Reply(304, b"", "application/yaml", {**NO_STORE, "ETag": unchanged})

    async def _limit_certificates(self, call: Call) -> None:
        self._limits.device_certs.of_device(call, device_of(call).node_id)

    @routes.get(
        "/certs",
        reply=bytes,
        who=device,
        statuses=(404,),
        produces="application/zip",
        guard=_limit_certificates,
    )
    async def device_certs(self, call: Call) -> Reply:
        """The node's certificates as ZIP."""
        made = await self._downloads.certificates_of_device(device_of(call).node_id)
        return attachment(made, "application/zip", f"node-{made.hostname}-certs.zip")

    @routes.get("/info", reply=DeviceInfo, who=device)
    async def device_info(self, call: Call) -> DeviceInfo:
        """Which node of which network the device is."""
        network_name, hostname = await self._information.names(device_of(call).node_id)
        return DeviceInfo(network_name, hostname)

    @routes.get("/lighthouse-peers", reply=LighthousePeers, who=device)
    async def lighthouse_peers(self, call: Call) -> LighthousePeers:
        """The other lighthouses of the device's network."""
        state = device_of(call)
        found = await self._information.lighthouses(state.network_id, state.node_id)
        return LighthousePeers([LighthousePeer(node_id, address) for node_id, address in found])

    @routes.get("/advertised-routes", reply=RouteList, who=device)
    async def advertised_routes(self, call: Call) -> RouteList:
        """The networks that are reached through the mesh: its own."""
        return RouteList([await self._information.subnet(device_of(call).network_id)])

    async def _limit_names(self, call: Call) -> None:
        self._limits.device_dns.of_device(call, device_of(call).node_id)

    @routes.get("/dns-client-config", reply=ClientConfig, who=device, statuses=(404,), guard=_limit_names)
    async def dns_client_config(self, call: Call) -> ClientConfig:
        """Whom the device asks for the names of its network; 404 while DNS is off."""
        return await self._dns.client_config(device_of(call).network_id)

    @routes.get(
        "/dnsmasq.conf",
        reply=str,
        who=device,
        statuses=(304, 404),
        produces="text/plain",
        guard=_limit_names,
        name="device_dnsmasq",
    )
    async def dnsmasq(self, call: Call) -> Reply:
        """The names as a configuration for dnsmasq; 404 while DNS is off, 304 for the ETag that the device has."""
        made = await self._dns.file_for_device(device_of(call).network_id)
        if made.etag in parse_etags(call):
            return Reply(304, b"", "text/plain; charset=utf-8", {**NO_STORE, "ETag": made.etag})
        return text_file(made)


def parse_etags(call: Call) -> frozenset[str]:
    """The tags of `If-None-Match` (RFC 9110 section 13.1.2): bare, quoted, weak, a list, or `*`."""
    given = call.header("If-None-Match") or ""
    return frozenset(part.strip().removeprefix("W/").strip('"') for part in given.split(",") if part.strip())
