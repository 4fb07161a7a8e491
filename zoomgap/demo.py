"""The whole loop on the embedded model, at three scales.

Benchmark, the base's arms, items from the agent's own zooms on other images, a student and its floor, the same arms
again, times taken in turn, comparison, report. Every stage resumes: an interrupted demo goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoomgap import pipeline
from zoomgap.benchmarks.micro import default_name
from zoomgap.pipeline import BuildOptions, ModelChoice, RunOptions, TimeOptions
from zoomgap.records import Labels
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.compare import Comparison

Update = Callable[[int, int, str], None]

TUNE_SEED, DISTILL_SEED = 8_000_000, 4_000_000
"""The demo measures on tuning seeds: the project's test seeds are kept for docs/results.md."""

BASE_ARMS = ("no-image", "direct", "region", "region-lowres", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """test: samples; timing: how many of them are timed; distill: scenes, each asked about up to QUESTIONS times.
    labels: the students; minutes: of training each."""

    test: int
    distill: int
    timing: int
    minutes: float
    labels: tuple[Labels, ...] = ("agent", "self")


SHORT = Scale(test=36, distill=16, timing=4, minutes=0.1)
USUAL = Scale(test=240, distill=160, timing=20, minutes=1.0)
FULL = Scale(test=1200, distill=1750, timing=60, minutes=20, labels=("agent", "self", "random-crop", "gold"))

QUESTIONS = 4
"""Samples about each distillation scene: encoding an image is dear, another question about it is cheap."""

EVIDENCE = (9.0, 40.0)
"""Sides of the evidence in distillation scenes, pixels of the direct view: under 9 px a view has nothing to read, and a
student would learn to guess; above 40 px the base needs no teacher."""

MIN_ITEMS = 12
"""Fewer items are not trained on."""

ROLES = {"agent": "student", "self": "floor", "random-crop": "placebo", "gold": "ceiling"}


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found and where it lies. lines: findings in words."""

    comparison: Comparison
    report: Path
    lines: list[str]


def run_demo(store: Store, out: Path, scale: Scale, update: Update) -> DemoResult:
    """Run every stage in the folder `out`; `update` gets (done, total, stage).

    Where the agent's votes agree on too few regions to train on, the students are left out and a line says so.
    """
    bench = _benchmark(store, scale.test, TUNE_SEED, update)
    options = RunOptions()
    runs = {
        arm: pipeline.run(store, bench, arm, ModelChoice(), options, watch(update, f"base {arm}")) for arm in BASE_ARMS
    }
    source = _benchmark(store, scale.distill, DISTILL_SEED, update, QUESTIONS, EVIDENCE)
    zooms = pipeline.run(store, source, "agent", ModelChoice(), options, watch(update, "agent on distillation images"))
    # Named by the run: a demo folder goes on after a change of weights instead of mixing two models.
    build = BuildOptions(
        name=f"demo-{scale.distill}-{zooms.run[:6]}", labels=scale.labels, use_gold="gold" in scale.labels
    )
    built = pipeline.build_datasets(
        store,
        zooms.run,
        build,
        lambda p: update(p.done, p.total, f"votes for labels {p.labels}"),
        lambda done, total: update(done, total, "comparing images"),
    )
    items = min(built["datasets"].values())
    lines = [f"{items} items from {built['trajectories']} trajectories of the agent, {built['regions']} regions"]
    students: dict[Labels, ModelChoice] = {}
    if items >= MIN_ITEMS:
        steps: int | None = None
        for labels in scale.labels:
            # The first is bounded by minutes; the others take as many steps, so that only their labels differ.
            folder, steps = _student(store, out, scale.minutes, steps, f"{build.name}-{labels}", update)
            students[labels] = ModelChoice(model=f"hf:{folder}")
    else:
        lines.append(f"no student: under {MIN_ITEMS} items; more images or a better agent would bring more")
    roles = {runs["direct"].run: "base"}
    for labels, choice in students.items():
        direct = pipeline.run(store, bench, "direct", choice, options, watch(update, f"student of {labels} labels"))
        runs[f"student {labels}"] = direct
        roles[direct.run] = ROLES[labels]
    if student := students.get("agent"):
        runs["student region"] = pipeline.run(store, bench, "region", student, options, watch(update, "student region"))

    timed = {"base direct": runs["direct"].run, "base agent": runs["agent"].run}
    if "student agent" in runs:
        timed["student direct"] = runs["student agent"].run
    time_arms(store, scale.timing, list(timed.values()), update)
    comparison = pipeline.compare_runs(store, [summary.run for summary in runs.values()], roles)
    report = out / "report.html"
    pipeline.write_report(store, comparison, report)
    return DemoResult(comparison, report, [*lines, *timing_lines(comparison, timed)])


def _student(
    store: Store, out: Path, minutes: float, steps: int | None, dataset: str, update: Update
) -> tuple[Path, int]:
    """A student of a dataset, trained for so many minutes or, where they are known, steps: its folder and its steps."""
    folder = out / f"student-{dataset}"
    bound = {"max_minutes": minutes} if steps is None else {"max_steps": steps}
    result = pipeline.train_student(
        store,
        dataset,
        "micro",
        folder,
        {**bound, "epochs": 100},
        lambda p: update(p.step, p.steps, f"training on {dataset}"),
    )
    return folder, result.steps


def watch(update: Update, stage: str) -> Callable[[Any], None]:
    """A run's progress as the demo's."""
    return lambda progress: update(progress.done, progress.total, stage)


def _benchmark(
    store: Store, n: int, seed: int, update: Update, questions: int = 1, evidence: tuple[float, float] | None = None
) -> str:
    known = {info.name for info in store.benchmarks()}
    name = default_name(n, seed, questions, evidence)
    if name not in known:
        pipeline.make_micro(
            store,
            n,
            seed,
            questions=questions,
            evidence=evidence,
            count=lambda done, total: update(done, total, f"rendering {name}"),
        )
    return name


def time_arms(store: Store, n: int, runs: list[str], update: Update) -> None:
    """Time runs in turn on n samples, unless a session that ended holds them all."""
    session = pipeline.latest_session(store, runs, "latency")
    if session is None or not session.ended or session.samples < n or set(runs) - session.runs.keys():
        pipeline.time_runs(store, runs, TimeOptions(samples=n), watch(update, "timing, one answer at a time"))


def timing_lines(comparison: Comparison, runs: dict[str, str]) -> list[str]:
    """One line a run: median time of one answer, one at a time. runs: ids by name."""
    session = comparison.timing_session
    assert session is not None
    rows = {row.run: row for row in session.runs}
    base = rows[runs["base agent"]].p50_ms
    lines = []
    for name, run in runs.items():
        row = rows[run]
        if row.p50_ms is None or base is None:
            lines.append(f"one at a time: {name} has no timing, only errors")
        else:
            lines.append(
                f"one at a time: {name} {row.p50_ms:.0f} ms at the median of {row.n}, "
                f"{base / row.p50_ms:.1f} times as fast as the agent, {row.turns:.2f} calls"
            )
    return lines
