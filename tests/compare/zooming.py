"""Runs of an agent whose looking and reading are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from zoomgap.compare.agent_rows import Sighting
from zoomgap.compare.table import RunData
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import Sample

CROP = Size(128, 128)


def crop(box: Box, number: int = 1, size: Size = CROP) -> Frame:
    """What an agent is shown of a part of the original."""
    return Frame(number, size, box)


def crops_of(sample: Sample, sighting: Sighting) -> tuple[Frame, ...]:
    """No crop, one past the evidence, or one past and one with it."""
    past = crop(Box(900, 900, 1000, 1000))
    if sighting == "no zoom":
        return ()
    return (past,) if sighting == "missed" else (past, crop(sample.evidence[0].grown(1.5), 2))


def answered(
    run: RunData,
    right: Callable[[int], bool],
    sightings: Sequence[Sighting] | None = None,
    zooms: Sequence[int] | None = None,
) -> RunData:
    """The run with other outcomes: answer k is right or not, and looked as said.

    zooms: how often it zoomed, where that is not told by how it looked.
    """
    crops = {}
    results = []
    for k, result in enumerate(run.results):
        seen = crops_of(result.sample, sightings[k]) if sightings else ()
        if seen:
            crops[result.sample.id, result.attempt] = seen
        verdict = "correct" if right(k) else "incorrect"
        results.append(replace(result, verdict=verdict, zooms=zooms[k] if zooms else len(seen)))
    return RunData(run.spec, run.label, results, run.invocations, crops)
