"""The distillation's tables: regions, questions, votes, datasets, items, trainings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoomgap.errors import UsageError
from zoomgap.records import Item, Question, Region, Vote
from zoomgap.storage import rows
from zoomgap.storage.rows import DatasetInfo, TrainingInfo
from zoomgap.storage.session import IGNORE, Session, insert


class DistillationTables(Session):
    """Reads take a dataset's name for what its items came from, or nothing for all."""

    def put_regions(self, regions: Iterable[Region]) -> None:
        """Their trajectories must be stored; a region that is known keeps the step that it first came from."""
        self._insert("regions", map(rows.region_columns, regions), IGNORE)

    def regions(self, dataset: str | None = None) -> list[Region]:
        behind = "SELECT region FROM questions WHERE id IN (SELECT question FROM items WHERE dataset = ?)"
        return [rows.region_of(row) for row in self._behind("regions", "id", behind, dataset)]

    def put_questions(self, questions: Iterable[Question]) -> None:
        self._insert("questions", map(rows.question_columns, questions), IGNORE)

    def questions(self, dataset: str | None = None) -> list[Question]:
        behind = "SELECT question FROM items WHERE dataset = ?"
        return [rows.question_of(row) for row in self._behind("questions", "id", behind, dataset)]

    def put_votes(self, votes: Iterable[Vote]) -> None:
        """A vote that failed gives way to a later one; one that answered stays."""
        later = "DO UPDATE SET answer = excluded.answer, error = excluded.error WHERE votes.error IS NOT NULL"
        key = "(question, labels, voter, number)"
        self._insert("votes", map(rows.vote_columns, votes), f"ON CONFLICT {key} {later}")

    def votes(self, dataset: str | None = None) -> list[Vote]:
        behind = "SELECT question FROM items WHERE dataset = ?"
        return [rows.vote_of(row) for row in self._behind("votes", "question", behind, dataset)]

    def put_dataset(self, name: str, config: Mapping[str, Any]) -> None:
        """Raises UsageError for a name that is taken by another config."""
        row = rows.columns(name=name, config=rows.to_json(config), created=rows.now())
        with self._write() as connection:
            insert(connection, "datasets", [row], IGNORE)
            (stored,) = connection.execute("SELECT config FROM datasets WHERE name = ?", (name,)).fetchone()
        if stored != row["config"]:
            raise UsageError(f"dataset {name!r} exists and was built otherwise: give another name")

    def datasets(self) -> list[DatasetInfo]:
        found = self._all(
            "SELECT d.*, (SELECT count(*) FROM items WHERE dataset = d.name) AS items FROM datasets d ORDER BY d.rowid"
        )
        return [rows.picked(DatasetInfo, row, config=json.loads(row["config"])) for row in found]

    def put_items(self, dataset: str, items: Sequence[Item]) -> None:
        """All items of a dataset, in order: what it had before is replaced. Raises UsageError for an unknown one."""
        self._check_dataset(dataset)
        if strange := next((item for item in items if item.dataset != dataset), None):
            raise UsageError(f"item {strange.id} is of dataset {strange.dataset!r}, not {dataset!r}: put it there")
        found = [rows.item_columns(item, position) for position, item in enumerate(items)]
        with self._write() as connection:
            connection.execute("DELETE FROM items WHERE dataset = ?", (dataset,))
            if found:
                insert(connection, "items", found)

    def items(self, dataset: str) -> list[Item]:
        """In the order in which they were put. Raises UsageError for an unknown dataset."""
        self._check_dataset(dataset)
        found = self._all("SELECT * FROM items WHERE dataset = ? ORDER BY position", dataset)
        return [rows.item_of(row) for row in found]

    def put_training(self, id: str, config: Mapping[str, Any], metrics: Mapping[str, Any], out: Path | str) -> None:
        """A later call with the same id replaces its metrics. Numbers that are not finite become null."""
        row = rows.columns(
            id=id, config=rows.to_json(config), metrics=rows.to_json(metrics), out=str(out), created=rows.now()
        )
        later = "DO UPDATE SET config = excluded.config, metrics = excluded.metrics, out = excluded.out"
        self._insert("trainings", [row], f"ON CONFLICT (id) {later}")

    def trainings(self) -> list[TrainingInfo]:
        return [
            rows.picked(TrainingInfo, row, config=json.loads(row["config"]), metrics=json.loads(row["metrics"]))
            for row in self._all("SELECT * FROM trainings ORDER BY rowid")
        ]

    def _behind(self, table: str, column: str, behind: str, dataset: str | None) -> list[Any]:
        if dataset is None:
            return self._all(f"SELECT * FROM {table} ORDER BY rowid")
        self._check_dataset(dataset)
        return self._all(f"SELECT * FROM {table} WHERE {column} IN ({behind}) ORDER BY rowid", dataset)

    def _check_dataset(self, name: str) -> None:
        known = [info["name"] for info in self._all("SELECT name FROM datasets ORDER BY rowid")]
        if name not in known:
            raise UsageError(f"dataset {name!r} is not stored: choose from {', '.join(known) or 'none yet'}")
