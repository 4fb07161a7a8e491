"""What a run would take, before a request is sent: calls, tokens and cost, as a range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from zoomgap import imaging, prompts
from zoomgap.agents import CROPS, MAX_BAD_CALLS, NEED_EVIDENCE, region_of, tiles
from zoomgap.geometry import Box
from zoomgap.models.prices import Cost
from zoomgap.records import RunSpec, Sample

CHARACTERS = 4
"""Characters of English text in a token, roughly."""
OVERHEAD_TOKENS = 20
"""Marks of turns and roles in one conversation, roughly."""
CALL_TOKENS = 60
"""A tool call with its answer, roughly."""
SCHEMA_TOKENS = 250
"""Tools and what a model is told about them, roughly."""
FORCED_CALLS = MAX_BAD_CALLS + 2
"""Besides its zooms and its answer, an agent's calls that are refused: bad ones, one of a box that it has seen, and the
last one, which forces the answer."""


class Range(NamedTuple):
    """From at least to at most."""

    low: float
    high: float

    def __add__(self, other: object) -> Range:
        assert isinstance(other, Range)
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """samples: answers to be given. cost: US dollars, None where the price is not known."""

    samples: int
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    cost: Range | None

    def times(self, calls: int) -> Estimate:
        """So many of each call, as a router of agreement asks for."""
        parts = (self.calls, self.prompt_tokens, self.completion_tokens, self.cost)
        each = [None if part is None else Range(part.low * calls, part.high * calls) for part in parts]
        return Estimate(self.samples, *each)  # type: ignore[arg-type]

    def then(self, zooms: Estimate) -> Estimate:
        """This, and for none to all of the samples what `zooms` takes."""

        def perhaps(own: Range | None, other: Range | None) -> Range | None:
            return None if own is None or other is None else own + Range(0, other.high)

        pairs = (
            (self.calls, zooms.calls), (self.prompt_tokens, zooms.prompt_tokens),
            (self.completion_tokens, zooms.completion_tokens), (self.cost, zooms.cost),
        )  # fmt: skip
        return Estimate(self.samples, *(perhaps(*pair) for pair in pairs))  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def estimate(spec: RunSpec, samples: Iterable[Sample], price: Cost | None, budgets: Mapping[str, int]) -> Estimate:
    """One answer to each of `samples`. budgets: as for `direct-matched`.

    An agent answers at once or zooms as often as it may; a reply has one token or as many as it may. Image tokens are
    counted as pixels over the square of the family's factor.
    """
    calls = prompt = completion = Range(0, 0)
    cost = None if price is None else Range(0, 0)
    number = 0
    for sample in samples:
        number += 1
        first = first_prompt(spec, sample, budgets)
        most = 1 + spec.max_zooms + FORCED_CALLS if spec.arm in CROPS else 1
        growth = spec.crop_pixels // spec.factor**2 + CALL_TOKENS
        lengths = [first + growth * min(turn, spec.max_zooms) for turn in range(most)]
        calls += Range(1, most)
        prompt += Range(first, sum(lengths))
        completion += Range(1, most * spec.sampling.max_tokens)
        if price is not None and cost is not None:
            dearest = sum(price(length, spec.sampling.max_tokens) for length in lengths)
            cost += Range(price(first, 1), dearest)
    return Estimate(samples=number, calls=calls, prompt_tokens=prompt, completion_tokens=completion, cost=cost)


def first_prompt(spec: RunSpec, sample: Sample, budgets: Mapping[str, int]) -> int:
    """Tokens of a sample's first request, roughly."""
    text = prompts.question(
        sample.question, choices=sample.choices, answer_kind=sample.answer_kind, suffix=spec.suffix,
        variant=spec.variant,
    )  # fmt: skip
    pixels = imaging.view_size(sample.size, budgets.get(sample.id, spec.view_pixels), spec.factor).pixels
    pixels *= 1 + len(sample.more_images)
    if spec.arm in NEED_EVIDENCE:
        placed = not sample.crop or sample.crop_box
        region = _crop(region_of(sample), spec) if placed else spec.crop_pixels
        pixels = region + (pixels if spec.arm == "oracle" else 0)
    if spec.arm == "tiles":
        pixels += sum(_crop(box, spec) for box in tiles(sample.size))
    schema = SCHEMA_TOKENS if spec.suffix and (spec.arm in CROPS or spec.arm == "direct-schema") else 0
    return pixels // spec.factor**2 + len(text) // CHARACTERS + OVERHEAD_TOKENS + schema


def _crop(box: Box, spec: RunSpec) -> int:
    """Pixels that a part is shown at."""
    return imaging.cut_size(box, spec.crop_pixels, spec.factor, spec.min_crop_pixels).pixels
