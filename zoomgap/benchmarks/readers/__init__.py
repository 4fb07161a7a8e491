"""Readers of public benchmarks, from files as they are downloaded.

A set is a function from one row of its files to drafts, in a module of its own, and a line in SETS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from zoomgap.benchmarks.readers import (
    blink,
    coco,
    columns,
    countqa,
    cv_bench,
    hrbench,
    mme_realworld,
    mmstar,
    vlmevalkit,
    vstar,
    zoombench,
)
from zoomgap.benchmarks.readers.drafts import ANSWER_STYLES, BOX_FORMATS, Draft, Picture, Refusal, Refused
from zoomgap.benchmarks.readers.files import find_files, rows
from zoomgap.benchmarks.readers.settle import settle
from zoomgap.benchmarks.readers.source import FIELDS, Row, Source
from zoomgap.benchmarks.readers.splits import SPLITS, Split
from zoomgap.errors import UsageError

__all__ = [
    "ANSWER_STYLES",
    "BOX_FORMATS",
    "FIELDS",
    "SETS",
    "SPLITS",
    "Draft",
    "Picture",
    "Refusal",
    "Refused",
    "Row",
    "Set",
    "Source",
    "Split",
    "choose",
    "read",
    "settle",
]


class Set(NamedTuple):
    """How a set is read. about: what it is and its files. drafts: of a row. files: a regular expression for the paths
    of its files, in lower case, where a folder may hold other sets too. read: instead of `drafts`, where there are no
    rows. general: whether it is a format for any set. The others are there to measure, even where their files are
    called `train`, as the only files of many sets on the Hugging Face hub are."""

    about: str
    drafts: Callable[[Row], Iterable[Draft]] | None
    files: str = ""
    read: Callable[[Source], Iterator[tuple[Draft | Refusal, float]]] | None = None
    general: bool = False


SETS: Mapping[str, Set] = {
    "zoombench": Set("ZoomBench: parquet, or the paper's json", zoombench.drafts),
    "vstar": Set("V*Bench: jsonl with images and boxes, or parquet", vstar.drafts),
    "hrbench-4k": Set("HR-Bench 4K: tsv or parquet", hrbench.drafts, "4k"),
    "hrbench-8k": Set("HR-Bench 8K: tsv or parquet", hrbench.drafts, "8k"),
    "mme-realworld": Set("MME-RealWorld: parquet, tsv or json", mme_realworld.drafts, "^(?!.*lite)"),
    "mme-realworld-lite": Set("MME-RealWorld-Lite: parquet, tsv or json", mme_realworld.drafts, r"lite|-of-\d"),
    "cv-bench": Set("CV-Bench: parquet", cv_bench.drafts),
    "countqa": Set("CountQA: parquet", countqa.drafts),
    "colorbench": Set("ColorBench: parquet", cv_bench.drafts),
    "mmstar": Set("MMStar: parquet or tsv", mmstar.drafts),
    "blink": Set("BLINK: parquet, a folder for each task", blink.drafts),
    "vlmevalkit": Set("any VLMEvalKit tsv", vlmevalkit.drafts, r"\.tsv$", general=True),
    "paper": Set(
        "json of the ZoomBench paper's repository: images, query, response", zoombench.drafts, r"\.json$", general=True
    ),
    "parquet": Set("any parquet, tsv or csv: name its columns with --map", columns.drafts, general=True),
    "jsonl": Set("our own jsonl, or another's with --map", columns.drafts, r"\.jsonl?$", general=True),
    "coco": Set("COCO boxes: counting questions", None, coco.FILES, coco.read, general=True),
}
"""Every set by its name, which is also what its benchmark is called unless the user names it otherwise."""


def choose(name: str, format: str | None) -> Set:
    """The set that is read in a format, or else by the benchmark's name. Raises UsageError for neither."""
    if found := SETS.get(format or name):
        return found
    if format:
        raise UsageError(f"format '{format}' is not known: use one of {', '.join(SETS)}")
    raise UsageError(f"no set is called '{name}': say with --format how to read it: {', '.join(SETS)}")


def read(chosen: Set, source: Source) -> Iterator[tuple[Draft | Refusal, float]]:
    """The drafts of a set in the order of its files, and why rows gave none; each with the share of the files that has
    been read by then, 0 to 1. Raises UsageError for files that are not the set's."""
    if chosen.read is not None:
        source.check()
        yield from chosen.read(source)
        return
    assert chosen.drafts is not None
    for row, share in rows(find_files(source, chosen.files), source):
        if isinstance(row, Refusal):
            yield row, share
            continue
        try:
            for draft in chosen.drafts(row):
                split = row.split if chosen.general else row.split.replace("train", "test")
                yield replace(draft, split=split), share
        except Refused as refused:
            yield Refusal(row.where, refused.reason, refused.detail), share
