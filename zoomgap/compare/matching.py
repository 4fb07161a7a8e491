"""Which runs belong together: arms of one model under one protocol, and when no verdict is given on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData, Table
from zoomgap.records import RunSpec

AGENT_ONLY = ("max_zooms", "tools", "padding", "max_images")
"""Settings of an arm that zooms; one that does not has no use for them."""
OWN = ("arm", "attempts", "match")
"""Settings that two arms need not share: attempts pair up, and `match` is of one arm alone."""


def same_protocol(a: RunData, b: RunData) -> bool:
    """Whether two runs are of one model that sees the full image at one size."""
    return a.model == b.model and a.spec.view_pixels == b.spec.view_pixels


def zooms(spec: RunSpec) -> bool:
    """Whether a run of that spec may zoom, or is at least told that it could."""
    return spec.arm.startswith("agent") or spec.arm == "direct-schema"


def unlike(a: RunSpec, b: RunSpec) -> tuple[str, ...]:
    """Fields in which two arms of one protocol differ and need not, in the order of RunSpec."""
    spared = OWN if zooms(a) and zooms(b) else (*OWN, *AGENT_ONLY)
    return tuple(f.name for f in fields(RunSpec) if f.name not in spared and getattr(a, f.name) != getattr(b, f.name))


def counterpart(runs: Sequence[RunData], run: RunData, arm: str) -> RunData | None:
    """The run of `arm` that is most like `run`, of its model and protocol; None where there is none.

    One that zooms must be allowed as many zooms, else the two differ in more than what a zoom shows.
    """
    found = [
        other
        for other in runs
        if other is not run
        and other.spec.arm == arm
        and same_protocol(other, run)
        and (not (zooms(other.spec) and zooms(run.spec)) or other.spec.max_zooms == run.spec.max_zooms)
    ]
    return min(found, key=lambda other: len(unlike(other.spec, run.spec)), default=None)


def refusal(table: Table, rows: Sequence[int], settings: Settings) -> str:
    """Why no verdict is given on these runs of the table, or ""."""
    labels = [table.runs[row].label for row in rows if table.error_rate(row) > settings.max_error_rate]
    return f"over {settings.max_error_rate:.0%} endpoint errors in {', '.join(labels)}" if labels else ""
