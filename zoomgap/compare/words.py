"""Figures of a comparison as a reader sees them, in every format of the report. A dash is a value that is not known."""

from __future__ import annotations

from typing import Any

DASH = "–"


def share(value: float | None) -> str:
    """A share in per cent, without the sign for it."""
    return DASH if value is None else f"{value * 100:.1f}"


def points(value: float | None) -> str:
    """A difference of shares in points, with its sign."""
    return DASH if value is None else f"{value * 100:+.1f}".replace("-", "−")


def whole(value: float) -> str:
    """A share in whole per cent."""
    return f"{round(value * 100)}".replace("-", "−")


def px(value: float | None) -> str:
    """A size in pixels: a tenth under 100, whole from there up."""
    return DASH if value is None else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def sizes(low: float | None, high: float | None) -> str:
    """An interval of sizes; a bound is None where it lies beyond the sizes shown."""
    if low is None or high is None:
        return f"up to {px(high)}" if high is not None else f"from {px(low)} up" if low is not None else "no bounds"
    return f"{px(low)} to {px(high)}"


def count(value: float | None) -> str:
    """A mean of counts or milliseconds: three digits, whole from 100 up."""
    if value is None:
        return DASH
    size = abs(value)
    places = 0 if size >= 99.95 or size == 0 else 1 if size >= 9.995 else 2
    return f"{value:,.{places}f}".replace("-", "−")


def p(value: float) -> str:
    """A p value; under 0.0001 only that."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def field(value: Any) -> str:
    """A setting of a run: hashes by their first digits, lists without brackets, 0 for 0.0."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(field, value)) or "none"
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text[:12] + "…" if len(text) == 64 and " " not in text else text


FILTERS = {
    "share": share, "points": points, "whole": whole, "px": px, "sizes": sizes, "ms": count, "count": count, "p": p,
    "value": field,
}  # fmt: skip
"""By the names that templates use."""
