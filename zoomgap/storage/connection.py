"""Opening the database: pragmas, ownership, migrations, and SQLite's errors in one line."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database
from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_fixed

from zoomgap.errors import StoreError
from zoomgap.storage.migrations import MIGRATIONS

BUSY_S = 30
"""How long a writer waits for another one."""

_REMEDIES = (
    ("not a database", "give the path of a zoomgap database with --db"),
    ("unable to open", "check that its folder exists and may be written"),
    ("full", "free disk space and run the same command again"),
    ("locked", "wait until the other process is done"),
    ("readonly", "check the permissions of the file and its folder"),
    ("malformed", "restore a backup"),
    ("FOREIGN KEY", "store first what the record points to"),
    ("closed", "open the store again"),
)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turns whatever SQLite raises into a StoreError of one line."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        text = " ".join(str(error).split())
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in text), "check the record, the file and the disk")
        raise StoreError(f"database {path}: {text}: {remedy}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start: a lock taken later cannot be waited for."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def connect(path: Path, *, readonly: bool = False) -> Database:
    """An open, migrated database. One connection may serve many threads, one at a time.

    A backup `<name>.before-<migration>` is made before an older database is migrated. Raises StoreError for a file
    that is missing (readonly), is no database, belongs to another program or a newer version, or must first be
    migrated (readonly).
    """
    if path.is_dir() or (readonly and not path.exists()):
        what = "is a folder" if path.is_dir() else "does not exist"
        raise StoreError(f"database {path} {what}: give the path of a zoomgap database with --db")
    with store_errors(path):
        uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=NORMAL")
            database = Database(connection)
            _check_owner(database, path)
            if readonly and MIGRATIONS.pending(database):
                raise StoreError(f"database {path} is older than this version: open it once for writing to migrate it")
            if not readonly:
                _migrate(database, path)
                _use_wal(connection)
        except BaseException:
            connection.close()
            raise
    return database


def _check_owner(database: Database, path: Path) -> None:
    applied = {migration.name for migration in MIGRATIONS.applied(database)}
    known = {migration.name for migration in MIGRATIONS.pending(Database(memory=True))}
    if newer := sorted(applied - known):
        raise StoreError(f"database {path} was written by a newer zoomgap ({newer[0]}): upgrade, or give another --db")
    tables = database.table_names()
    if tables and not applied:
        raise StoreError(f"database {path} belongs to another program (table {tables[0]}): give another path with --db")


def _migrate(database: Database, path: Path) -> None:
    pending = MIGRATIONS.pending(database)
    if pending and MIGRATIONS.applied(database):
        back_up(database.conn, path.with_name(f"{path.name}.before-{pending[0].name}"))
    if pending:
        # Another process may migrate at the same moment: under the lock, apply() asks anew what is pending.
        with transaction(database.conn):
            MIGRATIONS.apply(database)


@retry(
    retry=retry_if_exception_message(match=".*locked"),
    stop=stop_after_delay(BUSY_S),
    wait=wait_fixed(0.05),
    reraise=True,
)
def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for readers when the journal changes, so the waiting is done here.
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        connection.execute("PRAGMA journal_mode=WAL")


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """A consistent copy of the database at `target`, whatever was there; other processes may write meanwhile."""
    with contextlib.closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
