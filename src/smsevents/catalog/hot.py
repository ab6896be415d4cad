"""Statements that every request runs, without SQLAlchemy's part in running them.

SQLAlchemy takes ten times as long to run such a statement as SQLite does. So the text of a statement is compiled once
for each kind of database, and the database's driver runs it. Values and rows are those of the driver, so this is only
for columns of integers, texts and bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from smsevents.catalog.dialects.base import dialect_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.engine.interfaces import DBAPICursor
    from sqlalchemy.sql.elements import ClauseElement


class Hot:
    """A statement that is compiled once. All its values are given by name, each time it runs."""

    def __init__(self, statement: ClauseElement) -> None:
        """Prepare a statement of SQLAlchemy without expanding parameters."""
        self._statement = statement
        # by dialect: the text, and its parameters in order if the driver takes them in order
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run the statement and return all rows. Raises `DBAPIError`, as SQLAlchemy does."""
        return _fetched(connection, self._executed(connection, values))

    def each(self, connection: Connection, values: Mapping[str, Any]) -> Generator[tuple[Any, ...], None, None]:
        """Run the statement and go through its rows, which are fetched when the caller asks for them.

        Close the iterator before the connection is used by another thread. Raises `DBAPIError`.
        """
        cursor = self._executed(connection, values)
        try:
            while (row := cursor.fetchone()) is not None:
                yield row
        except connection.dialect.loaded_dbapi.Error as error:
            raise wrapped(connection, error) from error
        finally:
            cursor.close()

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run a statement that returns no rows. Return how many rows it changed. Raises `DBAPIError`."""
        cursor = self._executed(connection, values)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def _executed(self, connection: Connection, values: Mapping[str, Any]) -> DBAPICursor:
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compile(connection)
        sql, names = compiled
        return _execute(connection, sql, values if names is None else [values[name] for name in names])

    def _compile(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        compiled: Any = self._statement.compile(dialect=connection.dialect)
        names = tuple(compiled.positiontup) if compiled.positional else None
        found = self._compiled[connection.dialect.name] = (str(compiled), names)
        return found


class HotInsert:
    """Inserts many rows into a table: by one statement where a database takes arrays, or else by one for each row."""

    def __init__(self, table: Table, on_conflict: str) -> None:
        """Prepare the statement, which ends in the text `on_conflict`."""
        self._table = table
        names = [column.name for column in table.columns]
        self._begin = f"INSERT INTO {table.name} ({', '.join(names)})"
        self._one_row = f"VALUES ({', '.join('?' for _ in names)})"
        self._end = on_conflict

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows, with the values of all columns in their order. Return how many changed. Raises `DBAPIError`."""
        if not dialect_of(connection).takes_arrays:
            return _execute_many(connection, f"{self._begin} {self._one_row} {self._end}", rows)
        types = [column.type.compile(dialect=connection.dialect) for column in self._table.columns]
        arrays = ", ".join(f"%s::{kind}[]" for kind in types)
        values = [list(one) for one in zip(*rows, strict=True)]
        sql = f"{self._begin} SELECT * FROM unnest({arrays}) {self._end}"  # noqa: S608 -- constants
        cursor = _execute(connection, sql, values)
        changed = cursor.rowcount
        cursor.close()
        return changed


def rows_of(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement without values, and return all rows. Raises `DBAPIError`."""
    return _fetched(connection, _execute(connection, sql, ()))


def run_text(connection: Connection, sql: str) -> None:
    """Run a statement without values and rows. Raises `DBAPIError`."""
    _execute(connection, sql, ()).close()


def _execute(connection: Connection, sql: str, values: Sequence[Any] | Mapping[str, Any]) -> DBAPICursor:
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql, values)
    except connection.dialect.loaded_dbapi.Error as error:
        cursor.close()
        raise wrapped(connection, error) from error
    return cursor


def _fetched(connection: Connection, cursor: DBAPICursor) -> list[tuple[Any, ...]]:
    """Return all rows of a statement, and close its cursor."""
    try:
        return cursor.fetchall()  # type: ignore[return-value]  # the type that SQLAlchemy declares for any driver
    except connection.dialect.loaded_dbapi.Error as error:
        raise wrapped(connection, error) from error
    finally:
        cursor.close()


def _execute_many(connection: Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(sql, rows)
    except connection.dialect.loaded_dbapi.Error as error:
        raise wrapped(connection, error) from error
    else:
        return cursor.rowcount
    finally:
        cursor.close()


def wrapped(connection: Connection, error: Exception) -> DBAPIError:
    """Return the error that SQLAlchemy would raise, without the values of the statement: they may be events."""
    base = connection.dialect.loaded_dbapi.Error
    wrapped = DBAPIError.instance(None, None, error, base, hide_parameters=True, dialect=connection.dialect)
    return wrapped if isinstance(wrapped, DBAPIError) else DBAPIError(None, None, error)
