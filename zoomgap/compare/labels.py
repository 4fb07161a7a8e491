"""Names for runs that would be called alike: each is told apart by the settings that set it off from the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoomgap.compare.protocol import flat
from zoomgap.compare.table import RunData

WORDS: Mapping[str, Callable[[Any], str]] = {
    "view_pixels": lambda value: f"{value:,} px",
    "max_zooms": lambda value: f"{value} zoom{'s' if value != 1 else ''}",
    "tools": lambda value: "with " + " and ".join(value).replace("_", " "),
    "padding": lambda value: f"padding {value:g}",
    "crop_pixels": lambda value: f"crops of {value:,} px",
    "variant": lambda value: f"variant {value}",
    "attempts": lambda value: f"{value} attempt{'s' if value != 1 else ''}",
    "sampling.temperature": lambda value: f"temperature {value:g}",
    "sampling.seed": lambda value: f"seed {value}",
}  # fmt: skip
"""Settings that a reader knows by name, in words."""


def distinct(runs: Sequence[RunData]) -> list[RunData]:
    """The runs with labels of which no two are alike.

    To labels that are alike, what is unlike most runs of the comparison is added; where that does not tell two apart,
    the first characters of their ids.
    """
    fields = [flat(run.spec) for run in runs]
    usual = {name: _usual(name, fields) for name in WORDS}
    told = []
    for run, own in zip(runs, fields, strict=True):
        twins = [other for other, with_ in zip(fields, runs, strict=True) if with_.label == run.label]
        apart = [name for name in WORDS if any(other[name] != own[name] for other in twins)]
        words = [WORDS[name](own[name]) for name in apart if own[name] != usual[name]]
        told.append(", ".join([run.label, *words]))
    return [
        replace(run, label=label if told.count(label) == 1 else f"{label} ({run.id[:4]})")
        for run, label in zip(runs, told, strict=True)
    ]


def _usual(name: str, fields: Sequence[Mapping[str, Any]]) -> Any:
    """What most runs have. Of zooms, most agents: arms without the tool have 0."""
    values = [own[name] for own in fields if name != "max_zooms" or own[name]]
    return max(values, key=values.count, default=None)
