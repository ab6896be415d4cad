"""Hints for the planner of a database. A dialect that needs one compiles it; every other leaves it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")


class NotByIndex(FunctionElement[T]):
    """A column by which the statement should not look for rows, as it needs them in the order of another index."""

    inherit_cache = True  # what the parent class knows of the column is all there is

    def __init__(self, column: Column[T]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(NotByIndex)
def _column(hint: NotByIndex[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 -- SQLAlchemy's own
    return compiler.process(hint.clauses.clauses[0], **options)
