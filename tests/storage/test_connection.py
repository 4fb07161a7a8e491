"""Opening, migrating, and what is left after a writer is killed."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations

from zoomgap.errors import StoreError
from zoomgap.grading import GRADER
from zoomgap.storage import Store, connection, migrations
from zoomgap.storage.migrations import ADDED
from zoomgap.storage.views import VIEWS_1

WRITER = """
import os, pickle, signal, sys
from zoomgap.storage import Store
path, parcel, deadly = sys.argv[1:]
store = Store.open(path)
with open(parcel, "rb") as file:
    trajectories, grade = pickle.load(file)

def watch(sql):
    if sql.startswith(deadly):
        watch.seen += 1
        if watch.seen > watch.allowed:
            os.kill(os.getpid(), signal.SIGKILL)

for number, trajectory in enumerate(trajectories):
    if deadly and number == 3:
        watch.seen, watch.allowed = 0, len(trajectory.steps) // 2 if "steps" in deadly else 0
        store.database.conn.set_trace_callback(watch)
    store.add_trajectory(trajectory, grade)
    print(number, flush=True)
"""


def write_until_killed(shelf, tmp_path: Path, deadly: str) -> int:
    """Store trajectories in another process that dies; how many it had finished."""
    step = shelf.trajectory().steps[0]
    steps = tuple(type(step)(index=k, request=step.request, text="word " * 2000) for k in range(20))
    trajectories = [shelf.trajectory(attempt=attempt, steps=steps) for attempt in range(2000)]
    (tmp_path / "parcel").write_bytes(pickle.dumps((trajectories, shelf.grade())))
    (tmp_path / "writer.py").write_text(WRITER)
    command = [sys.executable, tmp_path / "writer.py", shelf.store.path, tmp_path / "parcel", deadly]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        finished = 0
        for _ in process.stdout:
            finished += 1
            if not deadly and finished == 10:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    return finished


@pytest.mark.parametrize("deadly", ["INSERT INTO steps", "INSERT INTO grades", "COMMIT", ""])
def test_a_killed_writer_leaves_only_whole_trajectories(shelf, tmp_path: Path, deadly: str) -> None:
    finished = write_until_killed(shelf, tmp_path, deadly)
    shelf.store.close()
    with Store.open(shelf.store.path) as store:
        assert store.verify() == []
        stored = store.trajectory_ids(shelf.spec.id)
        # Killed from outside, the writer may have stored more than it had time to say.
        assert len(stored) == finished if deadly else len(stored) >= finished
        assert all(store.trajectory(id).turns == 20 and len(store.grades(id)) == 1 for id in stored)
        assert store.done(shelf.spec.id) == {("s0", attempt) for attempt in range(len(stored))}
        store.add_trajectory(shelf.trajectory(attempt=len(stored)), shelf.grade())
        assert store.verify() == []


def test_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    code = "import sys; from zoomgap.storage import Store; print(len(Store.open(sys.argv[1]).counts()))"
    command = [sys.executable, "-c", code, tmp_path / "new.db"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    counts = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    with Store.open(tmp_path / "new.db") as store:
        assert counts == [f"{len(store.counts())}\n"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


def refused(path: Path, *, readonly: bool = False) -> str:
    with pytest.raises(StoreError) as caught:
        Store.open(path, readonly=readonly)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"certainly not a database" * 100)
    assert "not a database" in refused(path)
    assert path.read_bytes() == b"certainly not a database" * 100


def test_no_such_place(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    assert "check that its folder exists" in refused(tmp_path / "no" / "x.db")
    assert "does not exist" in refused(tmp_path / "x.db", readonly=True)
    assert not (tmp_path / "x.db").exists()


def test_damaged_database(shelf, tmp_path: Path) -> None:
    shelf.store.close()
    data = bytearray(shelf.store.path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    (tmp_path / "broken.db").write_bytes(data)
    with pytest.raises(StoreError), Store.open(tmp_path / "broken.db") as store:
        store.runs()


def test_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with Database(path) as database:
        database["notes"].insert({"text": "mine"})
    before = path.read_bytes()
    assert "belongs to another program (table notes)" in refused(path)
    assert path.read_bytes() == before


def test_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "a name with spaces, ? and #.db"
    path.touch()
    assert "open it once for writing" in refused(path, readonly=True)
    with Store.open(str(path)) as store:
        assert store.runs() == []
    assert path.stat().st_size > 0


def test_locked_database(shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.05)
    with Store.open(shelf.store.path) as other:
        shelf.store.database.conn.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked: wait until the other process is done"):
            other.add_trajectory(shelf.trajectory())
        shelf.store.database.conn.execute("ROLLBACK")
        other.add_trajectory(shelf.trajectory())


@pytest.fixture
def next_version() -> Migrations:
    """The schema as a later version of this code would have it."""
    later = Migrations("zoomgap")
    for known in (value for name, value in vars(migrations).items() if re.match(r"m\d{3}_", name)):
        later()(known)

    @later()
    def m098_notes(database: Database) -> None:
        database.conn.execute("ALTER TABLE runs ADD COLUMN note TEXT")

    return later


def test_migration_keeps_records_and_makes_a_backup(
    shelf, next_version: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelf.store.path
    id = shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
    monkeypatch.setattr(connection, "MIGRATIONS", next_version)
    assert "is older than this version" in refused(path, readonly=True)
    with Store.open(path) as store:
        assert store.trajectory(id) == shelf.trajectory()
        assert "note" in store.database["runs"].columns_dict
    monkeypatch.undo()
    assert "was written by a newer zoomgap (m098_notes)" in refused(path)
    with Store.open(path.with_name("zoomgap.db.before-m098_notes"), readonly=True) as backup:
        assert backup.trajectory(id) == shelf.trajectory()


def test_a_database_of_the_first_schema_is_read_as_before(shelf) -> None:
    path = shelf.store.path
    id = shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
    connection = shelf.store.database.conn
    for view in ("v_grades", "v_runs", "v_trajectories", "v_steps"):
        connection.execute(f"DROP VIEW {view}")
    for view in VIEWS_1:
        if view.startswith(("CREATE VIEW v_steps ", "CREATE VIEW v_trajectories ", "CREATE VIEW v_runs ")):
            connection.execute(view)
    for table in ("image_hashes", "renditions", "timings", "timing_blocks", "timing_sessions"):
        connection.execute(f"DROP TABLE {table}")
    for table, column in ADDED:
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name <> 'm001_records'")
    shelf.store.close()
    with Store.open(path) as store:
        assert store.trajectory(id) == shelf.trajectory()
        assert store.run(shelf.spec.id) == shelf.spec
        assert store.samples("tiny")[0] == shelf.sample(0, shelf.original)
        assert store.verify() == []
        assert [row["call"] for row in store.database["v_steps"].rows] == [0, 0]
        assert [row["grader"] for row in store.database["v_trajectories"].rows] == [GRADER]


def test_crops_of_older_runs_filled_their_budget(shelf) -> None:
    path = shelf.store.path
    run = shelf.start(crop_pixels=4096, min_crop_pixels=4096)
    connection = shelf.store.database.conn
    connection.execute("DROP TABLE renditions")
    connection.execute("ALTER TABLE runs DROP COLUMN min_crop_pixels")
    connection.execute("ALTER TABLE invocations DROP COLUMN images")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm006_renditions'")
    shelf.store.close()
    with Store.open(path) as store:
        assert (store.run(run).crop_pixels, store.run(run).min_crop_pixels) == (4096, 4096)
        assert store.run(shelf.spec.id) == shelf.spec
        assert store.invocations(run)[0].images is None


def test_a_migration_that_fails_changes_nothing(
    shelf, next_version: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    @next_version()
    def m099_broken(database: Database) -> None:
        database.conn.execute("DELETE FROM invocations")
        database.conn.execute("no SQL at all")

    monkeypatch.setattr(connection, "MIGRATIONS", next_version)
    assert "syntax error" in refused(shelf.store.path)
    monkeypatch.undo()
    with Store.open(shelf.store.path) as store:
        assert len(store.invocations(shelf.spec.id)) == 1
        assert "note" not in store.database["runs"].columns_dict


def test_plain_sqlite_reads_the_views(shelf) -> None:
    shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
    with sqlite3.connect(shelf.store.path) as plain:
        counts = {
            view: plain.execute(f"SELECT count(*) FROM {view}").fetchone()[0]
            for view in ("v_runs", "v_trajectories", "v_steps", "v_ab", "v_items")
        }
    plain.close()
    assert counts == {"v_runs": 1, "v_trajectories": 1, "v_steps": 2, "v_ab": 0, "v_items": 0}
