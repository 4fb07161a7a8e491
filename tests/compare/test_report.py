from __future__ import annotations

import io
from xml.etree import ElementTree

import PIL.Image
import pytest

from tests.markup import HOSTILE, Tags
from zoomgap.compare import figures
from zoomgap.compare.comparison import compare
from zoomgap.compare.report import MAX_TRACE_BYTES, TraceView, render
from zoomgap.compare.rows import Settings
from zoomgap.geometry import Box, Size

QUICK = Settings(draws=100, curve_draws=30)
MODEL = {"model": "m", "weights": "w"}


def jpeg(side: int = 32, color: str = "red") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), color).save(buffer, "JPEG")
    return buffer.getvalue()


def trace(text: str, image: bytes) -> TraceView:
    zooms = [(Box(10, 10, 60, 60), text, jpeg())]
    return TraceView(text, text, image, Size(1000, 800), zooms, text, "correct", text)


@pytest.fixture
def comparison(world):
    w = world(1500)
    base = w.run("base", 22, wall=50, shared=0.7, **MODEL)
    agent = w.run("agent", 7, wall=200, turns=3, shared=0.7, arm="agent", **MODEL)
    student = w.run("student", 12, wall=50, shared=0.7, model="s")
    return compare([base, agent, student], {student.id: "student"}, settings=QUICK)


def test_the_page_needs_nothing_from_outside(comparison):
    page = render(comparison, [trace("What is it?", jpeg())])
    found = Tags(page)
    for name, value in found.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#"))
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_model_text_is_data(comparison, world):
    w = world(60)
    hostile = compare([w.run(HOSTILE, 9), w.run(HOSTILE + "2", 20)], settings=QUICK)
    for page in (render(comparison, [trace(HOSTILE, jpeg())]), render(hostile)):
        found = Tags(page)
        assert "script" not in found.tags
        assert not [name for name, _ in found.attributes if name.startswith("on")]
        assert "{{ 7*7 }}" in page
        assert "&lt;script&gt;" in page


def test_boxes_and_crops_are_drawn_on_the_original(comparison):
    page = render(comparison, [trace("q", jpeg())])
    assert 'viewBox="0 0 1000 800"' in page
    assert page.count('x="10" y="10" width="50" height="50"') == 2
    assert page.count("data:image/jpeg;base64,") == 2


def test_heavy_traces_are_left_out_and_counted(comparison):
    heavy = jpeg() + bytes(MAX_TRACE_BYTES // 3)
    page = render(comparison, [trace(f"question {k}", heavy) for k in range(6)])
    assert "4 more are left out" in page
    assert len(page) < 2 * MAX_TRACE_BYTES


def test_long_replies_are_cut(comparison):
    assert "(90,000 characters)" in render(comparison, [trace("y" * 90_000, jpeg())])


def test_rendering_is_deterministic(comparison):
    assert render(comparison) == render(comparison)


def test_a_single_run_renders(world):
    page = render(compare([world(50).run("alone", 9)], settings=QUICK))
    assert "These runs differ in no setting." in page


def test_figures_are_wellformed_and_share_no_ids(comparison):
    drawings = [figures.psychometric(comparison, name) for name in ("ocr", "color")]
    drawings += [figures.frontier(comparison), figures.by_evidence(comparison)]
    seen: set[str] = set()
    for drawing in drawings:
        ids = {element.get("id") for element in ElementTree.fromstring(drawing).iter()} - {None}
        assert ids
        assert not ids & seen
        seen |= ids
        assert "var(--c0" in drawing
        assert "<style" not in drawing
    assert "student 1" in drawings[0]


def test_the_frontier_leaves_out_unlike_timings(world):
    w = world(200)
    runs = [w.run("a", 9), w.run("b", 12), w.run("c", 12, circumstances={"concurrency": 64})]
    found = compare(runs, settings=QUICK)
    assert [row.label for row in figures.timed_alike(found)] == ["a", "b"]
    assert "not taken under like circumstances: c." in render(found)
    assert figures.frontier(compare(runs[::2], settings=QUICK)) == ""


def test_labels_are_spread_without_crossing():
    assert figures.spread([0.5, 0.5, 0.1], 0.1) == pytest.approx([0.5, 0.6, 0.1])
    crowded = figures.spread([0.95, 1.0, 0.99], 0.1, 0.0, 1.0)
    assert crowded == pytest.approx([0.8, 1.0, 0.9])
