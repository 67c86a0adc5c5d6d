"""Where the data files are: scripts, word list, example settings, systemd unit."""

from functools import cache
from importlib import metadata
from pathlib import Path

# Present in every complete set of data files: whoever finds it has found the folder.
_MARKER = "appliance.toml"


def path(name: str) -> Path:
    """
    The file or folder `name`, relative to the data folder (`scripts/update`).

    Raises `FileNotFoundError` where it was not installed.
    """
    found = root() / name
    if not found.exists():
        raise FileNotFoundError(f"data file {name} is missing from {root()}: install the package again")
    return found


@cache
def root() -> Path:
    """
    The data folder: `data/` beside the package in a checkout, else the wheel's `share/appliance`.

    Where pip puts `share` depends on the scheme (virtual environment, --user, --target), so the
    distribution's own list of installed files is asked. Raises `FileNotFoundError` where neither is there.
    """
    checkout = Path(__file__).resolve().parent.parent / "data"
    if (checkout / _MARKER).is_file():
        return checkout
    try:
        installed = metadata.files("appliance") or []
    except metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:] == ("share", "appliance", _MARKER):
            return Path(str(file.locate())).resolve().parent
    raise FileNotFoundError("the data files of appliance are missing: install the package again")
