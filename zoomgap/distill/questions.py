"""Questions about regions, without a teacher: the sample's own, or a form that speaks of the crop alone.

The paper (arXiv 2602.11858) has a model write three questions on each crop and another check them. The procedural
benchmark brings its own phrasings; for other sets the sample's question is asked.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zoomgap.benchmarks.micro import LOCAL, is_micro
from zoomgap.geometry import Box
from zoomgap.records import Question, Region, Sample, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionConfig:
    """local: each region of the procedural benchmark is asked about twice, by name and in a form that speaks of the
    crop alone.

    named_overlay_share: share of the questions by name that show the region's box all the same.
    """

    local: bool = True
    named_overlay_share: float = 0.0


def ask(
    regions: Iterable[Region], samples: Mapping[str, Sample], config: QuestionConfig | None = None
) -> list[Question]:
    """The questions about each region, the same at every call. `samples` by id. Reads neither answers nor evidence."""
    config = config or QuestionConfig()
    questions = []
    for region in regions:
        sample = samples[region.sample]
        questions.append(_question(region, sample, sample.question, local=False))
        if config.local and is_micro(sample.id):
            text = random.Random(f"question {region.id}").choice(LOCAL[sample.dimension])
            questions.append(_question(region, sample, text, local=True))
    return questions


def _question(region: Region, sample: Sample, text: str, local: bool) -> Question:
    return Question(
        id=digest([region.id, text, sample.choices])[:16],
        region=region.id,
        text=text,
        choices=sample.choices,
        answer_kind=sample.answer_kind,
        dimension=sample.dimension,
        local=local,
    )


def overlay_of(question: Question, region: Region, config: QuestionConfig | None = None) -> Box | None:
    """The box that is drawn on the full image when the question is asked there: always for a local question."""
    share = (config or QuestionConfig()).named_overlay_share
    shown = question.local or random.Random(f"overlay {question.id}").random() < share
    return region.box if shown else None
