"""The programs that make file systems: their labels and arguments, tried on a device."""

from pathlib import Path

import pytest

from appliance.host.errors import Invalid
from appliance.host.storage.makers import MAKERS, maker_of
from tests.support.loops import loop, partition, run, signature


@pytest.mark.parametrize("filesystem", sorted(MAKERS))
@pytest.mark.parametrize("whole_disk", [True, False])
def test_the_longest_label_on_a_device_of_the_smallest_size(tmp_path: Path, filesystem: str, whole_disk: bool) -> None:
    maker = maker_of(filesystem)
    megabytes = max(1, maker.smallest >> 20)
    label = "L" * maker.label_limit
    maker.check_label(label)
    with loop(tmp_path, megabytes + (0 if whole_disk else 4)) as disk:
        path = disk if whole_disk else partition(disk, megabytes)[0]
        run(*maker.argv(path, label, whole_disk=whole_disk))
        shown = label[:127]  # of btrfs's long ones blkid shows the beginning
        assert (signature(path), signature(path, "LABEL")[:127]) == (filesystem, shown)
    with pytest.raises(Invalid, match="label"):
        maker.check_label(label + "L")


@pytest.mark.parametrize("label", ["a\nb", "a\tb", " a", "a ", "\x7f", "a\u2028b"])
def test_labels_that_no_file_system_bears(label: str) -> None:
    for maker in MAKERS.values():
        with pytest.raises(Invalid):
            maker.check_label(label)


def test_labels_are_counted_in_bytes() -> None:
    maker_of("ext4").check_label("ö" * 8)
    with pytest.raises(Invalid):
        maker_of("ext4").check_label("ö" * 9)


@pytest.mark.parametrize("label", ["a/b", "a*b", 'a"b', "a|b", "größe"])
def test_labels_that_fat_does_not_bear(label: str) -> None:
    maker_of("btrfs").check_label(label)
    with pytest.raises(Invalid):
        maker_of("vfat").check_label(label)


def test_a_label_is_never_an_option(tmp_path: Path) -> None:
    with loop(tmp_path) as disk:
        run(*maker_of("ext4").argv(disk, "-n", whole_disk=True))
        assert (signature(disk), signature(disk, "LABEL")) == ("ext4", "-n")


def test_others_are_not_offered() -> None:
    for filesystem in ("ntfs", "EXT4", "", "ext4 -n"):
        with pytest.raises(Invalid):
            maker_of(filesystem)
