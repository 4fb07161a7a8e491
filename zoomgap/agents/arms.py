"""The arms: ways to answer one question, all with the same text, decoding and seed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from zoomgap import imaging, prompts
from zoomgap.agents.context import Context
from zoomgap.agents.graph import Outcome, look_and_answer
from zoomgap.errors import UsageError
from zoomgap.records import ARMS, Arm, Image, Message, Request, Sample, Text, Trajectory

NEED_EVIDENCE: tuple[Arm, ...] = ("region", "region-lowres")


def check_arm(arm: str, samples: Iterable[Sample]) -> None:
    """Raises UsageError for an unknown arm, and for one that reads evidence boxes where a sample has none."""
    if arm not in ARMS:
        raise UsageError(f"arm '{arm}' is not known: use one of {', '.join(ARMS)}")
    bare = [sample.id for sample in samples if not sample.evidence] if arm in NEED_EVIDENCE else []
    if bare:
        raise UsageError(
            f"arm '{arm}' cuts out evidence boxes and sample '{bare[0]}' ({len(bare)} in all) has none: "
            "use another arm or a benchmark with boxes"
        )


async def answer(arm: Arm, sample: Sample, context: Context, *, run: str, attempt: int, invocation: str) -> Trajectory:
    """One arm's answer to a sample; attempt k decodes with seed + k.

    A ModelError ends the trajectory with stop reason endpoint_error. Raises UsageError when the arm does not fit the
    sample, ImageError or StoreError when its image cannot be had.
    """
    started = time.perf_counter()
    check_arm(arm, [sample])
    context = context.for_attempt(attempt)
    question = prompts.question(
        sample.question, choices=sample.choices, answer_kind=sample.answer_kind, suffix=context.settings.suffix
    )
    if arm in ("agent", "agent-lowres"):
        outcome = await look_and_answer(sample, question, context, lowres=arm == "agent-lowres")
    else:
        outcome = await _answer_at_once(await _picture(arm, sample, context), question, context)
    return Trajectory(
        run=run,
        sample=sample.id,
        attempt=attempt,
        invocation=invocation,
        stop_reason=outcome.stop_reason,
        text=outcome.text,
        steps=outcome.steps,
        wall_ms=(time.perf_counter() - started) * 1000,
        error=outcome.error,
    )


async def _answer_at_once(picture: Image, question: str, context: Context) -> Outcome:
    """One request: the picture, then the question."""
    request = Request(
        messages=(Message(role="user", content=(picture, Text(question))),),
        sampling=context.settings.sampling,
        logprobs=context.settings.logprobs,
    )
    step, reply = await context.ask(request, 0)
    context.done(step)
    if reply is None:
        return Outcome("endpoint_error", "", (step,), step.error)
    return Outcome("context" if reply.finish_reason == "length" else "answered", reply.text, (step,))


async def _picture(arm: Arm, sample: Sample, context: Context) -> Image:
    """What an arm of one request shows, stored."""
    settings, size = context.settings, sample.size
    if arm == "direct":
        return await context.show_view(sample.image)
    if arm == "no-image":
        return await context.show(lambda: imaging.grey(imaging.fit_size(size, settings.view_pixels, settings.factor)))
    box = imaging.region_box(sample.evidence, size)
    if arm == "region":
        return await context.show(
            lambda: imaging.cut(context.open(sample.image), box, settings.crop_pixels, settings.factor)
        )
    view = await context.show_view(sample.image)
    return await context.show(
        lambda: imaging.cut_lowres(context.open(view.sha256), size, box, settings.crop_pixels, settings.factor)
    )
