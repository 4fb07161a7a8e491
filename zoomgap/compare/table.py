"""Results of several runs as one table: a row for each run, a column for each answer (sample, attempt)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

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


Key = tuple[str, int]
"""Sample and attempt: one answer; of a timing session, sample and round."""


class Columns(ABC):
    """Answers read into columns once, in their order: a comparison goes over them many times."""

    @abstractmethod
    def answered(self) -> Sequence[Result | TimedAnswer]:
        """The answers."""

    @cached_property
    def places(self) -> dict[Key, int]:
        """The place of each answer."""
        return {_key(answer): place for place, answer in enumerate(self.answered())}

    @cached_property
    def verdicts(self) -> np.ndarray:
        return np.array([answer.verdict for answer in self.answered()])

    def column(self, name: str) -> Array:
        """A number of every answer, NaN where it is not known."""
        if name not in self._columns:
            self._columns[name] = np.array([getattr(answer, name) for answer in self.answered()], dtype=np.float64)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, Array]:
        return {}


def _key(answer: Result | TimedAnswer) -> Key:
    return (answer.sample.id, answer.attempt) if isinstance(answer, Result) else (answer.sample, answer.round)


@dataclass(frozen=True, eq=False)
class SessionTimes(Columns):
    """What a timing session holds of one run."""

    session: TimingSession
    answers: Sequence[TimedAnswer]
    blocks: Sequence[TimedBlock] = ()

    def answered(self) -> Sequence[TimedAnswer]:
        return self.answers


@dataclass(frozen=True, eq=False)
class RunData(Columns):
    """One run as the comparison reads it. label: what people call it in tables and figures.

    crops: what an agent was shown, by sample and attempt, in its order; an answer without any may be absent.
    times, rates: of a timing session in latency and in throughput mode; without, times are those of the results.
    samples: of its whole benchmark, None where that is not known.
    """

    spec: RunSpec
    label: str
    results: Sequence[Result]
    invocations: Sequence[Invocation]
    crops: Mapping[Key, tuple[Frame, ...]] = field(default_factory=dict)
    times: SessionTimes | None = None
    rates: SessionTimes | None = None
    samples: int | None = None

    def answered(self) -> Sequence[Result]:
        return self.results

    @cached_property
    def invoked(self) -> np.ndarray:
        """The invocation of each answer."""
        return np.array([result.invocation for result in self.results])

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def model(self) -> tuple[str, str | None, str | None]:
        """What makes two runs runs of one model."""
        return self.spec.model, self.spec.weights, self.spec.endpoint


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """R runs by K answers, each an `attempt` at a `sample` (by number).

    right: 1 or 0, NaN where the run has no answer or only an error; error: an endpoint error.

    octave: log2 of the evidence's side in pixels of the direct view, NaN without evidence; tight: whether its boxes
    are tight. guess: the chance of a right answer without seeing, for each run. column: of each sample and attempt.
    """

    runs: tuple[RunData, ...]
    samples: tuple[Sample, ...]
    sample: Codes
    attempt: Codes
    right: Array
    error: Mask
    cluster: Codes
    dimension: np.ndarray
    octave: Array
    tight: Mask
    guess: Array
    column: Mapping[Key, int]

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
    columns: dict[Key, int] = {}
    first: list[Result] = []
    for run in sorted(runs, key=lambda r: r.spec.arm != "direct"):
        for key, place in run.places.items():
            if columns.setdefault(key, len(columns)) == len(first):
                first.append(run.results[place])
    right = np.full((len(runs), len(columns)), np.nan)
    error = np.zeros((len(runs), len(columns)), dtype=bool)
    for row, run in enumerate(runs):
        column = np.fromiter((columns[key] for key in run.places), dtype=np.int64, count=len(run.places))
        error[row, column] = run.verdicts == "error"
        right[row, column] = np.where(run.verdicts == "error", np.nan, run.verdicts == "correct")
    samples = tuple(result.sample for result in first)
    _, cluster = np.unique([sample.cluster_name for sample in samples], return_inverse=True)
    sizes = [result.evidence_px for result in first]
    return Table(
        runs=tuple(runs),
        samples=samples,
        sample=np.unique([sample.id for sample in samples], return_inverse=True)[1].astype(np.int64),
        attempt=np.array([result.attempt for result in first], dtype=np.int64),
        right=right,
        error=error,
        cluster=cluster.astype(np.int64),
        dimension=np.array([sample.dimension for sample in samples]),
        octave=np.array([np.log2(size) if size else np.nan for size in sizes]),
        tight=np.array([sample.evidence_kind == "tight" for sample in samples]),
        guess=_guesses(runs, samples, right, guess),
        column=columns,
    )


def graders_of(runs: Sequence[RunData]) -> list[str]:
    """Who gave the verdicts of the runs."""
    return sorted({result.grader for run in runs for result in run.results if result.grader})


def _version(spec: RunSpec) -> str:
    return f"{spec.benchmark} {spec.benchmark_sha256[:12]}"


def _check(runs: Sequence[RunData]) -> None:
    if not runs:
        raise UsageError("no runs to compare: name at least one")
    for run in runs:
        if not run.results:
            raise UsageError(f"run {run.id} ({run.label}) has no results: run its arm first")
        if run.spec.benchmark_sha256 != runs[0].spec.benchmark_sha256:
            versions = f"({_version(runs[0].spec)} and {_version(run.spec)})"
            unlike = (
                "unlike benchmarks" if run.spec.benchmark != runs[0].spec.benchmark else "two versions of a benchmark"
            )
            raise UsageError(
                f"runs {runs[0].id} and {run.id} answered {unlike} {versions}: compare runs of one version of one "
                "benchmark"
            )
        if len(run.places) < len(run.results):
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
    names = {form: code for code, form in enumerate(sorted({(s.dimension, s.answer_kind) for s in samples}))}
    forms = np.array([names[s.dimension, s.answer_kind] for s in samples])
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
