"""What every arm works with: the model, the images and the settings of a run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from zoomgap import imaging
from zoomgap.agents.dialects import storable
from zoomgap.errors import ModelError, RefusedError, TooLongError
from zoomgap.geometry import Box, Size
from zoomgap.models.base import VisionModel
from zoomgap.models.resize import Rule
from zoomgap.records import (
    Convention,
    Dialect,
    Image,
    ImageInfo,
    ImageReturn,
    Rendition,
    Reply,
    Request,
    RunSpec,
    Sample,
    Sampling,
    Step,
)
from zoomgap.renditions import Renditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The part of a RunSpec that arms read; fields as there.

    rule: what absolute boxes are counted by. logprobs: asked of the model, None for none.
    """

    view_pixels: int = 65_536
    min_crop_pixels: int = 16_384
    crop_pixels: int = 16_384
    factor: int = 32
    max_zooms: int = 3
    image_return: ImageReturn = "user"
    convention: Convention = "relative_1000"
    suffix: bool = True
    tools: tuple[str, ...] = ("zoom_in",)
    padding: float = 0.0
    renders_tools: bool = True
    dialect: Dialect = "hermes"
    sampling: Sampling = field(default_factory=Sampling)
    max_images: int | None = None
    rule: Rule = field(default_factory=Rule)
    logprobs: int | None = None

    @classmethod
    def of(cls, spec: RunSpec) -> Settings:
        """Log-probabilities are asked of in-process models only: over a wire many servers refuse them."""
        shared = {part.name: getattr(spec, part.name) for part in fields(cls) if part.name not in ("rule", "logprobs")}
        rule = Rule(**{part.name: getattr(spec, part.name) for part in fields(Rule)})
        return cls(**shared, rule=rule, logprobs=0 if spec.weights is not None else None)


class Asked(NamedTuple):
    """A step whose request was sent, and the reply; None when there was none (the step holds the error).

    too_long: the model takes no conversation of that length.
    """

    step: Step
    reply: Reply | None
    too_long: bool = False


@dataclass(slots=True)
class Context:
    """One run's model, images and settings, shared by all its trajectories.

    budgets: pixels of the full image by sample, for `direct-matched`. on_step: called as each step ends.
    """

    model: VisionModel
    renditions: Renditions
    settings: Settings
    budgets: Mapping[str, int] = field(default_factory=dict)
    on_step: Callable[[Step], None] | None = None

    def done(self, step: Step) -> Step:
        """Tell the listener, if there is one."""
        if self.on_step:
            self.on_step(step)
        return step

    def forget(self) -> None:
        """Let images be forgotten, so that the next time is that of an image seen for the first time."""
        self.renditions.decoded.forget()
        if forget := getattr(self.model, "forget", None):
            forget()

    def for_attempt(self, attempt: int) -> Context:
        """The same with the attempt's own seed."""
        sampling = replace(self.settings.sampling, seed=self.settings.sampling.seed + attempt)
        return replace(self, settings=replace(self.settings, sampling=sampling))

    async def show(self, rendition: Rendition) -> Image:
        """A rendition as a part of a message, drawn in a thread if need be."""
        return _part(await asyncio.to_thread(self.renditions.show, rendition))

    async def show_view(self, sample: Sample, budget: int | None = None) -> Image:
        """The whole original within the view budget, or within another."""
        whole = Box(0, 0, sample.width, sample.height)
        return await self.show(Rendition(sample.image, whole, self.view_size(sample, budget)))

    async def show_grey(self, sample: Sample) -> Image:
        """Uniform grey of the size that the view has."""
        size = self.view_size(sample)
        return _part(await asyncio.to_thread(lambda: self.renditions.add(imaging.grey(size))))

    def view_size(self, sample: Sample, budget: int | None = None) -> Size:
        return imaging.view_size(sample.size, budget or self.settings.view_pixels, self.settings.factor)

    async def ask(self, request: Request, index: int) -> Asked:
        """Send a request as step `index`. A ModelError becomes the step's error; RefusedError is raised: no other
        request would fare better."""
        try:
            reply = await self.model.reply(request)
        except RefusedError:
            raise
        except ModelError as error:
            return Asked(Step(index=index, request=request, error=str(error)), None, isinstance(error, TooLongError))
        reply = replace(reply, text=storable(reply.text), reasoning=storable(reply.reasoning))
        step = Step(
            index=index,
            request=request,
            text=reply.text,
            reasoning=reply.reasoning,
            usage=reply.usage,
            clocks=reply.clocks,
            confidence=_confidence(reply),
            finish_reason=reply.finish_reason,
        )
        return Asked(step, reply)


def _part(info: ImageInfo) -> Image:
    return Image(info.sha256, info.width, info.height)


def _confidence(reply: Reply) -> float | None:
    """Geometric mean of the tokens' probabilities, 0 to 1; None where they are not known."""
    logprobs = reply.token_logprobs
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else None
