from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routers import SPEC, router
from zoomgap.errors import UsageError
from zoomgap.records import Sample, Sampling
from zoomgap.routers import Router, Signals, agreement_of, columns_of, read_router, write_router

SAMPLE = Sample(
    id="s", benchmark="b", image="00", width=1024, height=512, question="?", answer="B", answer_kind="choice",
    choices=("x", "y"), dimension="ocr",
)  # fmt: skip
SURE = Signals(sample=SAMPLE, text="B", answer="B", confidence=0.9, min_probability=0.8, margin=2.0, agreement=0.5)


def test_a_sure_answer_is_kept_and_an_unsure_one_is_not():
    assert not router().zooms(SURE)
    assert router().zooms(replace(SURE, confidence=0.4))
    assert router(-math.inf).zooms(replace(SURE, confidence=0.01)) is False
    assert router(math.inf).zooms(replace(SURE, confidence=1.0))


def test_an_answer_that_cannot_be_read_or_scored_is_not_kept():
    assert router(-1e9).zooms(replace(SURE, answer=None))
    assert router(-1e9).zooms(replace(SURE, confidence=None))


def test_columns_are_in_units_that_a_linear_score_can_use():
    features = ("confidence", "margin", "agreement", "answer_kind", "dimension", "image_size", "reply_length")
    columns = columns_of(SURE, features)
    assert columns == pytest.approx({
        "confidence": math.log(9), "margin": 2.0, "agreement": 0.5, "answer_kind=choice": 1, "dimension=ocr": 1,
        "image_size": 19, "reply_length": 1,
    })  # fmt: skip
    for probability in (0.0, 1.0, 1e-300):
        assert math.isfinite(columns_of(replace(SURE, confidence=probability), ("confidence",))["confidence"])
    other = router(features=("dimension",), method="logistic", coefficients={"dimension=color": 3.0})
    assert other.score(SURE) == 0.0  # a kind of question that it never saw


def test_agreement_is_with_the_answer_that_is_served():
    assert agreement_of(["A", "A", "B", None, "A"]) == 0.5
    assert agreement_of([None, None, "B"]) == 0.5
    assert agreement_of(["A"]) is None


numbers = st.floats(-1e6, 1e6)


@given(st.dictionaries(st.text(max_size=8), numbers), numbers, numbers | st.sampled_from([math.inf, -math.inf]))
def test_a_router_comes_back_from_its_file_as_it_was(coefficients, intercept, threshold):
    made = router(threshold, coefficients=coefficients, intercept=intercept)
    again = Router.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    assert again == made
    assert again.sha256 == made.sha256


def test_files_that_are_no_routers_are_refused_in_one_line(tmp_path):
    path = tmp_path / "r.json"
    write_router(router(), path)
    assert read_router(path) == router()
    good = json.loads(path.read_text())
    faults = {
        "no JSON": "{", "it is no router": "[]", "of version 2": json.dumps(good | {"zoomgap_router": 2}),
        "with a fault": json.dumps({"zoomgap_router": 1, "method": "threshold"}),
        "a fault": json.dumps(good | {"threshold": "perhaps"}),
        "it is a router with a fault": json.dumps(good | {"glance": {}}),
        "feature 'luck'": json.dumps(good | {"features": ["luck"]}), "a router with": json.dumps(good | {"more": 1}),
        "router with a fault:": json.dumps(good | {"coefficients": {"confidence": float("nan")}}),
    }  # fmt: skip
    for message, text in faults.items():
        path.write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            read_router(path)
        assert "\n" not in str(caught.value)
        assert "r.json" in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no text"):
        read_router(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_router(tmp_path / "none.json")


def test_a_router_is_of_one_model_and_one_budget():
    router().check_glance(replace(SPEC, arm="router", benchmark="other"))
    for change in ({"model": "n"}, {"view_pixels": 9}, {"sampling": Sampling(temperature=0.7)}):
        with pytest.raises(UsageError, match="was fitted on direct answers with"):
            router().check_glance(replace(SPEC, **change))
    moved = router(of=replace(SPEC, weights="w", model="hf:a"))
    moved.check_glance(replace(SPEC, weights="w", model="hf:b"))  # the same checkpoint in another folder
    with pytest.raises(UsageError, match="with weights w"):
        moved.check_glance(replace(SPEC, weights="v", model="hf:a"))
