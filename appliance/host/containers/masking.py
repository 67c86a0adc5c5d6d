"""What those who may only read see of what may hold secrets."""

from collections.abc import Mapping, Sequence

from appliance.secret import MASK

_OPEN_LABELS = ("com.docker.compose.", "io.kubernetes.", "org.opencontainers.image.")
"""How the names of labels begin that tell nothing but where something belongs."""


def mask_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without their values: a proxy's passwords are set by them."""
    return {name: value if name.startswith(_OPEN_LABELS) else MASK for name, value in labels.items()}


def mask_values(values: Mapping[str, str]) -> dict[str, str]:
    """Settings without their values."""
    return dict.fromkeys(values, MASK)


def mask_env(pairs: Sequence[str]) -> list[str]:
    """An environment of `NAME=value` without its values."""
    return [f"{pair.partition('=')[0]}={MASK}" for pair in pairs]


def mask_command(arguments: Sequence[str]) -> list[str]:
    """A command of which only shows that there is one."""
    return [MASK] if arguments else []
