import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Invalid
from appliance.host.storage.mount_options import BY_FILESYSTEM, parse_options


@pytest.mark.parametrize(
    ("filesystem", "given", "made"),
    [
        ("ext4", "", "nosuid,nodev"),
        ("ext4", "defaults", "nosuid,nodev"),
        ("ext4", "rw,noatime", "nosuid,nodev,rw,noatime"),
        ("ext4", " ro , nodev ", "nosuid,nodev,ro"),
        ("ext4", "data=writeback,commit=30", "nosuid,nodev,data=writeback,commit=30"),
        ("btrfs", "compress=zstd:3,subvol=/@home", "nosuid,nodev,compress=zstd:3,subvol=/@home"),
        ("btrfs", "compress", "nosuid,nodev,compress"),
        ("vfat", "uid=1000,umask=022,shortname=mixed", "nosuid,nodev,uid=1000,umask=022,shortname=mixed"),
        ("xfs", "nouuid,allocsize=64k", "nosuid,nodev,nouuid,allocsize=64k"),
    ],
)
def test_what_is_allowed(filesystem: str, given: str, made: str) -> None:
    assert parse_options(given, filesystem) == made


@pytest.mark.parametrize(
    "given",
    [
        *("suid", "dev", "rw,suid", "exec=/bin/sh", "x-foo", "x-systemd.automount", "X-mount.mkdir", "loop", "user"),
        *("users", "owner", "bind", "rbind", "move", "remount", "helper=x", "uhelper=x", "context=x", "nofail"),
        *("errors=panic", "journal_path=/dev/vda", "journal_dev=0x1", "usrjquota=a", "_netdev", "comment=x", "sb=1"),
        *("rw,", ",rw", "rw,,ro", "=", "=x", "commit", "commit=", "commit=1x", "commit=1\n", "noatime=1", "rw rw"),
        *("RW", "rw\n", "rw\0", "subvol=x", "uid=0", "ro;rw", "-o", "data=ordered|writeback"),
    ],
)
def test_what_is_refused(given: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_options(given, "ext4")
    assert refused.value.field == "options"


@pytest.mark.parametrize(
    ("filesystem", "given"),
    [
        *[("btrfs", each) for each in ("subvol=../x", "subvol=a/../b\n", "subvol=a,b", "subvol=", "device=/dev/sdb")],
        *[("vfat", each) for each in ("umask=999", "uid=root", "uid=-1", "codepage=x", "iocharset=/etc")],
        ("squashfs", "commit=1"),
    ],
)
def test_what_is_refused_for_others(filesystem: str, given: str) -> None:
    with pytest.raises(Invalid):
        parse_options(given, filesystem)


@given(st.text(max_size=60), st.sampled_from(sorted(BY_FILESYSTEM)))
def test_nothing_comes_out_that_was_not_checked(text: str, filesystem: str) -> None:
    try:
        made = parse_options(text, filesystem)
    except Invalid:
        return
    assert made.startswith("nosuid,nodev")
    assert all(part and part.isascii() and part.isprintable() and " " not in part for part in made.split(","))
    assert not {"suid", "dev"} & set(made.split(","))
