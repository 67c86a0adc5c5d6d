"""What a surface sees of a database, whether it is the appliance's own file or a PostgreSQL server."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class Store(Protocol):
    """Runs functions on a SQLAlchemy connection, each in a transaction of its own."""

    async def run(self, work: "Callable[[Connection], T]") -> T:
        """
        Call `work(connection)` in a thread and return its result once it is durable.

        Transactions come to what they would have come to one after the other. `work` returns plain values, neither
        commits nor rolls back, and may be called again from its beginning when another transaction came between: it
        changes nothing but the database. Raises what `work` raises, with nothing of it stored, and a `DatabaseError`.
        """
