"""What the commands about benchmarks show in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from zoomgap.console import table

if TYPE_CHECKING:
    from zoomgap.records import Sample

MAX_ROWS = 20
"""Pairs of images that are listed."""
QUARTILES = ("min", "q1", "median", "q3", "max")


def sample_lines(sample: Sample, path: str) -> None:
    """A sample in words. path: of its image."""
    from zoomgap.benchmarks.stats import VIEWS
    from zoomgap.imaging import scale_of

    scales = {view: scale_of(sample.size, view) for view in VIEWS}
    megapixels = sample.size.pixels / 1e6
    print(f"{sample.id} of {sample.benchmark}: {sample.dimension}, {sample.answer_kind}")
    print(f"image: {sample.width} x {sample.height} px ({megapixels:.2f} megapixels), {path}")
    print(f"question: {sample.question}")
    for letter, choice in zip(ascii_uppercase, sample.choices, strict=False):
        print(f"  {letter}) {choice}{'   (gold)' if letter == sample.answer else ''}")
    if not sample.choices:
        print(f"gold: {sample.answer or 'none'}")
    for box in sample.evidence:
        corners = ", ".join(f"{value:g}" for value in box.as_list())
        sides = ", ".join(f"{box.side * scale:.1f} px in a view of {view:,}" for view, scale in scales.items())
        print(f"evidence ({sample.evidence_kind}): [{corners}] px, {box.side:.1f} px a side, {sides}")
    if not sample.evidence:
        print("evidence: none")
    if sample.crop is not None:
        placed = "that box" if sample.crop_box else "no box says which part it is"
        print(f"crop of its own: {sample.crop[:12]} ({placed})")
    if sample.more_images:
        print(f"more pictures: {', '.join(sha256[:12] for sha256 in sample.more_images)}")
    if sample.detail_px is not None:
        print(f"smallest mark that decides: {sample.detail_px:.1f} px")
    print(f"cluster: {sample.cluster}")
    short = {name: value for name, value in sample.meta.items() if not isinstance(value, list | dict)}
    if short:
        print("meta: " + ", ".join(f"{name} {value}" for name, value in short.items()))


def stats_lines(found: dict[str, Any]) -> None:
    """What a benchmark is made of. found: of pipeline.bench_stats."""
    print(
        f"{found['bench']}: {found['n']:,} samples about {found['images']:,} images in {found['clusters']:,} clusters, "
        f"{found['without_evidence']:,} without evidence"
    )
    rows = []
    for row in found["dimensions"]:
        side = row["view_65536"]
        quartiles = [_px(side[name]) for name in ("q1", "median", "q3")]
        kinds = (row["choice"], row["integer"], row["text"])
        rows.append((row["dimension"], row["n"], *kinds, row["without_evidence"], *quartiles))
    print()
    heads = ("dimension", "n", "choice", "integer", "text", "no evidence", "side q1", "median", "q3")
    table(heads, rows)
    print("side: of the smallest evidence, pixels of a direct view of 65,536")
    golds = found["golds"]
    if golds["letters"]:
        print()
        table(("gold", "n", "of all"), [(k, n, _share(n, golds["letters"])) for k, n in golds["letters"].items()])
        print(f"always the commonest letter: {golds['commonest']:.1%} right; chance: {golds['chance']:.1%}")
        print("choices: " + ", ".join(f"{n:,} with {k}" for k, n in found["choices"].items()))
    size = found["megapixels"]
    print()
    table(("megapixels", "images"), [(_bin(row), row["images"]) for row in size["bins"] if row["images"]])
    print(f"megapixels: {size['min']:g} to {size['max']:g}, median {size['median']:g}")
    print()
    sides = found["evidence_px"]
    table(
        ("evidence, px a side", *QUARTILES),
        [(_in(name), *(_px(row[q]) for q in QUARTILES)) for name, row in sides.items()],
    )
    print("evidence: " + ", ".join(f"{n:,} {kind}" for kind, n in found["evidence_kinds"].items()))


def overlap_line(found: Mapping[str, Any]) -> None:
    """What a build left out. found: `overlap` of pipeline.build_datasets; nothing is said where it is nothing."""
    if found["images"]:
        sets = ", ".join(f"{n} of {name}" for name, n in found["benchmarks"].items())
        print(
            f"overlap: {found['images']} images look like images of benchmarks ({sets}); {found['trajectories']} "
            f"trajectories and {found['questions']} questions were left out (--allow-overlap keeps them)"
        )


def overlap_lines(found: dict[str, Any]) -> None:
    """What benchmarks share. found: of Overlap.to_json."""
    for row in found["benchmarks"]:
        names = f"{found['a']} ({found['images']:,} images) and {row['b']} ({row['images']:,})"
        if row["same_file"] + row["same_pixels"] + row["alike"]:
            print(
                f"{names}: {row['same_file']:,} pairs of one file, {row['same_pixels']:,} of the same pixels, "
                f"{row['alike']:,} that look alike; {row['samples_a']:,} and {row['samples_b']:,} samples about them"
            )
        else:
            print(
                f"{names}: no image is shared, nor do any two look alike ({found['distance']} of {found['bits']} bits)"
            )
    shown = found["pairs"][:MAX_ROWS]
    if shown:
        rows = [
            (row["bench_b"], row["kind"], row["distance"], _ids(row["samples_a"]), _ids(row["samples_b"]))
            for row in shown
        ]
        print()
        table(("b", "same", "bits apart", f"samples of {found['a']}", "samples of b"), rows)
    if len(shown) < len(found["pairs"]):
        print(f"{len(found['pairs']) - len(shown)} more pairs: --json has all, --out shows them as pictures")


def _ids(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"


def _share(n: int, letters: Mapping[str, int]) -> str:
    return f"{n / sum(letters.values()):.1%}"


def _px(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _bin(row: Mapping[str, Any]) -> str:
    return f"{row['low']:g} or more" if row["high"] is None else f"{row['low']:g} to {row['high']:g}"


def _in(name: str) -> str:
    return "of the original" if name == "original" else f"of a view of {int(name.removeprefix('view_')):,}"
