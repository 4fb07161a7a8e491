from __future__ import annotations

from dataclasses import replace

import pytest

from zoomgap.errors import UsageError
from zoomgap.models.prices import Price, cost_of, list_price, read_price
from zoomgap.records import Request, Step, Trajectory, Usage

ASKED = Step(index=0, request=Request(messages=()), usage=Usage(prompt_tokens=1000, completion_tokens=100))


def trajectory(*steps: Step) -> Trajectory:
    return Trajectory(
        run="r", sample="s", attempt=0, invocation="i", stop_reason="answered", text="", steps=steps, wall_ms=1.0
    )


def test_a_price_is_given_for_a_million_tokens():
    price = read_price(" 0.15/0.6 ")
    assert price == Price(0.15, 0.6)
    assert price(1_000_000, 500_000) == pytest.approx(0.45)


@pytest.mark.parametrize("text", ["", "1", "1/", "-1/2", "a/b", "1/2/3", "nan/1"])
def test_what_is_no_price(text):
    with pytest.raises(UsageError, match="is no price"):
        read_price(text)


def test_list_prices_are_those_of_known_providers_only():
    openai = list_price("gpt-4o-mini", "https://api.openai.com/v1")
    assert openai is not None
    assert openai(1_000_000, 0) > 0
    assert openai(0, 1_000_000) > openai(1_000_000, 0)
    assert list_price("gpt-4o-mini", "http://localhost:8000/v1") is None
    assert list_price("no-such-model", "https://api.openai.com/v1") is None
    assert list_price("micro", None) is None


def test_a_trajectory_costs_what_its_requests_cost():
    price = Price(2, 10)
    further = replace(ASKED, index=1, call=1, usage=Usage())
    failed = replace(ASKED, index=2, usage=Usage(), error="it is down")
    assert cost_of(trajectory(ASKED, further, failed), price) == pytest.approx(0.003)
    assert cost_of(trajectory(ASKED), None) is None
    assert cost_of(trajectory(ASKED, replace(ASKED, usage=Usage(prompt_tokens=3))), price) is None
