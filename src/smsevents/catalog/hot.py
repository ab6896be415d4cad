"""Statements that every request runs, without SQLAlchemy's part in running them.

SQLAlchemy takes ten times as long to run such a statement as SQLite does. So the text of a statement is compiled once
for each kind of database, and the database's driver runs it. Values and rows are those of the driver, so this is only
for columns of integers, texts and bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from sqlalchemy import Connection
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
        cursor = self._executed(connection, values)
        try:
            return cursor.fetchall()  # type: ignore[return-value]  # the type that SQLAlchemy declares for any driver
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, error) from error
        finally:
            cursor.close()

    def each(self, connection: Connection, values: Mapping[str, Any]) -> Generator[tuple[Any, ...], None, None]:
        """Run the statement and go through its rows, which are fetched when the caller asks for them.

        Close the iterator before the connection is used by another thread. Raises `DBAPIError`.
        """
        cursor = self._executed(connection, values)
        try:
            while (row := cursor.fetchone()) is not None:
                yield row
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, error) from error
        finally:
            cursor.close()

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run a statement that returns no rows. Return how many rows it changed. Raises `DBAPIError`."""
        cursor = self._executed(connection, values)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def each_of(self, connection: Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement that returns no rows, once for each of the values. Raises `DBAPIError`."""
        sql, names = self._of(connection)
        if names is None:
            _execute_many(connection, sql, values)
        else:
            _execute_many(connection, sql, [[one[name] for name in names] for one in values])

    def _executed(self, connection: Connection, values: Mapping[str, Any]) -> DBAPICursor:
        sql, names = self._of(connection)
        return _execute(connection, sql, values if names is None else [values[name] for name in names])

    def _of(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        found = self._compiled.get(connection.dialect.name)
        return self._compile(connection) if found is None else found

    def _compile(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        compiled: Any = self._statement.compile(dialect=connection.dialect)
        names = tuple(compiled.positiontup) if compiled.positional else None
        found = self._compiled[connection.dialect.name] = (str(compiled), names)
        return found


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
        raise _wrapped(connection, error) from error
    return cursor


def _execute_many(
    connection: Connection, sql: str, values: Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]
) -> None:
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(sql, values)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, error) from error
    finally:
        cursor.close()


def _wrapped(connection: Connection, error: Exception) -> DBAPIError:
    """Return the error that SQLAlchemy would raise, without the values of the statement: they may be events."""
    base = connection.dialect.loaded_dbapi.Error
    wrapped = DBAPIError.instance(None, None, error, base, hide_parameters=True, dialect=connection.dialect)
    return wrapped if isinstance(wrapped, DBAPIError) else DBAPIError(None, None, error)
