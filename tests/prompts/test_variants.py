from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap import prompts
from zoomgap.records import RunSpec, Sample

SAMPLE = Sample(
    id="s", benchmark="b", image="0" * 64, width=9, height=9, question="What color?", answer="B", answer_kind="choice",
    dimension="color", choices=("red", "blue", "green", "white"),
)  # fmt: skip


@given(st.text(max_size=8), st.integers(2, 8), st.integers(1, 50), st.data())
def test_the_gold_goes_with_its_option(id, n, variant, data):
    gold = data.draw(st.integers(0, n - 1))
    choices = tuple(f"option {k}" for k in range(n))
    sample = replace(SAMPLE, id=id, choices=choices, answer=chr(ord("A") + gold))
    varied = prompts.vary(sample, variant)
    assert varied.choices[ord(varied.answer) - ord("A")] == choices[gold]
    assert sorted(varied.choices) == sorted(choices)
    assert varied.choices != choices
    assert varied == prompts.vary(sample, variant)
    assert replace(varied, choices=choices, answer=sample.answer) == sample


def test_what_has_no_order_stays():
    opened = replace(SAMPLE, choices=(), answer="blue", answer_kind="text")
    assert prompts.vary(opened, 3) is opened
    assert prompts.vary(SAMPLE, 0) is SAMPLE
    assert prompts.vary(replace(SAMPLE, choices=("red",), answer="A"), 1).choices == ("red",)
    assert prompts.vary(replace(SAMPLE, answer=""), 1).answer == ""


@pytest.mark.parametrize("kind", ["choice", "integer", "text"])
def test_each_variant_asks_for_the_form_in_other_words(kind):
    asked = [prompts.question("How many?", answer_kind=kind, variant=k).split("\n")[1] for k in range(5)]
    assert len(set(asked)) == 4
    assert asked[4] == asked[1]
    assert prompts.question("How many?", answer_kind=kind, suffix=False, variant=2) == "How many?"


def test_a_run_of_the_usual_kind_keeps_its_identity():
    """The id and the fingerprint's place in it are those of before there were variants."""
    plain = RunSpec(benchmark="b", benchmark_sha256="0" * 64, arm="direct", model="m")
    assert plain.id == "1b46a38da95c"
    assert len({plain.id, replace(plain, variant=1).id, replace(plain, variant=2).id}) == 3
    assert prompts.fingerprint() == prompts.fingerprint(0) != prompts.fingerprint(1) != prompts.fingerprint(2)
    assert prompts.fingerprint(1) == prompts.fingerprint(4)
