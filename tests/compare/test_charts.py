"""Behind each chart stands a table of the figures that it draws."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zoomgap.compare import charts, figures
from zoomgap.compare.comparison import compare
from zoomgap.compare.report import render
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData
from zoomgap.compare.words import share

QUICK = Settings(draws=60, curve_draws=20)
SAME = {"model": "m", "weights": "w"}


@pytest.fixture(scope="module")
def found(world):
    w = world(1500)
    return compare([w.run("base", 22, wall=50, **SAME), w.run("agent", 7, arm="agent", **SAME)], settings=QUICK)


def test_curves_have_a_row_for_every_point(found):
    drawn = charts.acuity_charts(found)
    assert [chart.title for chart in drawn] == ["color", "ocr"]
    for chart in drawn:
        points = [point for row in found.runs for point in row.by_dimension[chart.title].acuity.points]
        assert [row[3] for row in chart.rows] == [share(point.accuracy) for point in points]
        assert sum(int(row[2]) for row in chart.rows) == 2 * 750
        for row in found.runs:
            assert f"{row.label}: {row.by_dimension[chart.title].acuity.px:.1f} px" in chart.caption


def test_frontier_and_sizes_have_a_row_for_every_run(found):
    frontier = charts.frontier_chart(found)
    assert [row[0] for row in frontier.rows] == ["base", "agent"], "the quickest first"
    assert "n 1,500 answers a run" in frontier.caption
    sizes = charts.evidence_chart(found)
    assert [len(row) for row in sizes.rows] == [4, 4] == [len(sizes.columns)] * 2
    assert all("n 500" in cell for row in sizes.rows for cell in row[1:])


def without_boxes(run: RunData) -> RunData:
    results = [replace(r, sample=replace(r.sample, evidence=(), evidence_kind=None)) for r in run.results]
    return replace(run, results=results)


def test_without_boxes_there_is_no_curve_and_the_page_says_why(world):
    w = world(300)
    bare = compare([without_boxes(w.run("a", 9)), without_boxes(w.run("b", 12))], settings=QUICK)
    assert charts.acuity_charts(bare) == []
    assert charts.evidence_chart(bare) is None
    assert "no sample of sim has an evidence box" in render(bare)


def test_boxes_of_whole_regions_give_no_curve(world):
    run = world(300).run("a", 9)
    regions = [replace(r, sample=replace(r.sample, evidence_kind="region")) for r in run.results]
    coarse = compare([replace(run, results=regions)], settings=QUICK)
    assert charts.acuity_charts(coarse) == []
    assert "Boxes of whole regions give no size" in render(coarse)


def test_times_that_cannot_be_compared_give_no_frontier(world):
    w = world(100)
    unlike = compare([w.run("a", 9), w.run("b", 9, circumstances={"concurrency": 64})], settings=QUICK)
    assert charts.frontier_chart(unlike) is None
    page = render(unlike)
    assert "No two of them have times that can be compared" in page
    assert figures.timed_alike(unlike)[0].label == "a"


def test_rivals_stand_on_the_frontier_and_controls_do_not(world):
    w = world(100)
    arms = [
        w.run("wide", 9, view_pixels=131_072, **SAME), w.run("tiles", 9, arm="tiles", **SAME),
        w.run("agent", 7, arm="agent", **SAME), w.run("blind", 9, arm="agent-blind", **SAME), w.run("base", 9, **SAME),
    ]  # fmt: skip
    shown = {row[0] for row in charts.frontier_chart(compare(arms, settings=QUICK)).rows}
    assert shown == {"wide", "tiles", "agent", "base"}


def test_base_agent_and_student_keep_their_colours(world):
    w = world(60)
    base, agent, student = w.run("b", 9, **SAME), w.run("a", 7, arm="agent", **SAME), w.run("s", 8, model="s")
    others = [w.run(f"o{k}", 9, arm="tiles", model=f"o{k}") for k in range(9)]
    found = compare([*others, student, agent, base], roles={student.id: "student", base.id: "base"}, settings=QUICK)
    places = figures.places(found)
    assert [places[run.id] for run in (base, agent, student)] == [0, 1, 2]
    assert {places[run.id] for run in others} == set(range(3, len(figures.PALETTE))), "and share them with no other run"
    assert len(figures.lines(found)) == figures.MAX_LINES


def test_tiles_and_routers_stand_on_the_frontier_too(world):
    w = world(100)
    runs = [w.run(arm, arm=arm, **SAME) for arm in ("direct", "tiles", "agent", "router", "region")]
    chart = charts.frontier_chart(compare(runs, settings=replace(QUICK, confidence=0.9)))
    assert {row[0] for row in chart.rows} == {"direct", "tiles", "agent", "router"}
    assert "90% interval" in chart.columns
