"""The list of containers, asked for once on behalf of all who want it at the same time."""

import re
from functools import partial

import msgspec

from appliance.host.containers.docker.client import EngineClient
from appliance.host.containers.docker.model import DockerContainer
from appliance.host.containers.docker.wire import ListedContainer, Port
from appliance.host.errors import Invalid
from appliance.host.shared import Fresh

FILTERS_LIMIT = 4096
_FILTER_NAMES = frozenset(
    [
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    ]
)
_VALUES_LIMIT = 100
_PLAIN = re.compile(r"([a-z]+)=(.+)")

Filters = dict[str, list[str]]


class ContainerListing:
    """Lists containers."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._whole = {all: Fresh(partial(self._ask, all, 0, None)) for all in (False, True)}

    async def containers(
        self, *, all: bool = True, limit: int = 0, filters: Filters | None = None
    ) -> list[DockerContainer]:
        """The containers that run, or `all`; at most `limit` (0 for any number), those that `filters` let through.

        Those who ask for a whole list while another is being made get the next one, all the same object: nobody gets
        what began before he asked. Raises `EngineError`.
        """
        if limit or filters:
            return await self._ask(all, limit, filters)
        return await self._whole[all].result()

    async def _ask(self, all: bool, limit: int, filters: Filters | None) -> list[DockerContainer]:
        query = {"all": "1" if all else "0"}
        if limit:
            query["limit"] = str(limit)
        if filters:
            query["filters"] = msgspec.json.encode(filters).decode()
        answer = await self._client.call("GET", "/containers/json", query)
        return [_container(each) for each in answer.decode(list[ListedContainer])]


def parse_filters(text: str) -> Filters:
    """Read filters as Docker's API takes them, `{"status":["running"]}`, or one as docker(1) does, `status=running`.

    Raises `Invalid`.
    """
    if len(text) > FILTERS_LIMIT:
        raise Invalid("filters", f"longer than {FILTERS_LIMIT} characters")
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return _checked({plain[1]: [plain[2]]})
    try:
        found = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("filters", 'a JSON object of lists, as {"status":["running"]}') from error
    return _checked({name: values if isinstance(values, list) else list(values) for name, values in found.items()})


def port_texts(ports: list[Port]) -> list[str]:
    """`80/tcp->8080/tcp` for one that is published, `80/tcp` for one that is not; each once for all its addresses."""
    texts = []
    for port in sorted(ports, key=lambda port: (port.private_port, port.type, port.public_port)):
        inside = f"{port.private_port}/{port.type}"
        texts.append(f"{inside}->{port.public_port}/{port.type}" if port.public_port else inside)
    return list(dict.fromkeys(texts))


def _checked(filters: Filters) -> Filters:
    for name, values in filters.items():
        if name not in _FILTER_NAMES:
            raise Invalid("filters", f"{name[:40]!r} is none of {', '.join(sorted(_FILTER_NAMES))}")
        if len(values) > _VALUES_LIMIT:
            raise Invalid("filters", f"more than {_VALUES_LIMIT} values for {name}")
    return filters


def _container(found: ListedContainer) -> DockerContainer:
    return DockerContainer(
        id=found.id,
        names=found.names or [],
        image=found.image,
        image_id=found.image_id,
        command=found.command,
        created=found.created,
        state=found.state,
        status=found.status,
        ports=port_texts(found.ports) if found.ports else [],
        labels=found.labels or {},
    )
