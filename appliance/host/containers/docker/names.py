"""Names that go into an engine's paths and requests: checked before they do."""

import re
from dataclasses import dataclass

from appliance.host.errors import Invalid

NAME_LIMIT = 255
REFERENCE_LIMIT = 512
REPOSITORY_LIMIT = 255

NAME = rf"^[a-zA-Z0-9][a-zA-Z0-9_.-]{{0,{NAME_LIMIT - 1}}}$(?!\n)"
"""A container, network or volume, by its name or id. `$` alone also comes before a last line feed."""

# The grammar of github.com/distribution/reference.
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,128}"
_REFERENCE = re.compile(rf"((?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::({_TAG}))?(?:@({_DIGEST}))?")
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{4,64}")
_WHOLE_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(NAME)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image in a registry: its repository, and which of its images."""

    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """What is pulled of the repository: never all of it."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.version}"


def check_name(field: str, name: str) -> str:
    """Return `name` if it may be that of a container, network or volume. Raises `Invalid`."""
    if _NAME.fullmatch(name) is None:
        raise Invalid(field, "a name or id is letters, digits, `_`, `.` and `-`, the first a letter or digit")
    return name


def parse_reference(field: str, text: str, tag: str = "") -> ImageReference:
    """Read `text` as an image's reference, with a `tag` that may stand beside it. Raises `Invalid`."""
    found = _REFERENCE.fullmatch(text) if len(text) <= REFERENCE_LIMIT else None
    if found is None or len(found[1]) > REPOSITORY_LIMIT:
        raise Invalid(field, "not the reference of an image, which is like registry.example:5000/name:tag")
    repository, own_tag, digest = found.groups()
    if tag:
        if re.fullmatch(_TAG, tag) is None and re.fullmatch(_DIGEST, tag) is None:
            raise Invalid("tag", "not a tag")
        if (own_tag or digest) not in (None, tag):
            raise Invalid("tag", f"another one than in {field}")
        if ":" in tag:
            return ImageReference(repository, digest=tag)
    return ImageReference(repository, own_tag or tag, digest or "")


def check_image(field: str, text: str) -> str:
    """Return an image's id or reference as engines take it. Raises `Invalid`."""
    if _WHOLE_ID.fullmatch(text) is not None:
        return f"sha256:{text}"  # Podman takes it for a name otherwise, and for one that may not be
    if _IMAGE_ID.fullmatch(text) is None:
        parse_reference(field, text)
    return text
