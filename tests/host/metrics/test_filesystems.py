"""Which mounts are shown."""

from appliance.host.metrics.filesystems import worth_showing
from appliance.host.storage.tables import parse_mounts

TABLE = r"""
22 27 0:21 / /proc rw - proc proc rw
27 1 8:1 / / rw - ext4 /dev/sda1 rw
28 27 8:1 /var/lib/docker /var/lib/docker rw - ext4 /dev/sda1 rw
29 27 8:2 / /srv/data\040disk rw - xfs /dev/sda2 rw
30 27 0:40 / /tmp rw - tmpfs tmpfs rw
31 27 7:0 / /snap/core ro - squashfs /dev/loop0 ro
32 27 0:50 / /mnt/share rw - nfs4 server:/share rw
33 27 0:51 / /mnt/windows rw - cifs //server/share rw
34 27 0:52 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
35 27 0:53 / /tank rw - zfs tank rw
"""


def test_disks_pools_and_network_drives_once_each() -> None:
    shown = worth_showing(parse_mounts(TABLE.strip().splitlines()))
    assert [mount.mount_point for mount in shown] == ["/", "/mnt/share", "/mnt/windows", "/srv/data disk", "/tank"]


def test_the_root_of_a_container() -> None:
    table = ["1 0 0:60 / / rw - overlay overlay rw", "2 1 8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda1 rw"]
    assert [mount.mount_point for mount in worth_showing(parse_mounts(table))] == ["/", "/etc/hosts"]


def test_not_more_than_a_client_can_bear() -> None:
    table = [f"{n} 0 8:{n} / /m{n:03} rw - ext4 /dev/sd{n} rw" for n in range(200)]
    assert len(worth_showing(parse_mounts(table))) == 64
