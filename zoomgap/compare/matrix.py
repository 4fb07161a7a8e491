"""The verdicts laid out as a table of kinds by sizes, in which a merged cell spans the columns that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from zoomgap.compare.rows import Cell, Comparison
from zoomgap.compare.verdicts import ALL_KINDS, span_name


class Entry(NamedTuple):
    """A cell and over how many columns it goes. sizes: what it spans in words, "" where its column says so."""

    cell: Cell
    width: int
    sizes: str


class Matrix(NamedTuple):
    """columns: sizes in words, small first, then all sizes where a row has several. rows: name and entries,
    all kinds together first.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]


def matrix(comparison: Comparison) -> Matrix:
    """The verdicts of a comparison as a table; without rows where there are none."""
    rows = [(name, list(group)) for name, group in groupby(comparison.verdicts, key=lambda cell: cell.dimension)]
    edges = sorted(
        {edge for c in comparison.verdicts for edge in (c.evidence_low, c.evidence_high) if edge is not None}
    )
    rows.sort(key=lambda row: row[0] != ALL_KINDS)  # what decides first
    columns = [span_name(low, high) for low, high in pairwise(edges)] + [span_name(None, None)]
    return Matrix(columns, [(name, [_entry(cell, cells, edges) for cell in cells]) for name, cells in rows])


def _entry(cell: Cell, cells: Sequence[Cell], edges: Sequence[float]) -> Entry:
    sizes = span_name(cell.evidence_low, cell.evidence_high)
    if cell.evidence_low is None or cell.evidence_high is None:
        # A row of one size has no other column to fill.
        width = 1 if len(cells) > 1 else max(1, len(edges))
    else:
        width = edges.index(cell.evidence_high) - edges.index(cell.evidence_low)
    return Entry(cell, width, sizes if width > 1 else "")
