"""Who asks on the mesh surface, and what an endpoint may ask of him."""

from typing import cast

from appliance.http.call import Call
from appliance.identity.caller import Caller, Permission
from appliance.mesh.actor import Actor
from appliance.mesh.device.devices import DeviceState

user = Permission("user", "mesh:user")
system_admin = Permission("system admin", "mesh:system-admin")
device = Permission("device", "mesh:device")
user_or_device = Permission("user or device", "mesh:someone")

USER_ROLES = frozenset({"mesh:user", "mesh:someone"})
ADMIN_ROLES = USER_ROLES | {"mesh:system-admin"}
DEVICE_ROLES = frozenset({"mesh:device", "mesh:someone"})


class MeshCaller(Caller, frozen=True):
    """A caller and the actor he is; `device` is the state of a device's node as it was when the request came."""

    actor: Actor = Actor()
    device: DeviceState | None = None


def actor_of(call: Call) -> Actor:
    """The actor behind a request; on a public endpoint nobody who is known."""
    caller = call.caller
    return caller.actor if isinstance(caller, MeshCaller) else Actor(address=call.address)


def device_of(call: Call) -> DeviceState:
    """The device that asks, on an endpoint for devices."""
    return cast(DeviceState, cast(MeshCaller, call.caller).device)
