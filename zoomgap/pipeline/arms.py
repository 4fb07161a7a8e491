"""Benchmarks and arms: what is asked, and of whom."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from zoomgap import imaging, prompts
from zoomgap.agents import (
    NEED_EVIDENCE,
    TOOLS,
    Context,
    Limits,
    Progress,
    RunSummary,
    Settings,
    answer,
    check_arm,
    images_of,
    new_invocation,
    run_arm,
)
from zoomgap.benchmarks import micro
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
    max_tokens: of a reply. limit: only the first so many samples. price: instead of the list price. limits: where to
    stop before the end.
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
    concurrency: int = 32
    limit: int | None = None
    price: Price | None = None
    limits: Limits = field(default_factory=Limits)


NATIVE_PIXELS = 2**30
"""The budget `native`: more than an image may have, so that none is reduced."""


def make_micro(
    store: Store,
    n: int,
    seed: int,
    backgrounds: Path | None = None,
    name: str | None = None,
    count: Count | None = None,
    questions: int = 1,
    evidence: tuple[float, float] | None = None,
) -> BenchmarkInfo:
    """Render n scenes of the procedural benchmark into the store, or find them there.

    questions: samples about each scene, as far as it has carriers. evidence: sides that it may have, pixels of the
    direct view. Both are for training: what is measured on is the benchmark as it stands.
    """
    source: dict[str, Any] = {
        "kind": "micro",
        "seed": seed,
        "n": n,
        "backgrounds": str(backgrounds) if backgrounds else None,
    }
    if questions > 1 or evidence is not None:
        if not micro.for_training(seed, n):
            raise UsageError(
                f"seeds {seed} to {seed + n - 1} are not all for training, and several questions a scene and chosen "
                "sizes of evidence are: take seeds 0 to 7999999, or neither of the two"
            )
        source |= {"questions": questions} if questions > 1 else {}
        source |= {"evidence": list(evidence)} if evidence is not None else {}
    called = name or micro.default_name(n, seed, questions, evidence)
    if any(info.name == called and dict(info.source) != source for info in store.benchmarks()):
        raise UsageError(f"benchmark '{called}' exists and was made otherwise: call this one differently with --name")
    samples: list[Sample] = []
    scenes = 0

    def stored() -> Iterator[micro.MicroSample]:
        nonlocal scenes
        made_all = micro.make(n, seed, backgrounds=backgrounds, name=name, questions=questions, evidence=evidence)
        for made in made_all:
            if not samples or made.sample.image != samples[-1].image:
                store.add_image(made.jpeg, "image/jpeg", made.sample.size)
                scenes += 1
            samples.append(made.sample)
            if count:
                count(scenes, n)
            yield made

    sha256 = micro.benchmark_sha256(stored())
    store.add_benchmark(samples[0].benchmark, sha256, source, samples)
    return store.benchmark(samples[0].benchmark)


def spec_of(
    info: BenchmarkInfo, arm: str, choice: ModelChoice, model: VisionModel, options: RunOptions, pictures: int = 1
) -> RunSpec:
    """The identity of a run. pictures: the most that one question of the benchmark is about. Raises UsageError for an
    unknown arm, and for one that the model or the options forbid."""
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
        prompts=prompts.fingerprint(),
        sampling=replace(options.sampling, max_tokens=options.max_tokens or family.max_tokens),
        view_pixels=pixels_of(options.pixels, family.view_pixels),
        min_crop_pixels=crops.least,
        crop_pixels=crops.most,
        max_zooms=max_zooms,
        image_return=family.image_return,
        convention=family.convention,
        suffix=family.suffix,
        attempts=options.attempts,
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


def matched_budgets(store: Store, run: str, factor: int) -> dict[str, int]:
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
    budgets = matched_budgets(store, spec.match, spec.factor)
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
    model = open_model(choice.model, choice.endpoint, store.objects.read)
    spec = spec_of(info, arm, choice, model, options, _pictures(all_samples))
    asyncio.run(model.aclose())
    done = store.done(spec.id)
    pending = [sample for k in range(spec.attempts) for sample in samples if (sample.id, k) not in done]
    price = options.price or list_price(choice.model, choice.endpoint)
    return estimate(spec, pending[: options.limits.samples], price, budgets_of(store, spec, samples))


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
        model = open_model(
            choice.model,
            choice.endpoint,
            store.objects.read,
            batch_size=options.concurrency,
            concurrency=options.concurrency,
            wire=choice.way(),
            stream=choice.stream,
            timeout_s=choice.timeout_s,
        )
        try:
            spec = spec_of(info, arm, choice, model, options, _pictures(samples))
            store.add_prompt(canonical_json(dict(prompts.templates())))
            return await run_arm(
                spec,
                samples,
                store,
                model,
                concurrency=options.concurrency,
                progress=progress,
                limit=options.limit,
                budgets=budgets_of(store, spec, samples[: options.limit]),
                price=options.price or list_price(choice.model, choice.endpoint),
                limits=options.limits,
            )
        finally:
            await model.aclose()

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
    model = open_model(
        choice.model, choice.endpoint, store.objects.read, batch_size=1, wire=choice.way(), stream=choice.stream,
        timeout_s=choice.timeout_s,
    )  # fmt: skip
    try:
        spec = spec_of(store.benchmark(sample.benchmark), arm, choice, model, options)
        store.add_prompt(canonical_json(dict(prompts.templates())))
        run = store.start_run(spec)
        invocation = new_invocation(run, concurrency=1, batch_size=1, warm_up=0, stream=getattr(model, "stream", None))
        store.start_invocation(invocation)
        context = Context(model, Renditions(store), Settings.of(spec), on_step=on_step)
        attempt = 1 + max((row.attempt for row in store.trajectories(run)), default=-1)
        trajectory = await answer(spec.arm, sample, context, run=run, attempt=attempt, invocation=invocation.id)
        store.add_trajectory(trajectory, None)
        store.finish_invocation(invocation.id, trajectory.wall_ms / 1000, context.renditions.counts._asdict())
        return trajectory
    finally:
        await model.aclose()


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
