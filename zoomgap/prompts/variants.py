"""The same question asked in other ways: options in another order, and the sentence on the answer's form reworded.

What changes between such runs though nothing was learned or seen anew is the noise that any difference stands in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from zoomgap.records import AnswerKind, Sample


def vary(sample: Sample, variant: int) -> Sample:
    """The sample as variant k asks it: its options in another order, the gold letter with them. Variant 0 is as it is.

    The order is drawn from the sample's id and k, and is never that of the set where there is another.
    """
    places = list(range(len(sample.choices)))
    if variant == 0 or len(places) < 2:
        return sample
    own = random.Random(f"{sample.id}\0{variant}")
    order = places[:]
    while order == places:
        own.shuffle(order)
    gold = sample.answer
    if gold:
        gold = chr(ord("A") + order.index(ord(gold) - ord("A")))
    return replace(sample, choices=tuple(sample.choices[place] for place in order), answer=gold)


@cache
def phrasings(answer_kind: AnswerKind) -> Sequence[str]:
    """Other wordings of the sentence on the answer's form, in an order that never changes: runs name them by place."""
    path = Path(__file__).parent / "phrasings" / f"{answer_kind}.txt"
    return path.read_text(encoding="utf-8").splitlines()


def phrasing(answer_kind: AnswerKind, variant: int) -> str:
    """The wording of variant k, from 1; after the last one the first comes again."""
    known = phrasings(answer_kind)
    return known[(variant - 1) % len(known)]
