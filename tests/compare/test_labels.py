"""Two runs of one model and arm are called by what sets them apart."""

from __future__ import annotations

from zoomgap.compare.labels import distinct

SAME = {"model": "m", "weights": "w"}


def named(*runs):
    return [run.label for run in distinct(runs)]


def test_a_setting_that_is_unlike_the_rest_is_told(world):
    w = world(20)
    plain, wide = (w.run("m direct", 9, view_pixels=px, max_zooms=0, **SAME) for px in (65_536, 131_072))
    agent, one = (
        w.run("m agent", 9, arm="agent", max_zooms=3, **SAME),
        w.run("m agent", 9, arm="agent", max_zooms=1, **SAME),
    )
    assert named(plain, wide, agent, one) == ["m direct", "m direct, 131,072 px", "m agent", "m agent, 1 zoom"]


def test_labels_that_differ_stay_as_they_are(world):
    w = world(20)
    assert named(w.run("a", 9, **SAME), w.run("b", 7, view_pixels=131_072, **SAME)) == ["a", "b"]


def test_runs_that_no_known_setting_tells_apart_have_their_ids(world):
    w = world(20)
    runs = [w.run("m direct", 9, model="m", weights=weights) for weights in "vw"]
    assert named(*runs) == [f"m direct ({run.id[:4]})" for run in runs]
