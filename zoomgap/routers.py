"""A router: it keeps a direct answer that it is sure of, and has the others asked again of an agent that zooms.

It reads what a user has who asks a question: the reply, the model's own probabilities, the form of the question. The
gold and the evidence boxes are none of its business. It is fitted in compare.routing and stands in a small JSON file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from zoomgap.errors import UsageError
from zoomgap.records import RunSpec, Sample, digest

Method = Literal["threshold", "logistic"]
Feature = Literal[
    "confidence", "min_probability", "margin", "agreement", "answer_kind", "dimension", "image_size", "reply_length"
]
FEATURES: tuple[str, ...] = get_args(Feature)
SURE: tuple[str, ...] = ("confidence", "min_probability", "margin", "agreement")
"""Features of which more is surer: each can be a score by itself."""
PROBABILITIES: tuple[str, ...] = SURE[:3]
"""Features that need the model's token probabilities."""
USUAL: tuple[str, ...] = ("confidence", "min_probability", "margin", "answer_kind", "image_size", "reply_length")
"""Features of a logistic router, unless others are named: those that cost no further call and hold for any question."""
VERSION = 1
MAX_LOGIT = 14.0
"""A probability this near to 0 or 1 (in logits) is as good as certain."""
IMAGE_DIGITS = 10
"""Hex digits by which the file remembers an image that the router was fitted on."""
_ENDS = {"never": -math.inf, "always": math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What a router may know of a direct answer.

    answer: what the grading rules read in the reply, gold unseen, or None. confidence, min_probability, margin: as a
    Step has them, None where unknown. agreement: share of the further direct answers that say the same, None without
    any.
    """

    sample: Sample
    text: str
    answer: str | None
    confidence: float | None = None
    min_probability: float | None = None
    margin: float | None = None
    agreement: float | None = None


def columns_of(signals: Signals, features: Sequence[str]) -> dict[str, float] | None:
    """Numbers by column name; None where one is missing. Probabilities are in logits, sizes and lengths in log2."""
    columns: dict[str, float] = {}
    for name in features:
        if name in ("answer_kind", "dimension"):
            columns[f"{name}={getattr(signals.sample, name)}"] = 1.0
        elif name == "image_size":
            columns[name] = math.log2(signals.sample.width * signals.sample.height)
        elif name == "reply_length":
            columns[name] = math.log2(1 + len(signals.text))
        elif (value := getattr(signals, name)) is None:
            return None
        else:
            columns[name] = _logit(value) if name in ("confidence", "min_probability") else value
    return columns


def agreement_of(answers: Sequence[str | None]) -> float | None:
    """Share of the further answers that say what the first says; None without any."""
    first, *others = answers
    return sum(answer == first for answer in others) / len(others) if others else None


def check_features(method: str, features: Sequence[str]) -> None:
    """Raises UsageError for an unknown method or feature, and for one that is no score by itself."""
    if method not in get_args(Method):
        raise UsageError(f"method '{method}' is not known: use {' or '.join(get_args(Method))}")
    if unknown := [name for name in features if name not in FEATURES]:
        raise UsageError(f"feature '{unknown[0]}' is not known: use some of {', '.join(FEATURES)}")
    if not features or len(set(features)) < len(features):
        raise UsageError("features are named once each, and at least one")
    if method == "threshold" and (len(features) != 1 or features[0] not in SURE):
        raise UsageError(f"a threshold is on one score: give one of {', '.join(SURE)}, or the method logistic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """score = intercept + coefficients x columns; it zooms where score < threshold, or where no answer can be read.

    calls: direct answers that it asks for (over one where it counts agreement). threshold: -inf never zooms, inf
    always. target: what the threshold was chosen for. glance, agent: whose answers it was fitted on, as
    `described` says. fitted_on: benchmark, number of questions, hashes of the two runs' answers, and the first digits
    of the images' sha256. expected: its cross-fitted figures.
    """

    method: Method
    features: tuple[str, ...]
    calls: int
    intercept: float
    coefficients: Mapping[str, float]
    threshold: float
    target: Mapping[str, float]
    glance: Mapping[str, Any]
    agent: Mapping[str, Any]
    fitted_on: Mapping[str, Any]
    expected: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Of its canonical JSON."""
        return digest(self.to_json())

    @property
    def needs_probabilities(self) -> bool:
        return any(name in PROBABILITIES for name in self.features)

    def score(self, signals: Signals) -> float:
        """How sure it is; -inf where the answer cannot be read or a feature is missing."""
        columns = None if signals.answer is None else columns_of(signals, self.features)
        if columns is None:
            return -math.inf
        return self.intercept + sum(self.coefficients.get(name, 0.0) * value for name, value in columns.items())

    def zooms(self, signals: Signals) -> bool:
        """Whether the question is to be asked again of the agent."""
        return self.score(signals) < self.threshold

    def check_glance(self, spec: RunSpec) -> None:
        """Raises UsageError unless the direct answers of such a run are of the kind that it was fitted on."""
        own, other = dict(self.glance), described(spec)
        names = ("weights" if own["weights"] and other["weights"] else "model", "view_pixels", "temperature")
        if apart := next((name for name in names if own[name] != other[name]), None):
            raise UsageError(
                f"the router was fitted on direct answers with {apart} {own[apart]}, and these have {other[apart]}: "
                "use those, or fit a router for these (`zoomgap route fit`)"
            )

    def to_json(self) -> dict[str, Any]:
        ends = {value: name for name, value in _ENDS.items()}
        return {"zoomgap_router": VERSION, **asdict(self), "features": list(self.features),
                "threshold": ends.get(self.threshold, self.threshold)}  # fmt: skip

    @classmethod
    def from_json(cls, value: Any) -> Router:
        """Raises UsageError for what is no router of this version."""
        if not isinstance(value, dict) or "zoomgap_router" not in value:
            raise UsageError("it is no router: name a file that `zoomgap route fit -o FILE` wrote")
        if value["zoomgap_router"] != VERSION:
            raise UsageError(f"it is a router of version {value['zoomgap_router']}, and {VERSION} is read: fit it anew")
        fields = {name: part for name, part in value.items() if name != "zoomgap_router"}
        try:
            router = cls(**{
                **fields, "features": tuple(fields["features"]), "calls": int(fields["calls"]),
                "intercept": float(fields["intercept"]),
                "coefficients": {str(name): float(number) for name, number in fields["coefficients"].items()},
                "threshold": _ENDS.get(fields["threshold"]) or float(fields["threshold"]),
            })  # fmt: skip
            check_features(router.method, router.features)
            parts = (router.target, router.glance, router.agent, router.fitted_on, router.expected)
            whole = all(isinstance(part, dict) for part in parts)
            known = {"model", "weights", "view_pixels", "temperature"} <= set(router.glance)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"it is a router with a fault ({error}): fit it anew") from error
        finite = all(map(math.isfinite, [router.intercept, *router.coefficients.values()]))
        if not (whole and known and finite and router.calls > 0) or math.isnan(router.threshold):
            raise UsageError("it is a router with a fault: fit it anew")
        return router


def read_router(path: Path) -> Router:
    """A router from its file. Raises UsageError, which names the file, for anything else."""
    try:
        return Router.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"router '{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"router '{path}' is no text: name a file that `zoomgap route fit -o FILE` wrote") from error
    except ValueError as error:
        raise UsageError(f"router '{path}' is no JSON: {error}") from error
    except UsageError as error:
        raise UsageError(f"router '{path}': {error}") from error


def write_router(router: Router, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(router.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def described(spec: RunSpec) -> dict[str, Any]:
    """Of a run what a router has to know of whose answers they are."""
    return {
        "run": spec.id, "arm": spec.arm, "model": spec.model, "weights": spec.weights, "endpoint": spec.endpoint,
        "view_pixels": spec.view_pixels, "temperature": spec.sampling.temperature,
    }  # fmt: skip


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.copysign(MAX_LOGIT, probability - 0.5)
    return max(-MAX_LOGIT, min(MAX_LOGIT, math.log(probability / (1 - probability))))
