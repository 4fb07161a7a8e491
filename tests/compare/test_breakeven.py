from __future__ import annotations

import numpy as np
import pytest

from zoomgap.compare.breakeven import Spent, break_even
from zoomgap.compare.stats import bootstrap_weights

TRAINING = (Spent("training", 100.0, ""),)


def after(student, agent, spent=TRAINING, n=200):
    rng = np.random.default_rng(0)
    costs = (np.full(n, student), np.maximum(rng.normal(agent, 0.5, n), 0))
    return break_even("seconds", "s", "a", *costs, np.arange(n), bootstrap_weights(n, 300, 0), spent)


def test_what_was_spent_comes_back_after_so_many_questions():
    found = after(1.0, 3.0, (Spent("teacher", 60.0, ""), Spent("training", 40.0, "")))
    assert found.total == 100
    assert found.queries == pytest.approx(50, rel=0.05)
    assert found.queries_low < found.queries < found.queries_high
    assert found.queries == pytest.approx(found.total / found.saved.value)
    assert found.reason == ""


def test_what_saves_nothing_never_comes_back_and_what_may_not_says_so():
    never = after(3.0, 1.0)
    assert (never.queries, never.queries_low, never.queries_high) == (None, None, None)
    assert "nothing comes back" in never.reason
    perhaps = after(2.0, 2.02)
    assert perhaps.queries_high is None
    assert "may never come back" in perhaps.reason or "nothing comes back" in perhaps.reason


def test_what_cost_nothing_is_earned_back_at_once():
    assert after(1.0, 3.0, ()).queries == 0
