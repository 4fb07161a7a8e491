"""The rooms joined: what the command line and the demo both do with a store. Nothing here prints."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zoomgap import imaging, prompts
from zoomgap.agents import Context, Progress, RunSummary, Settings, answer, new_invocation, run_arm
from zoomgap.benchmarks import micro
from zoomgap.errors import ModelError, UsageError
from zoomgap.models.base import VisionModel
from zoomgap.models.catalog import MICRO_PATH, family_of, open_model
from zoomgap.records import (
    ARMS,
    AnswerKind,
    Box,
    Item,
    Labels,
    RunSpec,
    Sample,
    Sampling,
    Size,
    Step,
    Trajectory,
    Verdict,
    Vote,
    canonical_json,
    digest,
)
from zoomgap.storage import BenchmarkInfo, Store

if TYPE_CHECKING:
    from zoomgap.compare import Comparison, RunData, TraceView
    from zoomgap.distill.build import BuildConfig, BuildProgress
    from zoomgap.distill.student import TrainResult
    from zoomgap.distill.train import Progress as TrainProgress

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
) -> BenchmarkInfo:
    """Render n scenes of the procedural benchmark into the store, or find them there.

    questions: samples about each scene, as far as it has carriers.
    """
    source = {"kind": "micro", "seed": seed, "n": n, "backgrounds": str(backgrounds) if backgrounds else None}
    if questions > 1:
        if not {micro.split_of(seed), micro.split_of(seed + n - 1)} <= set(micro.TRAINING):
            raise UsageError("several questions a scene are for training: take seeds 0 to 7999999, or one question")
        source["questions"] = questions
    called = name or micro.default_name(n, seed, questions)
    if any(info.name == called and dict(info.source) != source for info in store.benchmarks()):
        raise UsageError(f"benchmark '{called}' exists and was made otherwise: call this one differently with --name")
    samples: list[Sample] = []
    scenes = 0

    def stored() -> Iterator[micro.MicroSample]:
        nonlocal scenes
        for made in micro.make(n, seed, backgrounds=backgrounds, name=name, questions=questions):
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


# Distillation


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """name: datasets are called NAME-LABELS. base: whose own answers are labels `self`; None is the agent's model."""

    name: str
    labels: tuple[Labels, ...]
    votes: int = 4
    agreement: float = 0.75
    use_gold: bool = False
    base: ModelChoice | None = None


MAX_FAILED_VOTES = 20
"""Votes that fail one after another end a build: a dead endpoint would otherwise make empty datasets."""


@dataclass(slots=True)
class VoteKeeper:
    """Stores each vote as it comes. Raises ModelError after MAX_FAILED_VOTES failures in a row."""

    store: Store
    failed: int = 0

    def __call__(self, vote: Vote) -> None:
        self.store.put_votes([vote])
        self.failed = self.failed + 1 if vote.error else 0
        if self.failed >= MAX_FAILED_VOTES:
            raise ModelError(
                f"voting stopped after {self.failed} errors in a row, the last one: {vote.error}; "
                "mend that, then the same command goes on"
            )


def _build_config(spec: RunSpec, options: BuildOptions) -> BuildConfig:
    """Settings of a build from a run of that spec: votes are shown what its arms were shown."""
    from zoomgap.distill.build import BuildConfig
    from zoomgap.distill.consensus import ConsensusConfig, VoteConfig

    votes = VoteConfig(
        votes=options.votes,
        view_pixels=spec.view_pixels,
        crop_pixels=spec.crop_pixels,
        factor=spec.factor,
        suffix=spec.suffix,
    )
    consensus = ConsensusConfig(agreement=options.agreement, min_votes=min(4, options.votes))
    return BuildConfig(
        name=options.name, labels=options.labels, use_gold=options.use_gold, votes=votes, consensus=consensus
    )


def build_datasets(
    store: Store, run: str, options: BuildOptions, progress: Callable[[BuildProgress], None] | None = None
) -> dict[str, Any]:
    """Regions, questions, votes and items from an agent's run, stored; counts of what was made and what fell."""
    from zoomgap.distill.build import build
    from zoomgap.distill.questions import ask as ask_about
    from zoomgap.distill.regions import Traced, propose

    spec = store.run(run)
    if not spec.arm.startswith("agent"):
        raise UsageError(f"run {spec.id} is of arm '{spec.arm}': items are made from an agent's zooms, name such a run")
    samples = {sample.id: sample for sample in store.samples(spec.benchmark)}
    traced = [
        Traced(id, trajectory, samples[trajectory.sample])
        for id, trajectory in ((id, store.trajectory(id)) for id in store.trajectory_ids(spec.id))
    ]
    config = _build_config(spec, options)
    # Stored before the votes are cast, so that each vote can be stored as it comes and a later build goes on.
    regions = propose(traced, config.regions).kept
    store.put_regions(regions)
    store.put_questions(ask_about(regions, samples, config.questions))
    teacher_choice = ModelChoice(model=spec.model, endpoint=spec.endpoint)
    base_choice = options.base or teacher_choice

    async def work() -> Any:
        teacher = open_model(teacher_choice.model, teacher_choice.endpoint, store.objects.read, batch_size=64)
        same = base_choice == teacher_choice
        base = teacher if same else open_model(base_choice.model, base_choice.endpoint, store.objects.read)
        try:
            return await build(
                traced,
                config,
                teacher=teacher,
                base=base,
                load_image=store.objects.read,
                save_image=store.add_image,
                known=store.votes(),
                keep=VoteKeeper(store),
                progress=progress,
            )
        finally:
            await teacher.aclose()
            if not same:
                await base.aclose()

    built = asyncio.run(work())
    store.put_votes(built.votes)
    for labels, items in built.datasets.items():
        dataset = f"{options.name}-{labels}"
        store.put_dataset(dataset, {"run": spec.id, "labels": labels, "build": asdict(config)})
        store.put_items(dataset, items)
    return {
        "run": spec.id,
        "trajectories": len(traced),
        "regions": len(built.regions),
        "questions": len(built.questions),
        "votes": len(built.votes),
        "errors": sum(vote.error is not None for vote in built.votes),
        "datasets": {f"{options.name}-{labels}": len(items) for labels, items in built.datasets.items()},
        "fell": built.fell,
    }


LOOK_WEIGHT = 0.5
"""Of the look loss in a student of the embedded model."""


def train_student(
    store: Store,
    dataset: str,
    base: str,
    out: Path,
    settings: Mapping[str, Any],
    progress: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Train a student on a stored dataset into the folder `out`. settings: fields of TrainConfig.

    A student of the embedded model replays its old tasks and is told where the agent looked, whatever its labels;
    another model has no old tasks here, and too many layers to say which should look.
    """
    from zoomgap.distill.train import TrainConfig, train

    family = family_of(base)
    items: list[Item] = store.items(dataset)
    config = TrainConfig(
        **{
            "view_pixels": family.view_pixels,
            "factor": family.factor,
            "suffix": family.suffix,
            "look_weight": LOOK_WEIGHT if family.name == "micro" else 0.0,
            **settings,
        }
    )
    replay = None
    if family.name == "micro" and config.replay_share > 0:
        from zoomgap.distill.pretrain import OldTasks

        replay = OldTasks(seed=1_000_000 + config.seed)
    path = MICRO_PATH if base == "micro" else Path(base.removeprefix("hf:"))
    result = train(config, items, store.objects.read, path, out, progress, replay, region_places(store, dataset))
    metrics = {"steps": result.steps, "items": result.items, "seconds": result.seconds, "losses": result.losses}
    settings = {"dataset": dataset, "base": base, "base_weights": result.base_weights, **asdict(config)}
    store.put_training(result.identity, settings, metrics, out)
    return result


def region_places(store: Store, dataset: str) -> dict[str, Box]:
    """Question id -> the crop of the agent that it is about, pixels of the original; the same for all labels."""
    regions = {region.id: region.box for region in store.regions(dataset)}
    return {question.id: regions[question.region] for question in store.questions(dataset)}


# Comparison


def run_data(store: Store, run: str, label: str | None = None) -> RunData:
    """A stored run as the comparison reads it. label: what it is called; default its model and arm."""
    from zoomgap.compare import RunData

    spec = store.run(run)
    name = label or f"{spec.model} {spec.arm}"
    return RunData(spec, name, store.results(spec.id), store.invocations(spec.id))


def parse_role(store: Store, text: str) -> tuple[str, str]:
    """`ROLE=RUN` as (run id, role). Raises UsageError for another form, role or run."""
    from zoomgap.compare import Role

    role, _, run = text.partition("=")
    if role not in get_args(Role) or not run:
        raise UsageError(f"role '{text}' is not ROLE=RUN with a role of {', '.join(get_args(Role))}")
    return store.run(run).id, role


def compare_runs(store: Store, runs: Sequence[str], roles: Mapping[str, str]) -> Comparison:
    """Compare stored runs. roles: run id -> base, student, floor, placebo or ceiling."""
    from zoomgap.compare import compare

    named = {store.run(run).id: f"{role} {store.run(run).arm}" for run, role in roles.items()}
    data = [run_data(store, run, named.get(store.run(run).id)) for run in runs]
    return compare(_distinct(data), roles=roles, guess=chance)  # type: ignore[arg-type]


def chance(sample: Sample) -> float:
    """Chance of a right guess: exact for the procedural benchmark, else the comparison's own default."""
    from zoomgap.compare.table import default_guess

    return (
        micro.guess_rate(sample.dimension, sample.answer_kind) if micro.is_micro(sample.id) else default_guess(sample)
    )


def _distinct(runs: Sequence[RunData]) -> list[RunData]:
    """Runs whose labels are alike are told apart by the first characters of their ids."""
    labels = [run.label for run in runs]
    return [replace(run, label=f"{run.label} ({run.id[:4]})") if labels.count(run.label) > 1 else run for run in runs]


MAX_TRACES = 12


def write_report(store: Store, comparison: Comparison, path: Path, timing: Comparison | None = None) -> None:
    """Write the report with some traces of the agent: right and wrong ones, one and more zooms.

    timing: runs of one answer at a time, for a table of their own.
    """
    from zoomgap.compare import render

    traces = []
    for run in (row["run"] for row in comparison.to_json()["runs"]):
        if store.run(run).arm == "agent":
            found = sorted(store.trajectories(run), key=lambda row: (row.zooms < 1, row.sample))
            right = [row for row in found if row.verdict == "correct"][: MAX_TRACES * 2 // 3]
            wrong = [row for row in found if row.verdict == "incorrect"][: MAX_TRACES - len(right)]
            traces += [trace_view(store, row.id) for row in [*right, *wrong]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(comparison, traces[:MAX_TRACES], timing), encoding="utf-8")


def trace_view(store: Store, trajectory: int) -> TraceView:
    """A stored trajectory with its pictures, as the report draws it; the image is reduced to 512 x 512 px at most."""
    from zoomgap.compare import TraceView

    found = store.trajectory(trajectory)
    sample = store.sample(store.run(found.run).benchmark, found.sample)
    original = imaging.open_image(store.objects.read(sample.image))
    shown = imaging.encode(imaging.fit(original, 512 * 512, factor=8))
    grades = store.grades(trajectory)
    zooms = [
        (step.box, step.label or "", store.objects.read(step.observation.sha256))
        for step in found.steps
        if step.observation is not None and step.box is not None
    ]
    gold = sample.answer
    if sample.choices and gold:
        gold = f"{gold}) {sample.choices[ord(gold) - ord('A')]}"
    return TraceView(
        title=f"{sample.id}, {sample.dimension}",
        question=prompts.question(sample.question, choices=sample.choices, suffix=False),
        image_jpeg=shown,
        size=sample.size,
        zooms=zooms,
        reply=found.text,
        verdict=grades[-1].verdict if grades else "ungraded",
        gold=gold,
    )
