from __future__ import annotations

import re

import pytest

from zoomgap.compare.comparison import compare
from zoomgap.compare.matrix import matrix
from zoomgap.compare.report import render
from zoomgap.compare.rows import Settings
from zoomgap.compare.verdicts import ALL_KINDS

QUICK = Settings(draws=50, curve_draws=10)
MODEL = {"model": "m", "weights": "w"}


@pytest.mark.parametrize("n", [300, 600, 1600, 2400, 4800])
def test_every_row_fills_every_column_once(world, n):
    w = world(n)
    found = compare([w.run("b", 20, **MODEL), w.run("a", 7, arm="agent", **MODEL)], settings=QUICK)
    laid = matrix(found)
    assert [name for name, _ in laid.rows] == [ALL_KINDS, "color", "ocr"], "what decides first"
    for _, entries in laid.rows:
        assert sum(entry.width for entry in entries) == len(laid.columns)
    cells = [entry.cell for _, entries in laid.rows for entry in entries]
    first = [cell for cell in found.verdicts if cell.dimension == ALL_KINDS]
    assert cells == first + [cell for cell in found.verdicts if cell.dimension != ALL_KINDS]
    page = render(found)
    assert page.count('<div class="cell ') == len(cells)


def test_two_halves_beside_three_thirds(world):
    """1,600 answers: 800 of a kind make two sizes, all of them three; a cell that spans columns names its sizes."""
    w = world(1600)
    laid = matrix(compare([w.run("b", 20, **MODEL), w.run("a", 7, arm="agent", **MODEL)], settings=QUICK))
    widths = {name: [entry.width for entry in entries] for name, entries in laid.rows}
    assert widths == {"color": [2, 2, 1], "ocr": [2, 2, 1], ALL_KINDS: [1, 2, 1, 1]}
    assert len(laid.columns) == 5
    for _, entries in laid.rows:
        for entry in entries:
            assert bool(re.fullmatch(r"\d+ to \d+ px", entry.sizes)) == (entry.width > 1)


def test_without_verdicts_the_page_says_why(world):
    page = render(compare([world(60).run("b", **MODEL)], settings=QUICK))
    assert "No verdicts: no agent is compared" in page
    assert '<table class="matrix">' not in page
