"""Comparison of stored runs, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from zoomgap import imaging, prompts
from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError
from zoomgap.records import JUDGE, Sample, TimingMode, TimingSession
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.compare import Comparison, RunData, TraceView
    from zoomgap.compare.table import SessionTimes


def run_data(store: Store, run: str, label: str | None = None) -> RunData:
    """A stored run as the comparison reads it. label: what it is called; default its model and arm."""
    from zoomgap.compare import RunData

    spec = store.run(run)
    name = label or f"{spec.model} {spec.arm}"
    # Only the dual view reads crops, and only of this arm.
    crops = store.crops(spec.id) if spec.arm == "agent" else {}
    return RunData(spec, name, store.results(spec.id), store.invocations(spec.id), crops)


def parse_role(store: Store, text: str) -> tuple[str, str]:
    """`ROLE=RUN` as (run id, role). Raises UsageError for another form, role or run."""
    from zoomgap.compare import Role

    role, _, run = text.partition("=")
    if role not in get_args(Role) or not run:
        raise UsageError(f"role '{text}' is not ROLE=RUN with a role of {', '.join(get_args(Role))}")
    return store.run(run).id, role


def compare_runs(store: Store, runs: Sequence[str], roles: Mapping[str, str]) -> Comparison:
    """Compare stored runs. roles: run id -> base, student, floor, placebo or ceiling.

    Times are those of the latest timing session that holds most of the runs, if there is one.
    """
    from zoomgap.compare import compare

    named = {store.run(run).id: f"{role} {store.run(run).arm}" for run, role in roles.items()}
    data = [run_data(store, run, named.get(store.run(run).id)) for run in runs]
    return compare(_timed(store, _distinct(data)), roles=roles, guess=chance)  # type: ignore[arg-type]


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


def _timed(store: Store, runs: Sequence[RunData]) -> list[RunData]:
    """The runs with what the latest sessions of both modes hold of them."""
    ids = [run.id for run in runs]
    times, rates = (_session_times(store, ids, mode) for mode in get_args(TimingMode))
    return [replace(run, times=times.get(run.id), rates=rates.get(run.id)) for run in runs]


def _session_times(store: Store, runs: Sequence[str], mode: TimingMode) -> dict[str, SessionTimes]:
    """By run, what the latest session of a mode holds."""
    from zoomgap.compare.table import SessionTimes

    session = latest_session(store, runs, mode)
    if session is None:
        return {}
    answers, blocks = store.timings(session.id), store.timing_blocks(session.id)
    return {
        run: SessionTimes(session, [a for a in answers if a.run == run], [b for b in blocks if b.run == run])
        for run in runs
        if run in session.runs
    }


def latest_session(store: Store, runs: Sequence[str], mode: TimingMode) -> TimingSession | None:
    """Of the sessions with answers that timed most of the runs (full ids), at least two or all, the latest."""
    wanted = set(runs)
    held = [(len(wanted & session.runs.keys()), session) for session in store.timing_sessions(mode)]
    held = [(count, session) for count, session in held if count >= min(2, len(wanted)) and store.timings(session.id)]
    most = max((count for count, _ in held), default=0)
    return next((session for count, session in reversed(held) if count == most), None)


MAX_TRACES = 12


def write_report(store: Store, comparison: Comparison, path: Path) -> None:
    """Write the report with some traces of the agent: right and wrong ones, one and more zooms."""
    from zoomgap.compare import render

    traces = []
    for run in (row["run"] for row in comparison.to_json()["runs"]):
        if store.run(run).arm == "agent":
            found = sorted(store.trajectories(run), key=lambda row: (row.zooms < 1, row.sample))
            right = [row for row in found if row.verdict == "correct"][: MAX_TRACES * 2 // 3]
            wrong = [row for row in found if row.verdict == "incorrect"][: MAX_TRACES - len(right)]
            traces += [trace_view(store, row.id) for row in [*right, *wrong]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(comparison, traces[:MAX_TRACES]), encoding="utf-8")


def trace_view(store: Store, trajectory: int) -> TraceView:
    """A stored trajectory with its pictures, as the report draws it; the image is reduced to 512 x 512 px at most."""
    from zoomgap.compare import TraceView

    found = store.trajectory(trajectory)
    sample = store.sample(store.run(found.run).benchmark, found.sample)
    original = imaging.open_image(store.objects.read(sample.image))
    shown = imaging.encode(imaging.fit(original, 512 * 512, factor=8))
    grades = [grade for grade in store.grades(trajectory) if not grade.grader.startswith(JUDGE)]
    zooms = [
        (step.box, step.label or "", store.objects.read(step.observation.sha256))
        for step in found.steps
        if step.observation is not None and step.box is not None and not step.picture
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
