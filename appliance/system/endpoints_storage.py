"""storage/…: disks, what is on them, mounting and formatting."""

import msgspec

from appliance.host.storage.formats import Formatting
from appliance.host.storage.model import Disk
from appliance.host.storage.storage import Storage
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import administrator, reader
from appliance.system.accepted import accepted
from appliance.system.models_jobs import wants_to_wait
from appliance.system.models_storage import (
    DiskList,
    FormatBody,
    FreeDiskList,
    IscsiSessionList,
    LogicalVolumeList,
    MountBody,
    MultipathDeviceList,
    PhysicalVolumeList,
    RaidDeviceList,
    StorageMessage,
    UnmountBody,
    VolumeGroupList,
)


class StorageEndpoints:
    """Disks and file systems."""

    routes = Routes(prefix="/storage", tag="Storage")

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._shown: list[Disk] | None = None
        self._encoded = msgspec.Raw()

    @routes.get("/disks", reply=DiskList, who=reader, statuses=(503,))
    async def list_disks(self, call: Call) -> msgspec.Raw:
        """Every disk with all that lies on it.

        Sizes are in bytes. `partitions` is flat: logical volumes, opened encryptions and arrays stand in it beside the
        partitions, `parent` names what each lies on. A file system that takes a whole disk is told of by the disk's
        own fields. What is not known is empty or 0. Figures of use are at most 2 seconds old.
        """
        disks = await self._storage.disks.snapshot()
        if disks is not self._shown:
            self._shown, self._encoded = disks, msgspec.Raw(msgspec.json.encode(DiskList(disks)))
        return self._encoded

    @routes.post(
        "/mount",
        reply=StorageMessage,
        who=administrator,
        body=JsonBody(MountBody),
        audit="storage.mount",
        statuses=(404, 409, 503),
    )
    async def mount(self, call: Call, body: MountBody) -> StorageMessage:
        """Mount a file system.

        The mount point is an empty directory that does not belong to the system; it is made where it is missing, and
        links in its path are refused. Options are taken from a list for each file system. It lasts until a reboot.
        """
        call.audit_object = body.device
        call.audit_details["mount_point"] = body.mount_point
        message = await self._storage.mounts.mount(
            body.device, body.mount_point, body.filesystem or "", body.options or ""
        )
        return StorageMessage(message)

    @routes.post(
        "/unmount",
        reply=StorageMessage,
        who=administrator,
        body=JsonBody(UnmountBody),
        audit="storage.unmount",
        statuses=(404, 409, 503),
    )
    async def unmount(self, call: Call, body: UnmountBody) -> StorageMessage:
        """Unmount a file system of a disk or of a network; what is in use stays mounted, 409."""
        call.audit_object = body.mount_point
        return StorageMessage(await self._storage.mounts.unmount(body.mount_point, force=body.force))

    @routes.post(
        "/format",
        reply=Formatting,
        who=administrator,
        body=JsonBody(FormatBody),
        audit="storage.format",
        statuses=(202, 404, 409, 503, 507),
        name="format_device",
    )
    async def format(self, call: Call, body: FormatBody) -> Formatting | Reply | FileReply:
        """Make a file system on a device; everything that lies on it is lost.

        Refused with 409 are devices that are mounted, swap areas, members of volume groups, arrays and encryptions,
        and disks with a partition of that kind. One device is formatted at a time. With `Prefer: respond-async` the
        answer is 202 as soon as it has begun, and `Location` is where its job can be watched.
        """
        call.audit_object = body.device
        call.audit_details["filesystem"] = body.filesystem
        wait = wants_to_wait(call)
        owner = call.caller.name if call.caller is not None else ""
        formatting = await self._storage.formats.format(
            body.device, body.filesystem, body.label or "", owner=owner, wait=wait
        )
        return formatting if wait else accepted(formatting, formatting.job, call)

    @routes.get("/lvm/vgs", reply=VolumeGroupList, who=reader, statuses=(503,))
    async def list_volume_groups(self, call: Call) -> VolumeGroupList:
        """LVM's volume groups; none without LVM."""
        return VolumeGroupList(await self._storage.lvm.volume_groups())

    @routes.get("/lvm/lvs", reply=LogicalVolumeList, who=reader, statuses=(503,))
    async def list_logical_volumes(self, call: Call) -> LogicalVolumeList:
        """LVM's logical volumes; none without LVM."""
        return LogicalVolumeList(await self._storage.lvm.logical_volumes())

    @routes.get("/lvm/pvs", reply=PhysicalVolumeList, who=reader, statuses=(503,))
    async def list_physical_volumes(self, call: Call) -> PhysicalVolumeList:
        """LVM's physical volumes; none without LVM."""
        return PhysicalVolumeList(await self._storage.lvm.physical_volumes())

    @routes.get("/raid/devices", reply=RaidDeviceList, who=reader)
    async def list_raid_devices(self, call: Call) -> RaidDeviceList:
        """The arrays of Linux software RAID (md)."""
        return RaidDeviceList(await self._storage.raid_devices())

    @routes.get("/raid/available-disks", reply=FreeDiskList, who=reader, statuses=(503,))
    async def list_available_disks(self, call: Call) -> FreeDiskList:
        """Disks and partitions that hold nothing and that nothing uses, so that an array may be made of them."""
        return FreeDiskList(await self._storage.disks.free())

    @routes.get("/iscsi/sessions", reply=IscsiSessionList, who=reader)
    async def list_iscsi_sessions(self, call: Call) -> IscsiSessionList:
        """The iSCSI targets that this machine is logged in to."""
        return IscsiSessionList(await self._storage.iscsi_sessions())

    @routes.get("/multipath/devices", reply=MultipathDeviceList, who=reader)
    async def list_multipath_devices(self, call: Call) -> MultipathDeviceList:
        """Disks that several paths lead to."""
        return MultipathDeviceList(await self._storage.multipath_devices())
