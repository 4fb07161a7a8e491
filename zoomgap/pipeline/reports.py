"""Comparison of stored runs, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zoomgap import imaging, prompts
from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError
from zoomgap.records import JUDGE, Plan, Sample
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.compare import Comparison, RunData, TraceView


def run_data(store: Store, run: str, label: str | None = None, samples: Mapping[str, Sample] | None = None) -> RunData:
    """A stored run as the comparison reads it. label: what it is called; default its model and arm.

    samples: of its benchmark by id, where the caller has them.
    """
    from zoomgap.compare import RunData

    spec = store.run(run)
    name = label or f"{spec.model} {spec.arm}"
    asked = store.benchmark(spec.benchmark).n * spec.attempts
    return RunData(spec, name, store.results(spec.id, samples=samples), store.invocations(spec.id), asked)


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
    from zoomgap.compare.plan import plan_before

    named = {store.run(run).id: f"{role} {store.run(run).arm}" for run, role in roles.items()}
    data = _distinct(_run_data(store, runs, named))
    plan = plan_before(store.plans(data[0].spec.benchmark), data) if data else None
    return compare(data, roles=roles, guess=chance, plan=plan)  # type: ignore[arg-type]


def _run_data(store: Store, runs: Sequence[str], labels: Mapping[str, str]) -> list[RunData]:
    """Stored runs, whose samples are read once. labels: by id, for those that have one."""
    specs = [store.run(run) for run in runs]
    known = {name: {sample.id: sample for sample in store.samples(name)} for name in {spec.benchmark for spec in specs}}
    return [run_data(store, spec.id, labels.get(spec.id), known[spec.benchmark]) for spec in specs]


def plan_comparison(
    store: Store | None,
    benchmark: str | None,
    pilot: tuple[str, str] | None,
    *,
    save: bool = False,
    cells: int | None = None,
    cluster_size: float | None = None,
    **given: float,
) -> dict[str, Any]:
    """What a comparison needs, as one flat row; with `save` its margin, power and level are stored for the benchmark.

    given: margin, power, level, discordance, icc. cells: default as many as the benchmark has kinds of question, in
    three sizes; cluster_size: default the benchmark's. has: samples of the benchmark, None without one.
    """
    from zoomgap.compare.plan import needed, pilot_of
    from zoomgap.compare.verdicts import BINS

    has = None
    if store is not None and benchmark is not None:
        samples = store.samples(benchmark)
        has = len(samples)
        cells = cells or BINS * len({sample.dimension for sample in samples})
        cluster_size = cluster_size or has / len({sample.cluster or sample.id for sample in samples})
    tried = None
    if store is not None and pilot is not None:
        tried = pilot_of(*_run_data(store, pilot, {}))
    shape = {"cells": cells, "cluster_size": cluster_size}
    found = needed(pilot=tried, **{name: value for name, value in shape.items() if value is not None}, **given)  # type: ignore[arg-type]
    row = {"bench": benchmark, "has": has, **found.to_json(), "saved": None}
    if save:
        if store is None or benchmark is None:
            raise UsageError("a plan is stored for a benchmark: name it with --bench")
        created = datetime.now(UTC).isoformat(timespec="seconds")
        store.add_plan(
            Plan(benchmark=benchmark, margin=found.margin, power=found.power, level=found.level, created=created)
        )
        row["saved"] = created
    return row


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
    spec = store.run(found.run)
    sample = prompts.vary(store.sample(spec.benchmark, found.sample), spec.variant)
    original = imaging.open_image(store.objects.read(sample.image))
    shown = imaging.encode(imaging.fit(original, 512 * 512, factor=8))
    grades = [grade for grade in store.grades(trajectory) if not grade.grader.startswith(JUDGE)]
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
