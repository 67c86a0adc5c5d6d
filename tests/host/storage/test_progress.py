from hypothesis import given
from hypothesis import strategies as st

from appliance.host.storage.progress import percentage_in
from appliance.host.storage.tool_words import first_words, last_words

# What mke2fs 1.47 prints, recorded through a pipe.
BACK = b"\b" * 7
BEGIN = b"mke2fs 1.47.0 (5-Feb-2023)\n"
DISCARDED = b"Discarding device blocks: " + b"  0/358400" + b"\b" * 10 + b"done                            \n"
CREATING = (
    b"Creating filesystem with 358400 1k blocks and 89760 inodes\nSuperblock backups stored on blocks: \n\t8193\n\n"
)
ALLOCATED = b"Allocating group tables:  0/44" + b"\b" * 5 + b"     " + b"\b" * 5 + b"done                            \n"
WRITTEN = b"Writing inode tables:  0/44" + b"\b" * 5 + b"11/44" + b"\b" * 5 + b"33/44"
END = b"\b\b\b\b\bdone                            \nCreating journal (8192 blocks): done\n"
SUPER = b"Writing superblocks and filesystem accounting information:  0/44"


def test_the_stages_of_mke2fs() -> None:
    said, seen = b"", []
    for more in (BEGIN, DISCARDED, CREATING, ALLOCATED, WRITTEN, END, SUPER, b"\b\b\b\b\bdone\n\n"):
        said += more
        seen.append(percentage_in(said))
    assert seen == [None, 10, 10, 15, 67, 90, 90, 99]


def test_discarding_counts_too() -> None:
    assert percentage_in(b"Discarding device blocks: 1000/4000") == 2


def test_other_programs_tell_nothing() -> None:
    for output in (b"", b"meta-data=/dev/loop1 isize=512\n", b"btrfs-progs v6.2\n", b"12/24"):
        assert percentage_in(output) is None


def test_only_the_end_of_the_output_is_needed() -> None:
    assert percentage_in((DISCARDED + CREATING + ALLOCATED + WRITTEN)[-60:]) == 67


@given(st.binary(max_size=200), st.sampled_from([b"", b"Writing inode tables:", b"Creating journal"]))
def test_anything_gives_a_percentage_or_none(output: bytes, words: bytes) -> None:
    found = percentage_in(words + output)
    assert found is None or 0 <= found <= 99


def test_words_are_short_clean_lines() -> None:
    assert first_words(b"\n mount: /x: bad\x1b[31m\n  dmesg(1) may have more\n") == "mount: /x: bad [31m"
    assert last_words(b"one\n0/4\b\b\bdone\n\n") == "0/4done"
    assert last_words(b"mkfs.xfs: cannot open\nUsage: mkfs.xfs\n/* label */\n") == "mkfs.xfs: cannot open"
    assert last_words(b"Usage: x\nmore") == "Usage: x"
    assert first_words(b"") == last_words(b" \n") == ""
    assert len(last_words(b"x" * 10_000)) == 201
    assert last_words(b"\xff\xfe") == "\ufffd\ufffd"
