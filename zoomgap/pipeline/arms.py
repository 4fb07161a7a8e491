"""Benchmarks and arms: what is asked, and of whom."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from zoomgap import imaging, prompts
from zoomgap.agents import Context, Progress, RunSummary, Settings, answer, new_invocation, run_arm
from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError
from zoomgap.models.base import VisionModel
from zoomgap.models.catalog import family_of, open_model
from zoomgap.pipeline.reports import chance, run_data
from zoomgap.records import (
    ARMS,
    AnswerKind,
    RunSpec,
    Sample,
    Sampling,
    Size,
    Step,
    Trajectory,
    Verdict,
    canonical_json,
    digest,
)
from zoomgap.storage import BenchmarkInfo, Store

Count = Callable[[int, int], None]
"""Progress: how many are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model answers: `micro`, `hf:PATH`, or the name of one behind an endpoint."""

    model: str = "micro"
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How an arm is run; None takes the model family's own value. pixels: budget of the full image."""

    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=256))
    pixels: int | None = None
    crop_pixels: int | None = None
    max_zooms: int = 3
    attempts: int = 1
    concurrency: int = 32
    limit: int | None = None


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
        if not {micro.split_of(seed), micro.split_of(seed + n - 1)} <= set(micro.TRAINING):
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


def spec_of(info: BenchmarkInfo, arm: str, choice: ModelChoice, model: VisionModel, options: RunOptions) -> RunSpec:
    """The identity of a run. Raises UsageError for an unknown arm."""
    if arm not in ARMS:
        raise UsageError(f"arm '{arm}' is not known: use one of {', '.join(ARMS)}")
    if not math.isfinite(options.sampling.temperature) or options.sampling.temperature < 0:
        raise UsageError(f"temperature {options.sampling.temperature} is no temperature: give 0 (greedy) or more")
    family = family_of(choice.model)
    return RunSpec(
        benchmark=info.name,
        benchmark_sha256=info.sha256,
        arm=arm,  # type: ignore[arg-type]
        model=choice.model,
        weights=getattr(model, "weights", None),
        dtype=getattr(model, "dtype", None),
        endpoint=choice.endpoint,
        prompts=prompts.fingerprint(),
        sampling=options.sampling,
        view_pixels=options.pixels or family.view_pixels,
        crop_pixels=options.crop_pixels or family.crop_pixels,
        factor=family.factor,
        max_zooms=options.max_zooms if arm.startswith("agent") else 0,
        image_return=family.image_return,
        convention=family.convention,
        suffix=family.suffix,
        attempts=options.attempts,
    )


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

    async def work() -> RunSummary:
        model = open_model(choice.model, choice.endpoint, store.objects.read, batch_size=options.concurrency)
        try:
            spec = spec_of(info, arm, choice, model, options)
            store.add_prompt(canonical_json(dict(prompts.templates())))
            return await run_arm(
                spec, samples, store, model, concurrency=options.concurrency, progress=progress, limit=options.limit
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
    picture = imaging.open_image(image)
    if arm not in ARMS or arm.startswith("region"):
        known = ", ".join(name for name in ARMS if not name.startswith("region"))
        raise UsageError(f"arm '{arm}' cannot answer a question without evidence boxes: use one of {known}")
    data = imaging.encode(picture, "image/png")
    info = store.add_image(data, "image/png", Size(*picture.size))
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
    model = open_model(choice.model, choice.endpoint, store.objects.read, batch_size=1)
    try:
        spec = spec_of(store.benchmark(sample.benchmark), arm, choice, model, options)
        store.add_prompt(canonical_json(dict(prompts.templates())))
        run = store.start_run(spec)
        invocation = new_invocation(run, concurrency=1, batch_size=1, warm_up=0)
        store.start_invocation(invocation)
        context = Context(model, store.objects.read, store.add_image, Settings.of(spec), on_step=on_step)
        attempt = 1 + max((row.attempt for row in store.trajectories(run)), default=-1)
        trajectory = await answer(spec.arm, sample, context, run=run, attempt=attempt, invocation=invocation.id)
        store.add_trajectory(trajectory, None)
        store.finish_invocation(invocation.id, trajectory.wall_ms / 1000)
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
    (row,) = compare([data], guess=chance).to_json()["runs"]
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
    }


def trace_rows(store: Store, run: str | None, verdict: str | None, limit: int) -> list[dict[str, Any]]:
    """Trajectories without their steps, the newest first. Raises UsageError for an unknown run or verdict."""
    if verdict is not None and verdict not in get_args(Verdict):
        raise UsageError(f"verdict '{verdict}' is not known: use one of {', '.join(get_args(Verdict))}")
    found = store.trajectories(run, verdict=verdict)  # type: ignore[arg-type]
    return [asdict(row) for row in reversed(found[-limit:] if limit > 0 else [])]
