"""One connection that threads share: reads, writes and inserts, each under the lock and with errors in one line."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from zoomgap.errors import UsageError
from zoomgap.storage.connection import back_up, store_errors, transaction
from zoomgap.storage.rows import Columns

S = TypeVar("S", bound="Session")


class Session:
    """What every part of the store is built on."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.database = database
        self._lock = threading.RLock()

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        with self._lock:
            self.database.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backup(self, target: Path | str) -> None:
        """A consistent copy of the database, without its objects. Raises UsageError when the target exists."""
        target = Path(target)
        if target.exists():
            raise UsageError(f"backup {target} exists: give a new path")
        with self._lock, store_errors(target):
            back_up(self.database.conn, target)

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, store_errors(self.path):
            return self.database.conn.execute(sql, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._lock, store_errors(self.path), transaction(self.database.conn):
            yield self.database.conn

    def _insert(self, table: str, rows: Iterable[Columns], conflict: str = "") -> None:
        """Insert rows of like columns in one transaction. conflict: an SQL clause that follows the values."""
        rows = list(rows)
        if rows:
            with self._write() as connection:
                insert(connection, table, rows, conflict)


def insert(connection: sqlite3.Connection, table: str, rows: list[Columns], conflict: str = "") -> int:
    """Insert rows of like columns; returns the id of the last one where it has an integer key of its own."""
    names = ", ".join(rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    sql = f"INSERT INTO {table} ({names}) VALUES ({values}) {conflict}"
    if len(rows) == 1:
        return connection.execute(sql, rows[0]).lastrowid or 0
    connection.executemany(sql, rows)
    return 0


IGNORE = "ON CONFLICT DO NOTHING"
"""For content ids: what is stored already is the same. Other broken rules still raise, unlike with OR IGNORE."""
