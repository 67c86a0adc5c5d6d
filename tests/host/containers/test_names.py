import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.containers.docker.client import segment
from appliance.host.containers.docker.names import ImageReference, check_image, check_name, parse_reference
from appliance.host.errors import Invalid

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize("name", ["a", "web-1", "A_b.c", "0" * 64, "x" * 255])
def test_names(name: str) -> None:
    assert check_name("id", name) == name


@pytest.mark.parametrize("name", ["", "-a", ".", "..", "a/b", "a b", "a\n", "ä", "a%2f", "x" * 256, "a?b", "a#b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Invalid, match=r"^id:"):
        check_name("id", name)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("nginx", ImageReference("nginx")),
        ("nginx:1.25-alpine", ImageReference("nginx", "1.25-alpine")),
        ("library/nginx", ImageReference("library/nginx")),
        ("registry.example:5000/a/b_c/d--e:v1", ImageReference("registry.example:5000/a/b_c/d--e", "v1")),
        ("localhost/x", ImageReference("localhost/x")),
        ("[::1]:5000/x", ImageReference("[::1]:5000/x")),
        (f"a@{DIGEST}", ImageReference("a", "", DIGEST)),
        (f"a:1@{DIGEST}", ImageReference("a", "1", DIGEST)),
    ],
)
def test_references(text: str, reference: ImageReference) -> None:
    assert parse_reference("image", text) == reference
    assert check_image("image", text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "UPPER",
            "a//b",
            "../a",
            "a/..",
            "a:b:c",
            "a b",
            "a?tag=x",
            "a#b",
            "http://a/b",
            "a@sha256:00",
            "-a",
            "a-",
        ),
        *("a:", "a/", "/a", "a" * 256, "a\n", "a%2fb", "a&fromSrc=x"),
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(Invalid, match=r"^image:"):
        parse_reference("image", text)


def test_a_tag_beside_the_name() -> None:
    assert str(parse_reference("image", "a", "1")) == "a:1"
    assert str(parse_reference("image", "a:1", "1")) == "a:1"
    assert parse_reference("image", "a", DIGEST).version == DIGEST
    for text, tag in (("a:1", "2"), ("a", "-x"), ("a", "x/y"), ("a", "1&x")):
        with pytest.raises(Invalid, match=r"^tag:"):
            parse_reference("image", text, tag)


def test_never_all_tags() -> None:
    assert parse_reference("image", "nginx").version == "latest"


@pytest.mark.parametrize("id", ["0a1b", "sha256:" + "ab" * 32])
def test_ids_of_images(id: str) -> None:
    assert check_image("id", id) == id


def test_a_whole_id_is_said_to_be_one() -> None:
    assert check_image("id", "ab" * 32) == "sha256:" + "ab" * 32


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_harmless_in_a_path(text: str) -> None:
    try:
        check_image("id", text)
    except Invalid:
        return
    assert segment(text) == text
    assert not {"?", "#", "%", " "} & set(text) and ".." not in text.split("/")
