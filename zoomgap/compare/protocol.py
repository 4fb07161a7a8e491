"""One protocol for all: in which settings runs differ, which of them are meant to, and which put a comparison in doubt.

A setting is of one of three kinds. `arm`: arms are told apart by it. `model`: the model under test and what comes with
it. `protocol`: it changes answers and has to be alike. A difference of any kind is a fault of a pair of runs where it
is not what the two are compared for: the difference of their accuracies may then come from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from zoomgap.compare.rows import Kind, ProtocolDifference, ProtocolFault, Settings
from zoomgap.compare.table import Table
from zoomgap.compare.words import field as in_words
from zoomgap.errors import UsageError
from zoomgap.records import RunSpec

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "arm", "match", "max_zooms", "tools", "padding", "attempts", "sampling.seed", "router", "agent",
            "agent_model", "variant",
        ),
        "arm",
    ),
    **dict.fromkeys(
        (
            "model", "weights", "endpoint", "wire", "image_return", "convention", "dialect", "renders_tools", "resize",
            "min_pixels", "max_pixels", "tile", "max_side", "max_images", "factor", "min_crop_pixels", "crop_pixels",
        ),
        "model",
    ),
    **dict.fromkeys(
        (
            "benchmark", "benchmark_sha256", "prompts", "suffix", "dtype", "view_pixels", "sampling.temperature",
            "sampling.top_p", "sampling.max_tokens", "sampling.stop",
        ),
        "protocol",
    ),
}  # fmt: skip
"""Every field of RunSpec, those of its sampling by their own names."""

ZOOMING = ("agent", "agent-lowres", "agent-random", "agent-blind")
CROPPING = (*ZOOMING, "region", "region-lowres", "oracle", "tiles")
RIVALS = ("direct", "direct-matched", "tiles")
"""Arms of one call that may be given a larger view instead of zooms."""
OF_ZOOMS = (
    "max_zooms", "tools", "padding", "image_return", "convention", "dialect", "renders_tools", "resize", "min_pixels",
    "max_pixels", "tile", "max_side", "max_images",
)  # fmt: skip
OF_CROPS = ("min_crop_pixels", "crop_pixels")


def flat(spec: RunSpec) -> dict[str, Any]:
    """The fields of a run's identity, those of sampling by their own names."""
    fields: dict[str, Any] = {}
    for name, value in asdict(spec).items():
        fields |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return fields


def protocol_differences(specs: Sequence[RunSpec]) -> tuple[ProtocolDifference, ...]:
    """Every field of RunSpec in which the runs differ; those of sampling by their own names."""
    fields = [flat(spec) for spec in specs]
    return tuple(
        ProtocolDifference(
            field=name,
            kind=KINDS[name],
            values={spec.id: own[name] for spec, own in zip(specs, fields, strict=True)},
        )
        for name in fields[0]
        if any(own[name] != fields[0][name] for own in fields)
    )


def protocol_faults(specs: Sequence[RunSpec], allow: Sequence[str] = ()) -> tuple[ProtocolFault, ...]:
    """The settings that put pairs of these runs in doubt, pair by pair. allow: fields that may differ all the same.

    Raises UsageError for an allowed field that no run has.
    """
    if unknown := [name for name in allow if name not in KINDS]:
        raise UsageError(f"setting '{unknown[0]}' is not known: allow one of {', '.join(sorted(KINDS))}")
    return tuple(fault for a, b in combinations(specs, 2) for fault in _faults(a, b, specs, allow))


def refusal(table: Table, rows: Sequence[int], settings: Settings) -> str:
    """Why no verdict is given on these runs of the table, or "": endpoint errors, or settings that are not alike."""
    labels = [table.runs[row].label for row in rows if table.error_rate(row) > settings.max_error_rate]
    if labels:
        return f"over {settings.max_error_rate:.0%} endpoint errors in {', '.join(labels)}"
    specs = [run.spec for run in table.runs]
    pairs = combinations([specs[row] for row in rows], 2)
    faults = [fault for a, b in pairs for fault in _faults(a, b, specs, settings.allow)]
    return doubt([fault for fault in faults if not fault.allowed])


def doubt(faults: Sequence[ProtocolFault]) -> str:
    """The faults of some runs in one line, or "" where there are none."""
    told = {fault.field: f"{fault.field} ({in_words(fault.a_value)} and {in_words(fault.b_value)})" for fault in faults}
    if not told:
        return ""
    allowed = " ".join(f"--allow {name}" for name in told)
    return (
        f"these runs differ in {', '.join(told.values())}: a difference may come from it "
        f"({allowed} compares them all the same)"
    )


def _faults(a: RunSpec, b: RunSpec, specs: Sequence[RunSpec], allow: Sequence[str]) -> Iterator[ProtocolFault]:
    """Fields in which two runs differ and should not. specs: of all runs that are compared."""
    left, right = flat(a), flat(b)
    for name in left:
        if left[name] != right[name] and not _meant(name, a, b, specs):
            yield ProtocolFault(
                a=a.id, b=b.id, field=name, a_value=left[name], b_value=right[name], allowed=name in allow
            )


def _meant(name: str, a: RunSpec, b: RunSpec, specs: Sequence[RunSpec]) -> bool:
    """Whether this difference is what the two are compared for, follows from it, or changes no answer of theirs."""
    arms = (a.arm, b.arm)
    if name in OF_ZOOMS and not all(arm in ZOOMING for arm in arms):
        return True
    if name in OF_CROPS and not all(arm in CROPPING for arm in arms):
        return True
    if name in ("max_zooms", "tools", "padding"):
        # Two forms of the agent are compared for it; an agent and its control have to zoom alike, unless the one's own
        # counterpart is there and these two are not compared for what zooming shows.
        return a.arm == b.arm or any(
            same_model(one, other) and one.arm == other.arm and getattr(one, name) == getattr(mate, name)
            for mate, other in ((a, b), (b, a))
            for one in specs
        )
    if name == "variant" or (name == "prompts" and a.variant != b.variant):
        # Asked in another order and other words: a rerun of the same arm, else a fault.
        return a.arm == b.arm and same_model(a, b)
    if name == "view_pixels":
        return _larger_view_is_meant(a, b, specs)
    if name == "sampling.top_p":
        return a.sampling.temperature == b.sampling.temperature == 0
    if name == "dtype":
        return None in (a.dtype, b.dtype)  # an endpoint does not say
    if KINDS[name] == "model":
        return name in ("model", "weights", "endpoint") or not same_model(a, b)
    return KINDS[name] == "arm"


def same_model(a: RunSpec, b: RunSpec) -> bool:
    """Whether two runs are of one model."""
    return (a.model, a.weights, a.endpoint) == (b.model, b.weights, b.endpoint)


def _larger_view_is_meant(a: RunSpec, b: RunSpec, specs: Sequence[RunSpec]) -> bool:
    """A larger view is a rival's means where the same arm of its model is there with a smaller one, or where a glance
    has it against zooms; it is nothing to arms that see no view."""
    if {a.arm, b.arm} & {"no-image", "region"}:
        return True
    larger, smaller = (a, b) if a.view_pixels > b.view_pixels else (b, a)
    if any(
        same_model(larger, other) and other.arm == larger.arm and other.view_pixels < larger.view_pixels
        for other in specs
    ):
        return True
    return larger.arm in RIVALS and smaller.arm in ZOOMING
