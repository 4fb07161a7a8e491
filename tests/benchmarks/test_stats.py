import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.benchmarks.stats import MEGAPIXELS, VIEWS, stats
from zoomgap.errors import UsageError
from zoomgap.geometry import Box
from zoomgap.imaging import scale_of
from zoomgap.records import Result, Sample


def sample(k: int = 0, **changes) -> Sample:
    fields = {
        "id": f"s{k}", "benchmark": "b", "image": f"{k:064x}", "width": 2000, "height": 1000, "question": "What?",
        "answer": "A", "answer_kind": "choice", "dimension": "ocr", "choices": ("x", "y", "z", "w"),
        "evidence": (Box(10, 10, 40, 50),), "evidence_kind": "tight", "cluster": f"c{k}",
    }  # fmt: skip
    return Sample(**{**fields, **changes})


boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), *[st.integers(0, 900)] * 2, *[st.integers(1, 100)] * 2)
samples = st.lists(
    st.builds(
        sample,
        st.integers(0, 5),
        dimension=st.sampled_from(["ocr", "color", "<b>"]),
        answer_kind=st.sampled_from(["choice", "integer", "text"]),
        evidence=st.lists(boxes, max_size=3).map(tuple),
        evidence_kind=st.sampled_from(["tight", "region", None]),
        width=st.sampled_from([1000, 8000]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40)
@given(samples)
def test_every_table_adds_up(given_samples):
    found = stats(given_samples)
    n = len(given_samples)
    assert found["n"] == sum(row["n"] for row in found["dimensions"]) == sum(found["answer_kinds"].values()) == n
    assert all(row["n"] == row["choice"] + row["integer"] + row["text"] for row in found["dimensions"])
    assert found["without_evidence"] == sum(row["without_evidence"] for row in found["dimensions"])
    assert sum(found["golds"]["letters"].values()) == found["answer_kinds"]["choice"]
    assert sum(row["images"] for row in found["megapixels"]["bins"]) == found["images"]
    for sides in found["evidence_px"].values():
        known = [value for value in sides.values() if value is not None]
        assert known == sorted(known)
        assert len(known) == (5 if found["without_evidence"] < n else 0)
    assert json.loads(json.dumps(found)) == found


@settings(max_examples=40)
@given(samples)
def test_keys_are_the_same_for_every_set(given_samples):
    whole = stats([sample()])
    found = stats(given_samples)
    assert list(found) == list(whole)
    assert list(found["dimensions"][0]) == list(whole["dimensions"][0])
    for name in ("answer_kinds", "golds", "megapixels", "evidence_kinds", "evidence_px"):
        assert list(found[name]) == list(whole[name])


def test_sides_are_of_the_smallest_box_in_pixels_of_the_view():
    shown = sample(evidence=(Box(0, 0, 100, 100), Box(0, 0, 30, 40)))
    (side,) = set(stats([shown])["evidence_px"]["original"].values())
    assert side == pytest.approx(np.sqrt(1200), abs=1e-3)
    for view in VIEWS:
        scale = scale_of(shown.size, view)
        result = Result(
            run="r", sample=shown, attempt=0, verdict="correct", stop_reason="answered", text="", scale=scale, wall_ms=1
        )
        assert stats([shown])["evidence_px"][f"view_{view}"]["median"] == pytest.approx(result.evidence_px, abs=1e-3)


def test_an_image_is_counted_once_in_its_bin():
    found = stats([sample(1), sample(1, id="again"), sample(2, width=500, height=500)])
    assert found["images"] == 2
    held = {row["low"]: row["images"] for row in found["megapixels"]["bins"] if row["images"]}
    assert held == {0.25: 1, 2.0: 1}
    assert [row["low"] for row in found["megapixels"]["bins"]] == list(MEGAPIXELS)


def test_a_skewed_gold_is_seen():
    asked = [sample(k, answer="A" if k < 6 else "B") for k in range(8)]
    asked.append(sample(9, answer="C", choices=("x", "y"), answer_kind="choice"))
    found = stats(asked)
    assert found["golds"]["letters"] == {"A": 6, "B": 2, "C": 1}
    assert found["golds"]["commonest"] == pytest.approx(6 / 9)
    assert found["golds"]["chance"] == pytest.approx((8 / 4 + 1 / 2) / 9)
    assert found["choices"] == {"2": 1, "4": 8}


def test_a_set_without_choices_has_no_letters():
    found = stats([sample(answer="7", answer_kind="integer", choices=())])
    assert found["golds"] == {"letters": {}, "commonest": None, "chance": None}
    assert found["choices"] == {}


def test_an_empty_set_is_refused():
    with pytest.raises(UsageError, match="without samples"):
        stats([])
