"""What answers cost: list prices of the genai-prices package, or a price given by the user.

A model in process has no price; one behind an endpoint has one where the endpoint's provider is known, or where it is
given. An unknown price is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from zoomgap.errors import UsageError
from zoomgap.records import Trajectory

Cost = Callable[[int, int], float]
"""Prompt tokens and completion tokens of one request -> US dollars."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    prompt: float
    completion: float

    def __call__(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


def read_price(text: str) -> Price:
    """`0.15/0.6`: dollars for a million prompt tokens and for a million completion tokens.

    Raises UsageError for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)", text.strip())
    if found is None:
        raise UsageError(
            f"'{text}' is no price: give dollars for a million prompt and completion tokens, as in 0.15/0.6"
        )
    return Price(float(found[1]), float(found[2]))


def list_price(model: str, endpoint: str | None) -> Cost | None:
    """The list price of a model at its provider; None where either is unknown, and for a model in process."""
    if endpoint is None:
        return None
    from genai_prices import Usage, calc_price

    def cost(prompt_tokens: int, completion_tokens: int) -> float:
        usage = Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens)
        return float(calc_price(usage, model, provider_api_url=endpoint).total_price)

    try:
        cost(1, 1)
    except (LookupError, ValueError):
        return None
    return cost


def cost_of(trajectory: Trajectory, price: Cost | None, other: Cost | None = None) -> float | None:
    """US dollars of all its requests; None without a price, and where a request's tokens are not known.

    other: price of the steps that name another model than the run's.
    """
    if price is None:
        return None
    asked = [step for step in trajectory.steps if step.call == 0 and step.error is None]
    total = 0.0
    for step in asked:
        prompt, completion = step.usage.prompt_tokens, step.usage.completion_tokens
        own = price if step.model is None else other
        if own is None or prompt is None or completion is None:
            return None
        total += own(prompt, completion)
    return total
