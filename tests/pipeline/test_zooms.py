"""What the comparison reads of an agent's zooms, with the embedded model."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.markup import Tags
from zoomgap import console
from zoomgap.compare.contribution import CONTROLS
from zoomgap.compare.document import document as compared
from zoomgap.pipeline import ModelChoice, RunOptions, compare_runs, make_micro, run, write_report
from zoomgap.pipeline.reports import run_data
from zoomgap.storage import Store

N = 10
ARMS = ("agent", *CONTROLS, "region", "region-lowres")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A store with every arm over a few scenes, and the run of each arm; `one` is the agent of one zoom."""
    with Store.open(tmp_path_factory.mktemp("zooms") / "z.db") as store:
        bench = make_micro(store, N, 8_170_000).name
        options = RunOptions(concurrency=N)
        runs = {arm: run(store, bench, arm, ModelChoice(), options).run for arm in ARMS}
        runs["one"] = run(store, bench, "agent", ModelChoice(), RunOptions(concurrency=N, max_zooms=1)).run
        yield store, runs


def test_crops_are_read_as_the_steps_have_them(measured):
    store, runs = measured
    for arm in ("agent", "agent-lowres", "agent-random", "agent-blind"):
        crops = store.crops(runs[arm])
        shown = 0
        for id in store.trajectory_ids(runs[arm]):
            made = store.trajectory(id)
            own = [step for step in made.steps if step.box is not None and step.observation is not None]
            read = crops.get((made.sample, made.attempt), ())
            assert [frame.box for frame in read] == [step.box for step in own]
            assert [frame.size.width for frame in read] == [step.observation.width for step in own]
            assert [frame.index for frame in read] == list(range(1, len(own) + 1))
            shown += len(own)
        assert shown == sum(map(len, crops.values()))
        assert (shown == 0) == (arm == "agent-blind"), "what is withheld was not shown"
    assert run_data(store, runs["direct"]).crops == {}


def test_the_dual_view_is_that_of_the_stored_boxes(measured):
    store, runs = measured
    found = compare_runs(store, list(runs.values()), {})
    dual = next(dual for dual in found.dual if dual.run == runs["agent"])
    samples = {sample.id: sample for sample in store.samples(found.bench)}
    counts: Counter[str] = Counter()
    for id in store.trajectory_ids(runs["agent"]):
        made = store.trajectory(id)
        boxes = [step.box for step in made.steps if step.box is not None]
        evidence = samples[made.sample].evidence
        held = all(any(box.covers(thing) >= 0.9 for box in boxes) for thing in evidence)
        counts["no zoom" if not boxes else "held" if held else "missed"] += 1
    assert {group.name: group.n for group in dual.groups} == {
        name: counts[name] for name in ("no zoom", "missed", "held")
    }
    assert dual.region == runs["region"]
    assert (dual.n, dual.kind) == (N, "tight")
    gap = sum(loss.value or 0.0 for loss in dual.overall.losses)
    assert gap == pytest.approx(dual.overall.region - dual.overall.agent)
    assert dual.crop_px > dual.view_px


def test_every_control_and_the_agent_of_one_zoom_are_found(measured):
    store, runs = measured
    found = compare_runs(store, list(runs.values()), {})
    item = next(item for item in found.contribution if item.run == runs["agent"])
    assert [(control.arm, control.run) for control in item.controls] == [(arm, runs[arm]) for arm in CONTROLS]
    assert item.schema is not None
    assert item.one_zoom_run == runs["one"]
    stored = Counter(store.trajectory(id).zooms for id in store.trajectory_ids(runs["agent"]))
    assert {count.zooms: count.n for count in item.histogram} == stored
    assert found.role("agent").run == runs["agent"]


def test_page_document_and_terminal_show_it(measured, tmp_path, capsys, dom_of):
    store, runs = measured
    found = compare_runs(store, list(runs.values()), {})
    document = json.loads(json.dumps(compared(found), allow_nan=False))
    assert {"dual", "contribution", "verdicts", "verdict_note"} <= document.keys()
    console.comparison_lines(document)
    shown = capsys.readouterr().out
    assert "localisation loss" in shown or "recognition loss" in shown
    assert "micro agent, 1 zoom" in shown
    assert "all kinds, all sizes: undecided (10 answers, a verdict rests on at least 350)" in shown
    write_report(store, found, tmp_path / "report.html")
    page = dom_of(tmp_path / "report.html")
    tags = Tags(page)
    assert "script" not in tags.tags
    for heading in (
        "Does the agent look in the right place",
        "What the zooming tool brings",
        "Where one zoom is enough",
    ):
        assert heading in page
    assert page.count("held the evidence") == 2, "one for each agent"
    assert "recognition loss" in page
