"""Benchmarks and arms: what is asked, and of whom."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from zoomgap import imaging, prompts
from zoomgap.agents import (
    NEED_EVIDENCE,
    TOOLS,
    Context,
    Limits,
    Progress,
    RunSummary,
    Zoomer,
    answer,
    check_arm,
    images_of,
    new_invocation,
    run_arm,
)
from zoomgap.config import Settled, settled
from zoomgap.errors import UsageError
from zoomgap.models.base import VisionModel
from zoomgap.models.catalog import TIMEOUT_S, open_model
from zoomgap.models.families import Family
from zoomgap.models.prices import Price, list_price
from zoomgap.models.resize import Rule
from zoomgap.pipeline.estimate import Estimate, estimate
from zoomgap.pipeline.reports import chance, run_data
from zoomgap.records import (
    ARMS,
    AnswerKind,
    Image,
    RunSpec,
    Sample,
    Sampling,
    Step,
    Trajectory,
    Verdict,
    WireName,
    canonical_json,
    digest,
)
from zoomgap.renditions import Renditions
from zoomgap.routers import read_router
from zoomgap.storage import BenchmarkInfo, Store

Count = Callable[[int, int], None]
"""Progress: how many are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model answers: `micro`, `hf:PATH`, or the name of one behind an endpoint.

    overrides: fields of its family that are otherwise than the catalog and the user's file say, and `family`; None is
    not given. wire: to the endpoint; None is what its family's way of returning images asks for. stream: whether its
    replies come in pieces. timeout_s: seconds of one try.
    """

    model: str = "micro"
    endpoint: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    wire: WireName | None = None
    stream: bool = False
    timeout_s: float = TIMEOUT_S

    def settled(self) -> Settled:
        """The model's family with all overrides, and warnings. Raises UsageError as config.settled does."""
        return settled(self.model, self.overrides)

    def way(self) -> WireName:
        """The wire to its endpoint. Raises UsageError where crops are to go back as the other wire has it."""
        if self.endpoint is None:
            return "chat"  # a model in process has no wire
        returned = self.settled().family.image_return == "responses"
        if returned and self.wire == "chat":
            raise UsageError("wire chat carries no crops of image return responses: drop --wire, or use another return")
        return self.wire or ("responses" if returned else "chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How an arm is run; None takes the model family's own value.

    pixels: budget of the full image: a number, `2x` for so many times the family's own, or `native`. tools, padding:
    of an agent, as in RunSpec. match: run (its first characters suffice) that `direct-matched` spends as much as.
    max_tokens: of a reply. variant: as in RunSpec. limit: only the first so many samples. price: instead of the list
    price. limits: where to stop before the end. router: file that the arm `router` decides by; agent: the model that it
    zooms with, None for the one that glances; agent_price: of that. logprobs: whether to ask for token
    log-probabilities; None asks models in process only.
    """

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    pixels: str | int | None = None
    min_crop_pixels: int | None = None
    crop_pixels: int | None = None
    max_zooms: int = 3
    tools: tuple[str, ...] = ("zoom_in",)
    padding: float = 0.0
    match: str | None = None
    attempts: int = 1
    variant: int = 0
    concurrency: int = 32
    limit: int | None = None
    price: Price | None = None
    limits: Limits = field(default_factory=Limits)
    router: Path | None = None
    agent: ModelChoice | None = None
    agent_price: Price | None = None
    logprobs: bool | None = None


NATIVE_PIXELS = 2**30
"""The budget `native`: more than an image may have, so that none is reduced."""


class Opened(NamedTuple):
    """What a command works with: the model, the run's identity, and what a router zooms with."""

    model: VisionModel
    spec: RunSpec
    zoomer: Zoomer | None


@asynccontextmanager
async def opened(
    store: Store, info: BenchmarkInfo, arm: str, choice: ModelChoice, options: RunOptions, pictures: int = 1
) -> AsyncIterator[Opened]:
    """The models of a run, closed at the end; its templates, and what its spec names by hash, are stored.

    pictures: the most that one question of the benchmark is about. Raises UsageError as spec_of and open_model do, and
    for a router that does not fit.
    """
    _check_router_options(arm, options)
    router = None if options.router is None else read_router(options.router)
    async with AsyncExitStack() as stack:

        def model_of(one: ModelChoice) -> VisionModel:
            model = open_model(
                one.model,
                one.endpoint,
                store.objects.read,
                batch_size=options.concurrency,
                concurrency=options.concurrency,
                wire=one.way(),
                stream=one.stream,
                timeout_s=one.timeout_s,
            )
            stack.push_async_callback(model.aclose)
            return model

        model = model_of(choice)
        spec = spec_of(info, arm, choice, model, options, pictures)
        store.add_prompt(canonical_json(dict(prompts.texts(options.variant))))
        if router is None:
            yield Opened(model, spec, None)
            return
        router.check_glance(spec)
        agent_choice = options.agent or choice
        agent = model if agent_choice == choice else model_of(agent_choice)
        budget = options if agent is model else replace(options, pixels=None)
        agent_spec = spec_of(info, "agent", agent_choice, agent, replace(budget, attempts=1), pictures)
        own_price = options.price if agent is model else None
        price = options.agent_price or own_price or list_price(agent_choice.model, agent_choice.endpoint)
        spec = replace(
            spec,
            router=store.add_prompt(canonical_json(router.to_json())),
            agent=store.add_prompt(canonical_json(asdict(agent_spec))),
            agent_model=agent_spec.model,
        )
        yield Opened(model, spec, Zoomer(router, agent_spec, agent, price))


def _check_router_options(arm: str, options: RunOptions) -> None:
    if (options.router is None) == (arm == "router"):
        need = "needs what it decides by" if arm == "router" else "decides nothing"
        raise UsageError(
            f"arm '{arm}' {need}: give --router FILE (of `zoomgap route fit`) with --arm router, only there"
        )
    if options.agent is not None and arm != "router":
        raise UsageError(f"arm '{arm}' has one model: give --agent-model and its endpoint with --arm router only")


def spec_of(
    info: BenchmarkInfo, arm: str, choice: ModelChoice, model: VisionModel, options: RunOptions, pictures: int = 1
) -> RunSpec:
    """The identity of a run; of the arm `router` the part of its direct answers.

    pictures: the most that one question of the benchmark is about. Raises UsageError for an unknown arm, and for one
    that the model or the options forbid.
    """
    if arm not in ARMS:
        raise UsageError(f"arm '{arm}' is not known: use one of {', '.join(ARMS)}")
    if not math.isfinite(options.sampling.temperature) or options.sampling.temperature < 0:
        raise UsageError(f"temperature {options.sampling.temperature} is no temperature: give 0 (greedy) or more")
    _check_agent_options(arm, options)
    family = choice.settled().family
    # What is told to or done with a model that zooms is nothing to one that does not.
    zooms = arm.startswith("agent") or arm == "direct-schema"
    max_zooms = options.max_zooms if zooms else 0
    # What the processor makes of an image is nothing to a model whose boxes are parts of it.
    rule = family if family.convention == "absolute" else Rule(factor=family.factor)
    crops = replace(
        family,
        min_crop_pixels=options.min_crop_pixels or family.min_crop_pixels,
        crop_pixels=options.crop_pixels or family.crop_pixels,
    ).crops
    return RunSpec(
        benchmark=info.name,
        benchmark_sha256=info.sha256,
        arm=arm,  # type: ignore[arg-type]
        model=choice.model,
        weights=getattr(model, "weights", None),
        dtype=getattr(model, "dtype", None),
        endpoint=choice.endpoint and choice.endpoint.rstrip("/"),
        prompts=prompts.fingerprint(options.variant),
        sampling=replace(options.sampling, max_tokens=options.max_tokens or family.max_tokens),
        view_pixels=pixels_of(options.pixels, family.view_pixels),
        min_crop_pixels=crops.least,
        crop_pixels=crops.most,
        max_zooms=max_zooms,
        image_return=family.image_return,
        convention=family.convention,
        suffix=family.suffix,
        attempts=options.attempts,
        variant=options.variant,
        tools=options.tools if zooms else TOOLS[:1],
        padding=options.padding if zooms else 0.0,
        renders_tools=family.renders_tools,
        dialect=family.dialect,
        wire=choice.way(),
        match=options.match,
        max_images=_max_images(arm, choice.model, family, max_zooms, pictures),
        **{part.name: getattr(rule, part.name) for part in fields(Rule)},
    )


def _max_images(arm: str, model: str, family: Family, max_zooms: int, pictures: int) -> int | None:
    """Images that one request may hold, None where the arm never has more. Raises UsageError where it needs more about
    one picture."""
    if family.max_images is None or images_of(arm, max_zooms, pictures).most <= family.max_images:
        return None
    least = images_of(arm, max_zooms).least
    if least > family.max_images:
        raise UsageError(
            f"arm '{arm}' shows {least} images at once and model '{model}' takes {family.max_images} a request: "
            "use another arm, or give what the model takes with --max-images"
        )
    return family.max_images


def _pictures(samples: Sequence[Sample]) -> int:
    """The most that one question is about."""
    return max((1 + len(sample.more_images) for sample in samples), default=1)


def _check_pictures(samples: Sequence[Sample], arm: str, choice: ModelChoice, options: RunOptions) -> None:
    pictures, allowed = _pictures(samples), choice.settled().family.max_images
    least = images_of(arm, options.max_zooms, pictures).least
    if pictures > 1 and allowed is not None and least > allowed:
        raise UsageError(
            f"a question is about {pictures} pictures, for which arm '{arm}' shows {least} images at once, and model "
            f"'{choice.model}' takes {allowed} a request: use another model, or give what it takes with --max-images"
        )


def pixels_of(given: str | int | None, own: int) -> int:
    """A pixel budget as a number, from a number, `2x` for twice the family's own, `native`, or None for its own."""
    if given is None:
        return own
    text = str(given).strip().lower()
    if text == "native":
        return NATIVE_PIXELS
    times = re.fullmatch(r"(\d+(?:\.\d+)?)x", text)
    pixels = round(float(times[1]) * own) if times else int(text) if text.isdecimal() else 0
    if not 0 < pixels <= NATIVE_PIXELS:
        raise UsageError(f"'{given}' is no pixel budget: give a number of pixels, 2x, 4x or native")
    return pixels


def _check_agent_options(arm: str, options: RunOptions) -> None:
    if unknown := [name for name in options.tools if name not in TOOLS]:
        raise UsageError(f"tool '{unknown[0]}' is not known: use {', '.join(TOOLS)}")
    if TOOLS[0] not in options.tools:
        raise UsageError(f"an agent cannot do without {TOOLS[0]}: add the others to it")
    if not 0 <= options.padding <= 1:
        raise UsageError(f"a padding of {options.padding} is none: give a share of a box's sides from 0 to 1")
    if (options.match is None) == (arm == "direct-matched"):
        need = "needs the run to match" if arm == "direct-matched" else "matches no run"
        raise UsageError(f"arm '{arm}' {need}: give --match RUN with --arm direct-matched, and only there")


def _pixels_shown(step: Step) -> int:
    """Pixels of all images in the step's request."""
    parts = [part for message in step.request.messages for part in message.content]
    return sum(part.width * part.height for part in parts if isinstance(part, Image))


def matchedbudgets_of(store: Store, run: str, factor: int) -> dict[str, int]:
    """Pixels of the full image by sample: as many as all images of the run's longest request have.

    Counted in the model's own image tokens where they are known, else in the pixels that were sent. The longest request
    has every image, those of earlier turns too, once.
    """
    budgets: dict[str, int] = {}
    for id in store.trajectory_ids(run):
        trajectory = store.trajectory(id)
        tokens = max((step.usage.image_tokens or 0 for step in trajectory.steps), default=0)
        pixels = tokens * factor * factor or max(map(_pixels_shown, trajectory.steps), default=0)
        if trajectory.attempt == 0 and trajectory.error is None and pixels:
            budgets[trajectory.sample] = pixels
    return budgets


def budgets_of(store: Store, spec: RunSpec, samples: Sequence[Sample]) -> dict[str, int]:
    """Budgets of `direct-matched`, none for another arm. Raises UsageError where a sample has no answer to match."""
    if spec.match is None:
        return {}
    budgets = matchedbudgets_of(store, spec.match, spec.factor)
    if lost := [sample.id for sample in samples if sample.id not in budgets]:
        raise UsageError(f"run {spec.match} has not answered '{lost[0]}' ({len(lost)} in all): finish it first")
    return budgets


def dry_run(store: Store, benchmark: str, arm: str, choice: ModelChoice, options: RunOptions) -> Estimate:
    """What the run would still take; nothing is sent and no endpoint need be up."""
    info = store.benchmark(benchmark)
    all_samples = store.samples(benchmark)
    samples = all_samples[: options.limit]
    check_arm(arm, samples)
    _check_pictures(samples, arm, choice, options)
    if options.match is not None:
        options = replace(options, match=store.run(options.match).id)

    async def settle() -> Opened:
        async with opened(store, info, arm, choice, options, _pictures(all_samples)) as found:
            return found

    _, spec, zoomer = asyncio.run(settle())
    done = store.done(spec.id)
    pending = [sample for k in range(spec.attempts) for sample in samples if (sample.id, k) not in done]
    pending = pending[: options.limits.samples]
    price = options.price or list_price(choice.model, choice.endpoint)
    if zoomer is not None:
        glance = estimate(replace(spec, arm="direct"), pending, price, {})
        return glance.times(zoomer.router.calls).then(estimate(zoomer.spec, pending, zoomer.price, {}))
    return estimate(spec, pending, price, budgets_of(store, spec, samples))


def run(
    store: Store,
    benchmark: str,
    arm: str,
    choice: ModelChoice,
    options: RunOptions,
    progress: Callable[[Progress], None] | None = None,
) -> RunSummary:
    """Run one arm over a benchmark, going on from what is stored."""
    info = store.benchmark(benchmark)
    samples = store.samples(benchmark)
    _check_pictures(samples[: options.limit], arm, choice, options)
    if options.match is not None:
        options = replace(options, match=store.run(options.match).id)

    async def work() -> RunSummary:
        async with opened(store, info, arm, choice, options, _pictures(samples)) as found:
            return await run_arm(
                found.spec,
                samples,
                store,
                found.model,
                concurrency=options.concurrency,
                progress=progress,
                limit=options.limit,
                budgets=budgets_of(store, found.spec, samples[: options.limit]),
                price=options.price or list_price(choice.model, choice.endpoint),
                limits=options.limits,
                zoomer=found.zoomer,
                logprobs=options.logprobs,
            )

    return asyncio.run(work())


def ask(
    store: Store,
    image: Path,
    question: str,
    choices: Sequence[str],
    arm: str,
    choice: ModelChoice,
    options: RunOptions,
    on_step: Callable[[Step], None] | None = None,
) -> Trajectory:
    """Answer one question about one image of the user's, stored like any run (without a grade: there is no gold).

    on_step: called with each step as it ends.
    """
    imaging.open_image(image)  # a broken file is named by its path
    known = ", ".join(name for name in ARMS if name not in (*NEED_EVIDENCE, "direct-matched"))
    if arm not in known.split(", "):
        raise UsageError(f"arm '{arm}' cannot answer a question without evidence boxes: use one of {known}")
    info = store.add_image(*imaging.clean_bytes(image))
    kind: AnswerKind = "choice" if choices else "text"
    key = digest([info.sha256, question, list(choices)])
    sample = Sample(
        id=f"ask-{key[:12]}",
        benchmark=f"ask-{key[:12]}",
        image=info.sha256,
        width=info.width,
        height=info.height,
        question=question,
        choices=tuple(choices),
        answer="",
        answer_kind=kind,
        dimension="ask",
        cluster=info.sha256,
    )
    store.add_benchmark(sample.benchmark, key, {"kind": "ask", "image": image.name}, [sample])
    return asyncio.run(_answer(store, sample, arm, choice, options, on_step))


async def _answer(
    store: Store,
    sample: Sample,
    arm: str,
    choice: ModelChoice,
    options: RunOptions,
    on_step: Callable[[Step], None] | None,
) -> Trajectory:
    info = store.benchmark(sample.benchmark)
    async with opened(store, info, arm, choice, replace(options, concurrency=1)) as (model, spec, zoomer):
        run = store.start_run(spec)
        invocation = new_invocation(run, concurrency=1, batch_size=1, warm_up=0, stream=getattr(model, "stream", None))
        store.start_invocation(invocation)
        renditions = Renditions(store)
        context = Context.of(spec, model, renditions, zoomer=zoomer, logprobs=options.logprobs, on_step=on_step)
        attempt = 1 + max((row.attempt for row in store.trajectories(run)), default=-1)
        trajectory = await answer(spec.arm, sample, context, run=run, attempt=attempt, invocation=invocation.id)
        store.add_trajectory(trajectory, None)
        store.finish_invocation(invocation.id, trajectory.wall_ms / 1000, renditions.counts._asdict())
        return trajectory


def run_row(store: Store, summary: RunSummary, limit: int | None = None) -> dict[str, Any]:
    """A run, or its first `limit` samples, as one flat row: what `zoomgap run --json` prints."""
    from zoomgap.compare import compare

    spec = store.run(summary.run)
    data = run_data(store, summary.run)
    asked = {sample.id for sample in store.samples(spec.benchmark, limit=limit)}
    data = replace(data, results=[result for result in data.results if result.sample.id in asked])
    found = compare([data], guess=chance).to_json()
    (row,) = found["runs"]
    kept = (
        "accuracy", "low", "high", "p50_ms", "p95_ms", "prompt_tokens", "completion_tokens", "image_tokens", "turns",
        "cost",
    )  # fmt: skip
    return {
        "run": summary.run,
        "bench": spec.benchmark,
        "arm": spec.arm,
        "model": spec.model,
        "n": summary.n,
        "attempted": summary.attempted,
        "answered": summary.answered,
        "unparsed": summary.unparsed,
        "errors": summary.errors,
        "correct": summary.correct,
        **{name: row[name] for name in kept},
        "seconds": summary.seconds,
        "resumed": summary.resumed,
        "grader": found["grader"],
    }


def trace_rows(store: Store, run: str | None, verdict: str | None, limit: int) -> list[dict[str, Any]]:
    """Trajectories without their steps, the newest first. Raises UsageError for an unknown run or verdict."""
    if verdict is not None and verdict not in get_args(Verdict):
        raise UsageError(f"verdict '{verdict}' is not known: use one of {', '.join(get_args(Verdict))}")
    found = store.trajectories(run, verdict=verdict)  # type: ignore[arg-type]
    return [asdict(row) for row in reversed(found[-limit:] if limit > 0 else [])]
