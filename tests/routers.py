"""Routers made by hand, where a test needs a decision and not a fit."""

from __future__ import annotations

from typing import Any

from zoomgap.records import RunSpec
from zoomgap.routers import Router, described

SPEC = RunSpec(benchmark="b", benchmark_sha256="0", arm="direct", model="m")


def router(threshold: float = 0.0, *, of: RunSpec = SPEC, **fields: Any) -> Router:
    """It zooms where the confidence, in logits, is under the threshold; 0 is a probability of one half."""
    given: dict[str, Any] = {
        "method": "threshold", "features": ("confidence",), "calls": 1, "intercept": 0.0,
        "coefficients": {"confidence": 1.0}, "threshold": threshold, "target": {"accuracy_loss": 0.01},
        "glance": described(of), "agent": described(of), "fitted_on": {"images": []}, "expected": {}, **fields,
    }  # fmt: skip
    return Router(**given)
