"""The verdicts laid out as a table of kinds by sizes, in which a merged cell spans the columns that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from zoomgap.compare.rows import Cell, Comparison
from zoomgap.compare.verdicts import span_name


class Entry(NamedTuple):
    """A cell and over how many columns it goes. sizes: what it spans in words, "" where its column says so."""

    cell: Cell
    width: int
    sizes: str


class Matrix(NamedTuple):
    """columns: sizes in words, small first, then all sizes where a row has several. rows: name and entries."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]


def matrix(comparison: Comparison) -> Matrix:
    """The verdicts of a comparison as a table; without rows where there are none."""
    bins = [(s.evidence_low, s.evidence_high) for s in comparison.runs[0].by_evidence if s.evidence_low is not None]
    rows = [(name, list(group)) for name, group in groupby(comparison.verdicts, key=lambda cell: cell.dimension)]
    # One size of all is no column beside those that it would repeat.
    split = bins if any(len(cells) > 1 for _, cells in rows) else []
    columns = [span_name(low, high) for low, high in split] + [span_name(None, None)]
    return Matrix(columns, [(name, [_entry(cell, cells, split) for cell in cells]) for name, cells in rows])


def _entry(cell: Cell, cells: Sequence[Cell], bins: Sequence[tuple[float | None, float | None]]) -> Entry:
    sizes = span_name(cell.evidence_low, cell.evidence_high)
    if cell.evidence_low is None or cell.evidence_high is None:
        width = 1 if len(cells) > 1 else len(bins) + 1
        return Entry(cell, width, sizes if width > 1 else "")
    inside = [low for low, high in bins if low is not None and high is not None]
    width = sum(cell.evidence_low <= low < cell.evidence_high for low in inside)
    return Entry(cell, width, sizes if width > 1 else "")
