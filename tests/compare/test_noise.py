from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zoomgap.compare.comparison import compare
from zoomgap.compare.noise import rerun_of
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData
from zoomgap.records import RunSpec, Sampling

QUICK = Settings(draws=100, curve_draws=20)
MODEL = {"model": "m", "weights": "w"}


def spec(**fields) -> RunSpec:
    return RunSpec(benchmark="sim", benchmark_sha256="0", arm="direct", model="m", **fields)


def test_reruns_differ_in_how_they_asked_alone():
    assert rerun_of(spec(), spec(variant=2, prompts="other")) == ("variant",)
    assert rerun_of(spec(), spec(sampling=Sampling(seed=4), attempts=2)) == ("attempts", "sampling.seed")
    assert rerun_of(spec(), spec(prompts="other")) is None
    assert rerun_of(spec(), spec(view_pixels=9)) is None
    assert rerun_of(spec(), spec(sampling=Sampling(temperature=1.0))) is None


def test_flips_between_variants(world):
    w = world(1500)
    first, second = w.run("a", 14, shared=0.8, **MODEL), w.run("a again", 14, shared=0.8, variant=1, **MODEL)
    other = w.run("agent", 13.5, shared=0.8, arm="agent", **MODEL)
    found = compare([first, second, other], settings=QUICK)
    (floor,) = found.noise
    flips = np.mean([x.verdict != y.verdict for x, y in zip(first.results, second.results, strict=True)])
    assert floor.flips == pytest.approx(flips)
    assert floor.flips_low < flips < floor.flips_high
    assert floor.runs == (first.id, second.id)
    assert floor.differ == ("option order and wording",)
    assert floor.floor >= 1.9 * np.sqrt(flips / 1500)
    assert any("noise floor of a, asked 2 times" in note for note in found.notes)
    pair = found.pair(first.id, other.id)
    assert pair.noise_floor == floor.floor
    assert ("under the noise floor" in pair.reason) == (abs(pair.difference) < floor.floor)
    far = compare([first, second, w.run("far", 40, arm="agent", **MODEL)], settings=QUICK)
    assert "noise floor" not in far.pairs[1].reason


def test_attempts_of_one_run_are_reruns(world):
    w = world(400)
    once, again = w.run("a", 14, shared=0.5, **MODEL), w.run("a", 14, shared=0.5, **MODEL)
    results = [*once.results, *(replace(r, attempt=1, run=once.id) for r in again.results)]
    (floor,) = compare([RunData(replace(once.spec, attempts=2), "a", results, [])], settings=QUICK).noise
    assert floor.reruns == 2
    assert floor.n == 400
    assert floor.differ == ("attempts",)
    assert 0 < floor.flips < 0.5


def test_without_reruns_there_is_no_floor(world):
    w = world(60)
    found = compare([w.run("a", **MODEL), w.run("b", arm="agent", **MODEL)], settings=QUICK)
    assert found.noise == ()
    assert found.pairs[0].noise_floor is None


def test_greedy_answers_that_come_again_are_no_measure_of_luck(world):
    w = world(60)
    once = w.run("a", **MODEL)
    results = [*once.results, *(replace(r, attempt=1) for r in once.results)]
    assert compare([RunData(replace(once.spec, attempts=2), "a", results, [])], settings=QUICK).noise == ()
    words = RunData(replace(once.spec, variant=1), "b", once.results, [])
    (floor,) = compare([once, words], settings=QUICK).noise
    assert floor.flips == 0
    assert 0.01 < floor.floor < 0.1
