from __future__ import annotations

from zoomgap.storage import schema_markdown


def test_every_table_and_view_is_described(shelf) -> None:
    page = schema_markdown()
    for name in [*shelf.store.counts(), *shelf.store.database.view_names()]:
        about = page.split(f"\n### {name}\n")[1].splitlines()[0]
        assert about.endswith(".")


def test_every_column_is_described(shelf) -> None:
    lines = [line.split(" | ") for line in schema_markdown().splitlines() if line.startswith("| ")]
    rows = [line for line in lines if line[0] != "| column"]
    columns = [column.name for table in shelf.store.counts() for column in shelf.store.database[table].columns]
    assert [row[0].removeprefix("| ") for row in rows] == columns
    assert [row[0] for row in rows if len(row) != 4 or len(row[3].strip(" |")) < 3] == []


def test_types_and_references() -> None:
    page = schema_markdown()
    assert "| request | json |  | chat-completions body" in page
    assert "| run | text | runs.id |" in page
    assert "| step | integer, key |  | from 0 |" in page
    assert "| error | text, null |  |" in page


def test_tables_are_strict(shelf) -> None:
    listed = shelf.store.database.conn.execute("PRAGMA table_list").fetchall()
    strict = {row["name"] for row in listed if row["strict"]}
    assert strict == set(shelf.store.counts())
