"""How the mesh's tables come into a database, new or older: a history of their own beside the appliance's."""

from pathlib import Path
from typing import Final

from appliance.database.migrate import History

REVISIONS: Final = ("0001",)
"""Every revision of the tables from the first to the one of `schema.sql`."""

_FOLDER = Path(__file__).parent

HISTORY: Final = History(
    REVISIONS, _FOLDER / "migrations", schema=_FOLDER / "schema.sql", version_table="mesh_alembic_version"
)
