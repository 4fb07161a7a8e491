"""Input that a comparison can say little of: a clear line or an empty cell, never a number that means nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from zoomgap.compare.comparison import compare
from zoomgap.compare.report import render
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData

QUICK = Settings(draws=100, curve_draws=20)
MODEL = {"model": "m", "weights": "w"}


def answered(run, verdict):
    return RunData(run.spec, run.label, [replace(r, verdict=verdict) for r in run.results], run.invocations)


def checked(found):
    """The comparison, once its JSON and its page are seen to be whole."""
    json.dumps(found.to_json(), allow_nan=False)
    assert "nan" not in render(found).lower().replace("nanc", "")
    return found


def pair_of(w):
    return w.run("a", 14, **MODEL), w.run("b", 14, arm="agent", **MODEL)


def test_one_answer(world):
    found = checked(compare(pair_of(world(1)), settings=QUICK))
    (pair,) = found.pairs
    assert pair.verdict == "undecided"
    assert pair.reason.startswith("one answer would show no difference")
    assert pair.detectable is None
    assert (pair.low, pair.high) == (-1.0, 1.0)
    assert found.runs[0].acuity_px is None
    assert {cell.verdict for cell in found.verdicts} == {"undecided"}


@pytest.mark.parametrize("verdict", ["correct", "incorrect", "unparsed"])
def test_all_alike(world, verdict):
    found = checked(compare([answered(run, verdict) for run in pair_of(world(400))], settings=QUICK))
    (pair,) = found.pairs
    assert pair.difference == 0.0
    assert pair.low < -0.005 < 0.005 < pair.high
    assert pair.p_value == 1.0
    for row in found.runs:
        assert 0 < row.high - row.low < 0.05
        for score in row.by_dimension.values():
            assert score.acuity.state == "not estimable"
            assert score.acuity.reason == f"every answer is {'right' if verdict == 'correct' else 'wrong'}"
    few = compare([answered(run, verdict) for run in pair_of(world(40))], settings=QUICK).pairs[0]
    assert few.verdict == "undecided"  # 40 alike answers leave room for a difference of 9 points


def test_only_errors(world):
    found = checked(compare([answered(run, "error") for run in pair_of(world(50))], settings=QUICK))
    assert found.runs[0].model_accuracy is None
    assert found.pairs[0].verdict == "refused"


def test_one_run_alone(world):
    found = checked(compare(pair_of(world(40))[:1], settings=QUICK))
    assert found.pairs == ()
    assert found.notes[0].startswith("one run alone")


def test_a_run_that_goes_on(world):
    a, b = pair_of(world(40))
    going, ended = ([replace(i, seconds=seconds) for i in a.invocations] for seconds in (None, 3.0))
    half = RunData(a.spec, a.label, a.results[:25], going, samples=40)
    whole = RunData(b.spec, b.label, b.results, ended, samples=40)
    rows = checked(compare([half, whole], settings=QUICK)).runs
    assert [row.incomplete for row in rows] == ["25 of 40 answers, its latest command has not ended", ""]
    killed = replace(a.invocations[0], id="earlier", started="2024-01-01", seconds=None)
    again = RunData(a.spec, "a", a.results, [killed, *ended], samples=40)
    assert compare([again], settings=QUICK).runs[0].incomplete == ""


def test_sets_with_no_boxes_some_boxes_and_regions(world):
    a, b = pair_of(world(100))

    def with_samples(change):
        return [
            RunData(r.spec, r.label, [replace(x, sample=change(k, x.sample)) for k, x in enumerate(r.results)], [])
            for r in (a, b)
        ]

    bare = checked(compare(with_samples(lambda k, s: replace(s, evidence=())), settings=QUICK))
    assert any("no evidence boxes" in note for note in bare.notes)
    assert bare.runs[0].acuity_px is None
    some = checked(compare(with_samples(lambda k, s: replace(s, evidence=()) if k < 30 else s), settings=QUICK))
    assert any(note.startswith("30 of 100 answers have no evidence boxes") for note in some.notes)
    region = checked(compare(with_samples(lambda k, s: replace(s, evidence_kind="region")), settings=QUICK))
    assert any("regions, not tight" in note for note in region.notes)
    assert all(score.acuity is None for row in region.runs for score in row.by_dimension.values())


def test_an_undecided_pair_says_what_it_could_have_shown(world):
    w = world(300)
    a, b = w.run("a", 14, shared=0.5, **MODEL), w.run("b", 14.5, shared=0.5, arm="agent", **MODEL)
    (pair,) = compare([a, b], settings=QUICK).pairs
    assert pair.verdict == "undecided"
    assert f"show a difference of {pair.detectable * 100:.1f} points or more in 80% of cases" in pair.reason
    share = (pair.only_a + pair.only_b + 1) / 302
    assert pair.detectable == pytest.approx(2.8 * np.sqrt(share / 300), rel=0.05)
