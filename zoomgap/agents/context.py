"""What every arm works with: the model, the images and the settings of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from zoomgap import imaging
from zoomgap.agents.confidence import ALTERNATIVES, confidence_of
from zoomgap.agents.dialects import storable
from zoomgap.errors import ModelError, RefusedError, TooLongError
from zoomgap.geometry import Box, Size
from zoomgap.models.base import VisionModel
from zoomgap.models.prices import Cost
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
from zoomgap.routers import Router


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
    variant: int = 0
    tools: tuple[str, ...] = ("zoom_in",)
    padding: float = 0.0
    renders_tools: bool = True
    dialect: Dialect = "hermes"
    sampling: Sampling = field(default_factory=Sampling)
    max_images: int | None = None
    rule: Rule = field(default_factory=Rule)
    logprobs: int | None = None

    @classmethod
    def of(cls, spec: RunSpec, logprobs: bool | None = None) -> Settings:
        """logprobs: whether to ask for log-probabilities; None asks in-process models only, as over a wire many servers
        refuse them."""
        shared = {part.name: getattr(spec, part.name) for part in fields(cls) if part.name not in ("rule", "logprobs")}
        rule = Rule(**{part.name: getattr(spec, part.name) for part in fields(Rule)})
        wanted = spec.weights is not None if logprobs is None else logprobs
        return cls(**shared, rule=rule, logprobs=ALTERNATIVES if wanted else None)


class Zoomer(NamedTuple):
    """What the arm `router` decides by, and the agent that it asks when it is unsure: its spec as a run of its own, its
    model, and the price of that model if it has one."""

    router: Router
    spec: RunSpec
    model: VisionModel
    price: Cost | None = None


class Routing(NamedTuple):
    """The same while a run goes on. agent: with what the agent works."""

    router: Router
    agent: Context


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
    routing: of the arm `router`.
    """

    model: VisionModel
    renditions: Renditions
    settings: Settings
    budgets: Mapping[str, int] = field(default_factory=dict)
    on_step: Callable[[Step], None] | None = None
    routing: Routing | None = None

    @classmethod
    def of(
        cls,
        spec: RunSpec,
        model: VisionModel,
        renditions: Renditions,
        *,
        zoomer: Zoomer | None = None,
        logprobs: bool | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Context:
        """What a run of that spec works with. logprobs: as for Settings.of; a router has those that it needs."""
        if zoomer is None:
            return cls(model, renditions, Settings.of(spec, logprobs), on_step=on_step)
        agent = cls(zoomer.model, renditions, Settings.of(zoomer.spec, logprobs))
        wanted = True if zoomer.router.needs_probabilities else logprobs
        return cls(model, renditions, Settings.of(spec, wanted), on_step=on_step, routing=Routing(zoomer.router, agent))

    def done(self, step: Step) -> Step:
        """Tell the listener, if there is one."""
        if self.on_step:
            self.on_step(step)
        return step

    def forget(self) -> None:
        """Let images be forgotten, so that the next time is that of an image seen for the first time."""
        self.renditions.decoded.forget()
        self.renditions.spans.clear()
        for model in (self.model, *([self.routing.agent.model] if self.routing else [])):
            if forget := getattr(model, "forget", None):
                forget()

    def for_attempt(self, attempt: int) -> Context:
        """The same with the attempt's own seed, or seeds where a router asks for several direct answers."""
        routing, seeds = self.routing, 1
        if routing is not None:
            seeds = routing.router.calls
            routing = routing._replace(agent=routing.agent.for_attempt(attempt))
        sampling = replace(self.settings.sampling, seed=self.settings.sampling.seed + attempt * seeds)
        return replace(self, settings=replace(self.settings, sampling=sampling), routing=routing)

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
        request would fare better. So is one for a reply in words without the log-probabilities that were asked for."""
        try:
            reply = await self.model.reply(request)
        except RefusedError:
            raise
        except ModelError as error:
            return Asked(Step(index=index, request=request, error=str(error)), None, isinstance(error, TooLongError))
        if request.logprobs is not None and reply.token_logprobs is None and reply.text and not reply.tool_calls:
            raise RefusedError(
                f"{self.model.name} answers without log-probabilities, which were asked for: "
                "use a server that gives them, or do without (--no-logprobs; a router of agreement)"
            )
        sure = confidence_of(reply)
        reply = replace(reply, text=storable(reply.text), reasoning=storable(reply.reasoning))
        step = Step(
            index=index,
            request=request,
            text=reply.text,
            reasoning=reply.reasoning,
            usage=reply.usage,
            clocks=reply.clocks,
            confidence=sure.mean,
            min_probability=sure.least,
            finish_reason=reply.finish_reason,
        )
        return Asked(step, reply)


def _part(info: ImageInfo) -> Image:
    return Image(info.sha256, info.width, info.height)
