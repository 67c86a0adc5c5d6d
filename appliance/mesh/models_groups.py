"""Groups as they come in paths."""

import re

from appliance.http.bodies import InvalidInput
from appliance.mesh.names import GROUP

_GROUP = re.compile(GROUP)


def group_in_path(text: str) -> str:
    """`text`, where it can be a group's name. Raises a 422."""
    if _GROUP.fullmatch(text) is None:
        raise InvalidInput("path", "group_name", "not a group: no `/`, quotes, commas, spaces or control characters")
    return text
