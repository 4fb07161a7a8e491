"""Answers in one call, and the router: it asks for one, and zooms when it is unsure of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from zoomgap import prompts
from zoomgap.agents import dialects, tools
from zoomgap.agents.confidence import margin_of
from zoomgap.agents.context import Context, Settings
from zoomgap.agents.graph import Outcome, look_and_answer
from zoomgap.errors import RefusedError, UsageError
from zoomgap.grading import extract
from zoomgap.records import Image, Message, Request, Sample, Step, Text
from zoomgap.routers import PROBABILITIES, Router, Signals, agreement_of


def one_call(pictures: Sequence[Image], question: str, settings: Settings) -> Request:
    """A question about pictures, without tools."""
    asked = Message(role="user", content=(*pictures, Text(question)))
    return Request(messages=(asked,), sampling=settings.sampling, logprobs=settings.logprobs)


async def answer_at_once(request: Request, sample: Sample, context: Context, index: int = 0) -> Outcome:
    """The reply to one request is the answer. index: of its step."""
    step, reply, too_long = await context.ask(request, index)
    if reply is None:
        return Outcome("context" if too_long else "endpoint_error", "", (context.done(step),), step.error)
    step = context.done(replace(step, margin=margin_of(reply, sample)))
    # Markup of a call that was forbidden is no answer.
    text = dialects.parse(reply, tools.NAMES).text if request.tool_choice == "none" else reply.text
    return Outcome("context" if reply.finish_reason == "length" else "answered", text, (step,))


async def answer_or_zoom(sample: Sample, context: Context) -> Outcome:
    """The first direct answer if the router is sure of it, else the agent's; the steps are those of both.

    A direct answer that ends in an error ends it. Raises RefusedError where the model's replies lack what the router
    reads.
    """
    if context.routing is None:
        raise UsageError("arm 'router' has nothing to decide by: give it a router")
    router, agent = context.routing
    glances = await asyncio.gather(*(_glance(sample, context, k) for k in range(router.calls)))
    steps = tuple(step for outcome in glances for step in outcome.steps)
    if failed := next((outcome for outcome in glances if outcome.error is not None), None):
        return failed._replace(steps=steps)
    if not router.zooms(_signals(sample, glances, router, context)):
        return glances[0]._replace(steps=steps)

    def later(step: Step) -> Step:
        name = agent.model.name
        return replace(step, index=step.index + len(steps), model=None if name == context.model.name else name)

    def listen(step: Step) -> None:
        context.done(later(step))

    question = _question(sample, agent.settings)
    outcome = await look_and_answer(sample, question, replace(agent, on_step=listen))
    return outcome._replace(steps=(*steps, *map(later, outcome.steps)))


async def _glance(sample: Sample, context: Context, index: int) -> Outcome:
    """One direct answer of those that the router asks for, with a seed of its own."""
    sampling = context.settings.sampling
    view = await context.show_view(sample)
    request = one_call([view], _question(sample, context.settings), context.settings)
    request = replace(request, sampling=replace(sampling, seed=sampling.seed + index))
    return await answer_at_once(request, sample, context, index)


def _signals(sample: Sample, glances: Sequence[Outcome], router: Router, context: Context) -> Signals:
    read = [extract(outcome.text, sample.answer_kind, sample.choices) for outcome in glances]
    said = [found.answer if found else None for found in read]
    step = glances[0].steps[0]
    lacking = [name for name in router.features if name in PROBABILITIES and getattr(step, name) is None]
    if lacking and step.text:
        raise RefusedError(
            f"the router reads the {lacking[0]} of direct answers, and replies of {context.model.name} have none: "
            "use a server that gives the likeliest tokens, or fit a router without it (--features)"
        )
    return Signals(
        sample=sample, text=glances[0].text, answer=said[0], confidence=step.confidence,
        min_probability=step.min_probability, margin=step.margin, agreement=agreement_of(said),
    )  # fmt: skip


def _question(sample: Sample, settings: Settings) -> str:
    return prompts.question(
        sample.question, choices=sample.choices, answer_kind=sample.answer_kind, suffix=settings.suffix
    )
