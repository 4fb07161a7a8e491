"""Results of several runs as one table: a row for each run, a column for each answer (sample, attempt)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zoomgap.compare.stats import Array, Codes, Mask
from zoomgap.errors import UsageError
from zoomgap.geometry import Frame
from zoomgap.records import Invocation, Result, RunSpec, Sample, TimedAnswer, TimedBlock, TimingSession

Guess = Callable[[Sample], float]
"""Chance of a right answer for one who knows the rules of the set and sees no image."""

MIN_GUESS_SAMPLES = 30
"""A no-image accuracy over fewer answers says less than the rules of the set."""
MAX_GUESS = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class SessionTimes:
    """What a timing session holds of one run."""

    session: TimingSession
    answers: Sequence[TimedAnswer]
    blocks: Sequence[TimedBlock] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """One run as the comparison reads it. label: what people call it in tables and figures.

    crops: what an agent was shown, by sample and attempt, in its order; an answer without any may be absent.
    times, rates: of a timing session in latency and in throughput mode; without, times are those of the results.
    """

    spec: RunSpec
    label: str
    results: Sequence[Result]
    invocations: Sequence[Invocation]
    crops: Mapping[tuple[str, int], tuple[Frame, ...]] = field(default_factory=dict)
    times: SessionTimes | None = None
    rates: SessionTimes | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def model(self) -> tuple[str, str | None, str | None]:
        """What makes two runs runs of one model."""
        return self.spec.model, self.spec.weights, self.spec.endpoint


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """R runs by K answers. right: 1 or 0, NaN where the run has no answer or only an error; error: an endpoint error.

    octave: log2 of the evidence's side in pixels of the direct view, NaN without evidence; tight: whether its boxes
    are tight. guess: the chance of a right answer without seeing, for each run. column: of each sample and attempt.
    """

    runs: tuple[RunData, ...]
    samples: tuple[Sample, ...]
    right: Array
    error: Mask
    cluster: Codes
    dimension: np.ndarray
    octave: Array
    tight: Mask
    guess: Array
    column: Mapping[tuple[str, int], int]

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @property
    def dimensions(self) -> list[str]:
        return sorted(set(self.dimension.tolist()))

    def row(self, run: RunData) -> int:
        return self.runs.index(run)

    def shared(self, *rows: int) -> Mask:
        """The answers that all these runs gave without an error, shape (K,)."""
        return np.asarray(~np.isnan(self.right[list(rows)]).any(axis=0))

    def guess_row(self, row: int) -> int | None:
        """The `no-image` run that the guess rates of a run are read from: its model's own, else the first."""
        return _blind(self.runs, self.runs[row])

    def error_rate(self, row: int) -> float:
        attempted = self.error[row].sum() + self.shared(row).sum()
        return float(self.error[row].sum() / attempted)


def default_guess(sample: Sample) -> float:
    """One over the number of choices; 0 for open questions."""
    return 1 / len(sample.choices) if sample.choices else 0.0


def make_table(runs: Sequence[RunData], guess: Guess = default_guess) -> Table:
    """Line up the runs. Raises UsageError for no runs, a run twice or without results, unlike benchmarks or graders."""
    _check(runs)
    keys: dict[tuple[str, int], int] = {}
    first: list[Result] = []
    for run in sorted(runs, key=lambda r: r.spec.arm != "direct"):
        for result in run.results:
            if keys.setdefault((result.sample.id, result.attempt), len(keys)) == len(first):
                first.append(result)
    right = np.full((len(runs), len(keys)), np.nan)
    error = np.zeros((len(runs), len(keys)), dtype=bool)
    for row, run in enumerate(runs):
        for result in run.results:
            column = keys[result.sample.id, result.attempt]
            if result.verdict == "error":
                error[row, column] = True
            else:
                right[row, column] = result.verdict == "correct"
    samples = tuple(result.sample for result in first)
    _, cluster = np.unique([sample.cluster or sample.id for sample in samples], return_inverse=True)
    sizes = [result.evidence_px for result in first]
    return Table(
        runs=tuple(runs),
        samples=samples,
        right=right,
        error=error,
        cluster=cluster.astype(np.int64),
        dimension=np.array([sample.dimension for sample in samples]),
        octave=np.array([np.log2(size) if size else np.nan for size in sizes]),
        tight=np.array([sample.evidence_kind == "tight" for sample in samples]),
        guess=_guesses(runs, samples, right, guess),
        column=keys,
    )


def graders_of(runs: Sequence[RunData]) -> list[str]:
    """Who gave the verdicts of the runs."""
    return sorted({result.grader for run in runs for result in run.results if result.grader})


def _check(runs: Sequence[RunData]) -> None:
    if not runs:
        raise UsageError("no runs to compare: name at least one")
    for run in runs:
        if not run.results:
            raise UsageError(f"run {run.id} ({run.label}) has no results: run its arm first")
        if run.spec.benchmark_sha256 != runs[0].spec.benchmark_sha256:
            raise UsageError(
                f"runs {runs[0].id} and {run.id} answered unlike benchmarks ({runs[0].spec.benchmark}, "
                f"{run.spec.benchmark}): compare runs of one benchmark"
            )
        if len({(result.sample.id, result.attempt) for result in run.results}) < len(run.results):
            raise UsageError(f"run {run.id} ({run.label}) holds an answer twice: give one result a sample and attempt")
    if len(graders := graders_of(runs)) > 1:
        raise UsageError(f"verdicts of {' and '.join(graders)} cannot be compared: zoomgap regrade the runs first")
    ids = [run.id for run in runs]
    for run_id in ids:
        if ids.count(run_id) > 1:
            raise UsageError(f"run {run_id} is named twice: name each run once")


def _blind(runs: Sequence[RunData], run: RunData) -> int | None:
    """The row of the run's own model at `no-image`, else of the first such run."""
    rows = [row for row, other in enumerate(runs) if other.spec.arm == "no-image"]
    return next((row for row in rows if runs[row].model == run.model), rows[0] if rows else None)


def _guesses(runs: Sequence[RunData], samples: Sequence[Sample], right: Array, guess: Guess) -> Array:
    """Guess rates (R, K): each model's own no-image accuracy by dimension and answer form, else the first one's.

    Where there is no such run, or it has too few answers of the form, the rules of the set speak.
    """
    known = np.array([guess(sample) for sample in samples])
    forms = np.unique([f"{s.dimension}\0{s.answer_kind}" for s in samples], return_inverse=True)[1]
    rates = np.tile(known, (len(runs), 1))
    for row, run in enumerate(runs):
        source = _blind(runs, run)
        if source is None:
            continue
        for form in np.unique(forms):
            answers = right[source, forms == form]
            answers = answers[~np.isnan(answers)]
            if answers.size >= MIN_GUESS_SAMPLES:
                rates[row, forms == form] = answers.mean()
    return np.clip(rates, 0.0, MAX_GUESS)
