"""Comparison of stored runs, and its report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zoomgap import imaging, prompts
from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.records import Plan, Result, Sample, TimingMode, TimingSession
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.compare import AnswerView, Comparison, RunData, SampleGroup, SampleView
    from zoomgap.compare.conditions import Condition
    from zoomgap.compare.contrasts import Answered
    from zoomgap.compare.table import SessionTimes


def run_data(store: Store, run: str, label: str | None = None, samples: Mapping[str, Sample] | None = None) -> RunData:
    """A stored run as the comparison reads it. label: what it is called; default its model and arm.

    samples: of its benchmark by id, where the caller has them.
    """
    from zoomgap.compare import RunData

    spec = store.run(run)
    name = label or f"{spec.model} {spec.arm}"
    # Only the dual view reads crops, and only of this arm.
    crops = store.crops(spec.id) if spec.arm == "agent" else {}
    results = store.results(spec.id, samples=samples)
    size = store.benchmark(spec.benchmark).n
    return RunData(spec, name, results, store.invocations(spec.id), crops=crops, samples=size)


def parse_roles(store: Store, texts: Sequence[str]) -> dict[str, str]:
    """Each `ROLE=RUN` as run id -> role. Raises UsageError for another form, role or run, and for a run with two."""
    from zoomgap.compare import Role

    roles: dict[str, str] = {}
    for text in texts:
        role, _, run = text.partition("=")
        if role not in get_args(Role) or not run:
            raise UsageError(f"role '{text}' is not ROLE=RUN with a role of {', '.join(get_args(Role))}")
        known = roles.setdefault(store.run(run).id, role)
        if known != role:
            raise UsageError(f"run {run} is given the roles {known} and {role}: give it one")
    return roles


def parse_condition(text: str) -> Condition:
    """A condition on the comparison, as `compare.conditions` reads it."""
    from zoomgap.compare import parse

    return parse(text)


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON, in the form of docs/comparison.schema.json."""
    from zoomgap.compare import document

    return document(comparison)


def compare_runs(store: Store, runs: Sequence[str], roles: Mapping[str, str], allow: Sequence[str] = ()) -> Comparison:
    """Compare stored runs. roles: run id -> base, agent, student, floor, placebo or ceiling.
    allow: settings that may differ
    although they change answers. Times are those of the latest timing session that holds most of the runs, if any.
    """
    from zoomgap.compare import Settings, compare
    from zoomgap.compare.labels import distinct
    from zoomgap.compare.plan import plan_before

    specs = [(store.run(run), role) for run, role in roles.items()]
    named = {spec.id: role if role == spec.arm else f"{role} {spec.arm}" for spec, role in specs}
    data = _timed(store, distinct(_run_data(store, runs, named)))
    plan = plan_before(store.plans(data[0].spec.benchmark), data) if data else None
    settings = Settings(allow=tuple(allow))
    return compare(data, roles=roles, guess=chance, settings=settings, plan=plan)  # type: ignore[arg-type]


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
        if cells is None:
            cells = BINS * len({sample.dimension for sample in samples})
        if cluster_size is None:
            cluster_size = has / len({sample.cluster_name for sample in samples})
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


PICTURE_PIXELS, CROP_PIXELS = 512 * 512, 224 * 224
"""Of a picture and of a crop on a sample page, at most."""
MOST_BYTES = 90_000
"""Of either, at most."""
FORMATS = (".html", ".md", ".json")


def write_report(store: Store, comparison: Comparison, path: Path) -> None:
    """Write the report as the path's suffix says: a page with sample pages, Markdown, or JSON.

    Raises UsageError as check_report does, and ZoomgapError where the file cannot be written; then nothing is left of
    it.
    """
    from zoomgap.compare import markdown, render

    check_report(path)
    if path.suffix == ".json":
        text = json.dumps(document(comparison), indent=1, ensure_ascii=False) + "\n"
    elif path.suffix == ".md":
        text = markdown(comparison)
    else:
        text = render(comparison, sample_groups(store, comparison))
    write_whole(path, text)


def check_report(path: Path) -> None:
    """Raises UsageError now, rather than when all the work is done, for a path that no report can have."""
    if path.suffix not in FORMATS:
        raise UsageError(f"report '{path}' has no form that is known: name it {', '.join('*' + s for s in FORMATS)}")
    if path.is_dir():
        raise UsageError(f"report '{path}' is a folder: give the report a file name")
    if not path.parent.is_dir():
        raise UsageError(f"report '{path}': there is no folder {path.parent}; make it first")


def write_whole(path: Path, text: str) -> None:
    """Write a file as a whole or not at all. Raises ZoomgapError with the system's reason."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ZoomgapError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


def sample_groups(store: Store, comparison: Comparison) -> list[SampleGroup]:
    """Sample pages of the two runs that the comparison is about, drawn at random with its seed."""
    from zoomgap.compare import SampleGroup, contrasts, headline_pair
    from zoomgap.compare.contrasts import EACH

    a, b = headline_pair(comparison)
    names = (comparison.run(a).label, comparison.run(b or a).label)
    seed = comparison.settings.seed
    groups = contrasts(store.results(a), None if b is None else store.results(b), names, seed)
    how = f"Up to {EACH} of each group, drawn at random (seed {seed}) from all its members, not picked."
    return [
        SampleGroup(
            title=group.title,
            total=group.total,
            how=how,
            single=b is None,
            views=[_sample_view(store, pair) for pair in group.drawn],
        )
        for group in groups
    ]


def _sample_view(store: Store, pair: Answered) -> SampleView:
    """A question with its pictures, reduced, and what both runs said and saw."""
    from zoomgap.compare import SampleView

    sample = prompts.vary(pair.a.sample, store.run(pair.a.run).variant)
    return SampleView(
        id=sample.id,
        dimension=sample.dimension,
        question=sample.question,
        choices=sample.choices,
        gold=sample.answer,
        images=[_picture(store, sha256, PICTURE_PIXELS) for sha256 in (sample.image, *sample.more_images)],
        size=sample.size,
        evidence=sample.evidence,
        answers=[_answer_view(store, result) for result in pair if result is not None],
    )


def _picture(store: Store, sha256: str, pixels: int) -> bytes:
    """A stored image as JPEG of at most so many pixels."""
    image = imaging.open_image(store.objects.path(sha256), least=512)
    shown = imaging.fit(image, pixels, factor=8) if image.width * image.height > pixels else image
    return imaging.jpeg_within(shown, MOST_BYTES)


def _answer_view(store: Store, result: Result) -> AnswerView:
    from zoomgap.compare import AnswerView, ZoomView

    zooms = [
        ZoomView(
            step.box,
            step.label or "",
            _picture(store, step.observation.sha256, CROP_PIXELS) if step.observation else b"",
        )
        for step in store.trajectory(result.trajectory).steps
        if step.box is not None and not step.picture
    ]
    return AnswerView(result.run, result.verdict, result.text, zooms)
