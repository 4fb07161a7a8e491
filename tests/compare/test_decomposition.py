from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from zoomgap.compare.decomposition import (
    CAUSES,
    Clocks,
    clocks_of,
    costs,
    in_words,
    least_squares,
    measure,
    parts,
    separable,
)
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.records import TimedAnswer

CALL_MS, TOKEN_MS, WRITTEN_MS = 30.0, 0.5, 8.0


def answers(n: int, zooms: int, seed: int = 0, noise: float = 1.0) -> list[TimedAnswer]:
    """Answers whose times are made of known costs; each zoom is a call that shows what was shown before, and a crop."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(n):
        turns = 1 + (int(rng.integers(1, zooms + 1)) if zooms else 0)
        shown = int(rng.choice([48, 64]))
        tokens = sum(shown + 16 * j for j in range(turns))
        written = int(rng.integers(2, 10)) * turns
        preprocess, tool, view, rest = 4.0 * turns, 3.0 * (turns - 1), 20.0, 5.0
        first = preprocess + CALL_MS * turns + TOKEN_MS * tokens + noise * rng.normal()
        model = first + WRITTEN_MS * written
        made.append(
            TimedAnswer(
                session="s", run=f"r{zooms}", sample=f"s{k}", round=0, position=0, verdict="correct",
                wall_ms=model + tool + view + rest, view_ms=view, model_ms=model, preprocess_ms=preprocess,
                first_byte_ms=first, tool_ms=tool, prompt_tokens=tokens + 30 * turns, completion_tokens=written,
                image_tokens=tokens, pixels_sent=tokens * 1024, turns=turns, zooms=turns - 1,
            )
        )  # fmt: skip
    return made


def split(found: list[TimedAnswer], others: list[TimedAnswer] = (), clocks: Clocks | None = None) -> dict:
    """Parts of the mean time of `found`, costs fitted to it and the others."""
    clocks = clocks or clocks_of([*found, *others])
    codes = np.arange(len(found))
    weights = np.ones((1, max(len(found), len(others))), np.float32)
    all_measured = [measure(list(a), clocks, np.arange(len(a))) for a in (found, others) if a]
    cost = costs(all_measured, weights)
    made = parts(measure(found, clocks, codes), clocks, cost, weights[:, : len(found)])
    return {name: None if value is None else float(value[0]) for name, value in made.items()}


def test_what_clocks_tell_is_read_and_costs_that_are_known_are_found():
    agent, direct = answers(200, 3), answers(200, 0, seed=1)
    found = split(agent, direct)
    mean = {name: np.mean([getattr(a, name) for a in agent]) for name in ("turns", "image_tokens", "completion_tokens")}
    assert found["calls"] == pytest.approx(CALL_MS * mean["turns"], rel=0.03)
    assert found["image_tokens"] == pytest.approx(TOKEN_MS * mean["image_tokens"], rel=0.03)
    assert found["generated_tokens"] == pytest.approx(WRITTEN_MS * mean["completion_tokens"])
    assert (found["view"], found["rest"]) == (pytest.approx(20), pytest.approx(5))
    assert found["tool"] == pytest.approx(3 * (mean["turns"] - 1))
    assert abs(found["unsplit"]) < 1


@given(
    st.integers(2, 25),
    st.integers(0, 3),
    st.sets(st.sampled_from(["view_ms", "model_ms", "preprocess_ms", "first_byte_ms", "tool_ms", "image_tokens",
                             "completion_tokens"])),
    st.integers(0, 10**6),
)  # fmt: skip
def test_parts_add_up_to_the_mean_whatever_is_not_known(n, zooms, unknown, seed):
    made = answers(n, zooms, seed, noise=20.0)
    made[seed % n] = replace(made[seed % n], **dict.fromkeys(unknown))
    found = split(made)
    assert list(found) == list(CAUSES)
    assert sum(ms for ms in found.values() if ms is not None) == pytest.approx(np.mean([a.wall_ms for a in made]))
    for name, cause in (("view_ms", "view"), ("preprocess_ms", "preprocess"), ("tool_ms", "tool")):
        if name in unknown:
            assert found[cause] is None


def test_where_no_clock_tells_when_replies_begin_written_tokens_are_a_count():
    unknown = dict.fromkeys(("first_byte_ms", "preprocess_ms", "image_tokens"))
    agent, direct = ([replace(a, **unknown) for a in answers(300, zooms, zooms)] for zooms in (3, 0))
    found = split(agent, direct)
    assert found["generated_tokens"] == pytest.approx(
        WRITTEN_MS * np.mean([a.completion_tokens for a in agent]), rel=0.1
    )
    assert found["preprocess"] is None
    words = in_words(clocks_of([*agent, *direct]))
    assert "pixels sent" in words
    assert "preparation inside the model among it" in words
    assert "and generated tokens" in words


def test_one_call_of_one_size_cannot_be_split():
    alike = [replace(a, image_tokens=64) for a in answers(50, 0)]
    found = split(alike)
    assert found["calls"] is found["image_tokens"] is None
    assert found["unsplit"] > CALL_MS
    assert not separable(np.array([[1.0, 64.0]] * 20))
    assert not separable(np.array([[1.0, 0.0], [2.0, 0.0]] * 10))
    assert separable(np.array([[1.0, 64.0], [2.0, 144.0]] * 5))
    assert not separable(np.array([[1.0, 64.0], [2.0, 144.0]] * 4))  # few


@given(st.integers(1, 3), st.integers(4, 12), st.integers(0, 10**6))
def test_least_squares_without_negative_costs_is_scipys(k, n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, k)), rng.normal(size=n)
    found = least_squares((x.T @ x)[None], (x.T @ y)[None])[0]
    expected, _ = nnls(x, y)
    assert (found >= 0).all()
    assert np.linalg.norm(x @ found - y) == pytest.approx(np.linalg.norm(x @ expected - y), abs=1e-8)


def test_costs_of_each_draw_are_those_of_its_answers():
    made = answers(12, 3)
    clocks = clocks_of(made)
    weights = bootstrap_weights(12, 5, 0).dense()
    found = costs([measure(made, clocks, np.arange(12))], weights)
    for draw, counts in enumerate(weights.astype(int)):
        again = [answer for answer, times in zip(made, counts, strict=True) for _ in range(times)]
        alone = costs([measure(again, clocks, np.arange(len(again)))], np.ones((1, len(again)), np.float32))
        assert found[draw] == pytest.approx(alone[0], rel=1e-6)
