"""The schema as a Markdown page, read from a freshly migrated database so that it cannot be out of date."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlite_utils import Database
from sqlite_utils.db import Table

from zoomgap.storage.migrations import ADDED, MIGRATIONS

HEAD = """# The database

Generated from the migrations: do not edit. Times are UTC, durations milliseconds, boxes xyxy pixels with x2 and y2
exclusive, and a value that could not be known is null, never 0. Columns marked `json` hold JSON text.
"""


def schema_markdown() -> str:
    """All tables, columns and views of the newest schema with their descriptions, as Markdown."""
    with Database(memory=True) as database:
        MIGRATIONS.apply(database)
        tables = [table for table in database.tables if not table.name.startswith(("sqlite_", "_sqlite_"))]
        parts = [HEAD, "## Tables\n", *(_table(table) for table in tables), "## Views\n"]
        for view in database.views:
            names = ", ".join(f"`{column.name}`" for column in view.columns)
            parts.append(f"### {view.name}\n{_about(view.schema)}\n\nColumns: {names}.\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "| column | type | points to | what it is |\n|---|---|---|---|\n"
    return f"### {table.name}\n{_about(table.schema)}\n\n{head}{''.join(_rows(table))}"


def _rows(table: Table) -> Iterator[str]:
    schema = table.schema
    targets: dict[str, list[str]] = {}
    for reference in table.foreign_keys:
        for name, other in zip(reference.columns, reference.other_columns, strict=True):
            targets.setdefault(name, []).append(f"{reference.other_table}.{other}")
    for column in table.columns:
        kind = "json" if f"json_valid({column.name})" in schema else column.type.lower()
        key = ", key" if column.is_pk else ""
        null = "" if column.notnull or column.is_pk else ", null"
        about = re.search(rf"^    {column.name} [^-]*?-- (.*)$", schema, re.M)
        text = about[1] if about else ADDED.get((table.name, column.name), "")
        yield f"| {column.name} | {kind}{key}{null} | {', '.join(targets.get(column.name, []))} | {text} |\n"


def _about(schema: str) -> str:
    return schema.splitlines()[0].partition(" -- ")[2]
