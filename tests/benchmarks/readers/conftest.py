"""A store, and imports into it that tell what came of each row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from zoomgap.benchmarks.readers import Source
from zoomgap.pipeline import Imported, import_set
from zoomgap.storage import Store


class Shelf:
    """A store to import into."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def take(self, name: str, path: Path, format: str | None = None, **change) -> Imported:
        ways = {key: change.pop(key) for key in ("boxes", "split", "limit", "strict", "count") if key in change}
        return import_set(self.store, name, Source(path=path, **change), format=format, **ways)

    def samples(self, name: str, path: Path, format: str | None = None, **change):
        """The samples of a set of which no row may be refused."""
        done = self.take(name, path, format, **change)
        assert done.refused == []
        return self.store.samples(name)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    (tmp_path / "store").mkdir()
    with Store.open(tmp_path / "store" / "z.db") as store:
        yield Shelf(store)
