"""HR-Bench 4K and 8K (arXiv 2408.15556), tsv or parquet: 200 questions in four cyclic orders of their options each.

The four orders show one image, which makes them one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row


def drafts(row: Row) -> Iterator[Draft]:
    yield Draft(
        where=row.where,
        id=row.word("id", "index"),
        pictures=pictures(row, "image"),
        question=row.text("question"),
        answer=row.need("answer"),
        choices=row.choices(),
        kind="choice",
        dimensions=(row.word("dimension", "category"),),
        meta=row.rest("category", "cycle_category"),
    )
