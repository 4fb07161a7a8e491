"""What a comparison says, as frozen records. Accuracies are shares; px are pixels of the direct view; ms wall time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from zoomgap.compare.acuity import Acuity
from zoomgap.compare.agent_rows import Contribution, Dual, GapPart
from zoomgap.compare.latency import Timing
from zoomgap.compare.routed import Routed
from zoomgap.compare.sessions import LatencySession, ThroughputSession
from zoomgap.records import Plan

Role = Literal["base", "agent", "student", "floor", "placebo", "ceiling"]
PairVerdict = Literal["a better", "b better", "equivalent", "undecided", "refused"]
Kind = Literal["arm", "model", "protocol"]
CellVerdict = Literal["neither reads it", "one glance suffices", "distilled", "zoom still needed", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fixed before any result is read. margin: equivalence margin; min_cell: fewest answers that a verdict rests on.

    allow: settings of runs that may differ although they change answers (`protocol.KINDS`).
    power: chance with which a difference that is called detectable is found.
    """

    confidence: float = 0.95
    margin: float = 0.05
    power: float = 0.8
    min_cell: int = 350
    max_error_rate: float = 0.02
    draws: int = 2000
    curve_draws: int = 200
    seed: int = 0
    allow: tuple[str, ...] = ()


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
    acuity_*: geometric mean over acuity_dimensions. timing: of the most common circumstances alone. incomplete: why
    answers to the benchmark are missing, "" where none is or its size is not known.
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
    incomplete: str

    @property
    def acuity_unknown(self) -> str:
        """Why acuity_px is None, as most kinds of question have it; "" where it is known."""
        if self.acuity_px is not None:
            return ""
        beyond = [score.acuity.beyond for score in self.by_dimension.values() if score.acuity and score.acuity.beyond]
        if not beyond:
            return "not known"
        most = max(sorted(set(beyond)), key=beyond.count)
        return f"{most}, {beyond.count(most)} of {len(self.by_dimension)} kinds"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """Runs a and b over the n answers that both gave without an error; difference is accuracy(a) - accuracy(b).

    p_value: mid-p of the cluster sign-flip test, adjusted by Holm over the pairs of the comparison; p_raw: before that;
    p_exact: the exact p, unadjusted. detectable: the smallest difference that so many answers show with the power of
    the settings, None where none would; design_effect: of the difference. noise_floor: the larger of the two arms',
    None where neither was asked again.
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
    p_exact: float
    test: str
    detectable: float | None
    design_effect: float
    noise_floor: float | None
    latency_ratio: float | None
    latency_low: float | None
    latency_high: float | None
    latency_refused: tuple[str, ...]
    latency_parts: Mapping[str, float | None]
    verdict: PairVerdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """Reruns of one arm, which differ in `differ` alone. n: answers that the two with the fewest share.

    flips: share of verdicts that differ between two reruns, with its interval; accuracy_low, accuracy_high: of the
    reruns. floor: a difference of accuracies under it is what asking again brings: the largest between two reruns, or
    where that is less the half-width of the interval of no difference at so many flips.
    """

    runs: tuple[str, ...]
    differ: tuple[str, ...]
    reruns: int
    n: int
    flips: float
    flips_low: float
    flips_high: float
    accuracy_low: float
    accuracy_high: float
    floor: float


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
    """A field of RunSpec in which runs differ, with each run's value. kind: whose it is (`protocol.KINDS`)."""

    field: str
    kind: Kind
    values: Mapping[str, Any]

    @property
    def grouped(self) -> list[tuple[Any, list[str]]]:
        """Each value with the runs that have it, in their order."""
        values: list[Any] = []
        for value in self.values.values():
            if value not in values:
                values.append(value)
        return [(value, [run for run, own in self.values.items() if own == value]) for value in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFault:
    """A setting in which runs a and b differ although it changes answers and is not what they are compared for.

    Unless it is allowed, no verdict is given on the pair.
    """

    a: str
    b: str
    field: str
    a_value: Any
    b_value: Any
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """How a run came about. spec: every field of its RunSpec. The rest are of its invocations, of which there are so
    many: when the first and the last began, each code revision, set of packages and processor, once.
    """

    run: str
    spec: Mapping[str, Any]
    invocations: int
    first: str | None
    last: str | None
    revisions: tuple[str, ...]
    packages: tuple[str, ...]
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole comparison. Equal inputs and settings give an equal comparison. grader: of all verdicts, "" unknown.

    verdict_note: why there are no verdicts, or "". dual, contribution: one for each run of an agent.
    timing_session, throughput: what the latest sessions that timed the runs say, None where there is none.
    roles: those that were given, by run; the others are read from the arms.
    router: between the student's glance, or else the base's, and the agent; None for the reason in no_router.
    margin_note: where the margin comes from; notes: what a reader has to know before the figures; both in words.
    plan: what was stored before the first answer, or None.
    """

    settings: Settings
    bench: str
    grader: str
    roles: Mapping[str, Role]
    plan: Plan | None
    margin_note: str
    notes: tuple[str, ...]
    noise: tuple[NoiseFloor, ...]
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
    protocol_faults: tuple[ProtocolFault, ...]
    identities: tuple[RunIdentity, ...]
    router: Routed | None = None
    no_router: str = ""

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
