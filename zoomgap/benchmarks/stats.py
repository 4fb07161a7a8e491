"""What a set of samples is made of, in counts and quartiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from zoomgap.errors import UsageError
from zoomgap.imaging import scale_of
from zoomgap.records import AnswerKind, EvidenceKind, Sample

VIEWS = (65_536, 1024 * 1024)
"""Budgets of the direct view in pixels: the embedded model's, and what served models usually get. A side in pixels of
the view is the size that acuity is measured in."""
MEGAPIXELS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Lower edges of the bins of image sizes; each ends where the next begins, the last one nowhere."""


def stats(samples: Sequence[Sample]) -> dict[str, Any]:
    """Counts by dimension, answer, image size and evidence, as plain JSON values with the same keys for every set.

    Images are counted once however many samples ask about them. Quartiles are of samples with evidence, in pixels.
    Raises UsageError for no samples.
    """
    if not samples:
        raise UsageError("a benchmark without samples has nothing to count: import or make it again")
    areas = np.array([size.pixels / 1e6 for size in {sample.image: sample.size for sample in samples}.values()])
    bins = np.histogram(areas, [*MEGAPIXELS, np.inf])[0]
    ends = [*MEGAPIXELS[1:], None]
    return {
        "n": len(samples),
        "images": len(areas),
        "clusters": len({sample.cluster_name for sample in samples}),
        "without_evidence": sum(not sample.evidence for sample in samples),
        "dimensions": [_dimension(name, group) for name, group in _by_dimension(samples).items()],
        "answer_kinds": _counts((s.answer_kind for s in samples), get_args(AnswerKind)),
        "choices": dict(sorted(Counter(str(len(s.choices)) for s in samples if s.choices).items())),
        "golds": _golds(samples),
        "megapixels": {
            **_quartiles(areas),
            "bins": [
                {"low": low, "high": high, "images": int(n)}
                for low, high, n in zip(MEGAPIXELS, ends, bins, strict=True)
            ],
        },
        "evidence_kinds": _counts((s.evidence_kind for s in samples if s.evidence_kind), get_args(EvidenceKind)),
        "evidence_px": {
            "original": _evidence(samples),
            **{f"view_{view}": _evidence(samples, view) for view in VIEWS},
        },
    }


def _by_dimension(samples: Iterable[Sample]) -> Mapping[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.dimension, []).append(sample)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _dimension(name: str, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "dimension": name,
        "n": len(samples),
        **_counts((s.answer_kind for s in samples), get_args(AnswerKind)),
        "without_evidence": sum(not sample.evidence for sample in samples),
        f"view_{VIEWS[0]}": _evidence(samples, VIEWS[0]),
    }


def _counts(found: Iterable[str], known: Sequence[str]) -> dict[str, int]:
    counted = Counter(found)
    return {name: counted[name] for name in known}


def _golds(samples: Iterable[Sample]) -> dict[str, Any]:
    """How often each letter is right, and what naming always the commonest would score beside guessing blindly."""
    asked = [sample for sample in samples if sample.answer_kind == "choice"]
    letters = Counter(sample.answer for sample in asked)
    return {
        "letters": dict(sorted(letters.items())),
        "commonest": max(letters.values()) / len(asked) if asked else None,
        "chance": float(np.mean([1 / max(len(sample.choices), 1) for sample in asked])) if asked else None,
    }


def _evidence(samples: Iterable[Sample], view: int | None = None) -> dict[str, float | None]:
    """Of the smallest box of each sample, in pixels of the original or of the direct view at a budget of `view`."""
    sides = [
        sample.evidence_side * (1.0 if view is None else scale_of(sample.size, view))
        for sample in samples
        if sample.evidence_side is not None
    ]
    return _quartiles(np.array(sides))


def _quartiles(values: np.ndarray) -> dict[str, float | None]:
    names = ("min", "q1", "median", "q3", "max")
    if not len(values):
        return dict.fromkeys(names)
    found = np.percentile(values, (0, 25, 50, 75, 100))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}
