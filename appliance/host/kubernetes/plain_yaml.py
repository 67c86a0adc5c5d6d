"""YAML of others, read without their being able to make it costly."""

from typing import Any

from appliance.host.kubernetes.errors import ClusterError

DEPTH = 32


def read(content: bytes, name: str) -> Any:
    """The one document in `content`: mappings, lists and scalars; for a thread.

    No aliases, no tags but YAML's own, at most `DEPTH` levels. Raises `ClusterError` that names `name` and the
    place in it, and nothing that stands there: it may be a secret.
    """
    import yaml  # here, so that it is loaded when a file is first read

    try:
        _check(yaml, content, name)
        return yaml.load(content, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ClusterError(f"{name} is not YAML{place}") from None
    except (yaml.YAMLError, ValueError):  # the latter are dates and numbers that are none
        raise ClusterError(f"{name} is not YAML") from None


def _check(yaml: Any, content: bytes, name: str) -> None:
    depth = 0
    for event in yaml.parse(content, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ClusterError(f"{name}, line {event.start_mark.line + 1}: YAML's aliases are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise ClusterError(f"{name}, line {event.start_mark.line + 1}: nested too deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
