"""Rows of a table as structs whose fields have the columns' names."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Row, Table

S = TypeVar("S", bound=msgspec.Struct)


def columns_of(table: Table, type: type[msgspec.Struct]) -> list[Column[Any]]:
    """The columns of `table` that `type` has fields for."""
    return [table.c[name] for name in type.__struct_fields__]


def to_struct(row: Row[Any], type: type[S]) -> S:
    """One row, selected by `columns_of`."""
    return type(*row)


def to_structs(rows: Iterable[Row[Any]], type: type[S]) -> list[S]:
    """All rows."""
    return [type(*row) for row in rows]
