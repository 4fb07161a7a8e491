"""What a comparison says, as frozen records. Accuracies are shares; px are pixels of the direct view; ms wall time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from zoomgap.compare.acuity import Acuity
from zoomgap.compare.agent_rows import Contribution, Dual, GapPart
from zoomgap.compare.latency import Timing
from zoomgap.compare.sessions import LatencySession, ThroughputSession

Role = Literal["base", "agent", "student", "floor", "placebo", "ceiling"]
PairVerdict = Literal["a better", "b better", "equivalent", "undecided", "refused"]
CellVerdict = Literal["neither reads it", "one glance suffices", "distilled", "zoom still needed", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fixed before any result is read. margin: equivalence margin; min_cell: fewest answers that a verdict rests on."""

    confidence: float = 0.95
    margin: float = 0.05
    min_cell: int = 350
    max_error_rate: float = 0.02
    draws: int = 1000
    curve_draws: int = 300
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Model accuracy over n answers without endpoint errors, with its Wilson interval."""

    n: int
    correct: int
    accuracy: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionScore:
    """guess: chance of a right answer without seeing. acuity: the fitted curve, None where boxes are not tight."""

    n: int
    correct: int
    accuracy: float | None
    low: float
    high: float
    guess: float | None
    acuity: Acuity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceScore:
    """evidence_low, evidence_high: the bin's sizes in px, None where the set has no evidence boxes."""

    evidence_low: float | None
    evidence_high: float | None
    n: int
    correct: int
    accuracy: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run. accuracy is service accuracy (an error is wrong), low and high its Wilson interval.

    n: answers asked for; attempted: answers there are. Tokens, turns, zooms and cost are means an answer, None where
    any is unknown. seconds: time that its commands took, None where one was cut short. resumed: answers from before
    the latest invocation.
    acuity_*: geometric mean over acuity_dimensions. timing: of the most common circumstances alone.
    """

    run: str
    label: str
    role: Role | None
    bench: str
    arm: str
    model: str
    n: int
    attempted: int
    answered: int
    unparsed: int
    errors: int
    correct: int
    accuracy: float
    low: float
    high: float
    model_accuracy: float | None
    service_accuracy: float
    p50_ms: float | None
    p95_ms: float | None
    prompt_tokens: float | None
    completion_tokens: float | None
    image_tokens: float | None
    turns: float | None
    zooms: float | None
    cost: float | None
    seconds: float | None
    resumed: int
    acuity_px: float | None
    acuity_low: float | None
    acuity_high: float | None
    acuity_dimensions: tuple[str, ...]
    ceiling: float | None
    by_dimension: Mapping[str, DimensionScore]
    by_evidence: tuple[EvidenceScore, ...]
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """Runs a and b over the n answers that both gave without an error; difference is accuracy(a) - accuracy(b).

    p_value: exact cluster sign-flip, adjusted by Holm over the pairs of the comparison; p_raw: before that.
    latency_ratio: a / b, None with the reasons in latency_refused.
    """

    a: str
    b: str
    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float | None
    low: float | None
    high: float | None
    p_value: float
    p_raw: float
    test: str
    latency_ratio: float | None
    latency_low: float | None
    latency_high: float | None
    latency_refused: tuple[str, ...]
    latency_parts: Mapping[str, float | None]
    verdict: PairVerdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """accuracy(a) - accuracy(b) of two arms of one model. name: zooming, localisation, resolution or tool."""

    name: str
    model: str
    a: str
    b: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    by_dimension: tuple[GapPart, ...]
    by_evidence: tuple[GapPart, ...]
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """(accuracy(role) - floor) / (ceiling - floor) over shared answers; None where the two ends are not apart."""

    role: Role
    n: int
    share: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcuityRatio:
    """Geometric mean over `dimensions` of threshold(a) / threshold(b); under 1, a reads smaller things.

    A bound is None where it lies beyond the sizes shown.
    """

    a: str
    b: str
    ratio: float
    low: float | None
    high: float | None
    dimensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The verdict on one dimension, or on "all kinds", at one size of evidence; None, None is all sizes.

    bounds: the simultaneous bounds that it rests on.
    """

    dimension: str
    evidence_low: float | None
    evidence_high: float | None
    n: int
    verdict: CellVerdict
    reason: str
    bounds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolDifference:
    """A field of RunSpec in which runs differ, with each run's value."""

    field: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole comparison. Equal inputs and settings give an equal comparison. grader: of all verdicts, "" unknown.

    verdict_note: why there are no verdicts, or "". dual, contribution: one for each run of an agent.
    timing_session, throughput: what the latest sessions that timed the runs say, None where there is none.
    """

    settings: Settings
    bench: str
    grader: str
    runs: tuple[RunRow, ...]
    pairs: tuple[PairRow, ...]
    gaps: tuple[Gap, ...]
    recovered: tuple[Share, ...]
    acuity_ratios: tuple[AcuityRatio, ...]
    verdicts: tuple[Cell, ...]
    verdict_note: str
    dual: tuple[Dual, ...]
    contribution: tuple[Contribution, ...]
    protocol_differences: tuple[ProtocolDifference, ...]
    timing_session: LatencySession | None = None
    throughput: ThroughputSession | None = None

    def run(self, run: str) -> RunRow:
        return next(row for row in self.runs if row.run == run)

    def role(self, role: Role) -> RunRow | None:
        return next((row for row in self.runs if row.role == role), None)

    def pair(self, a: str, b: str) -> PairRow | None:
        """The pair of these two runs, in this order only."""
        return next((pair for pair in self.pairs if (pair.a, pair.b) == (a, b)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: no tuples, no NaN or infinity (null instead)."""
        value: dict[str, Any] = _plain(asdict(self))
        return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
