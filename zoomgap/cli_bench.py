"""The commands about benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from zoomgap.benchmarks.readers import ANSWER_STYLES, BOX_FORMATS, FIELDS, SETS, SPLITS, Source
from zoomgap.console import import_lines, opened, print_json, progress, table
from zoomgap.console_bench import overlap_lines, sample_lines, stats_lines
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json
from zoomgap.records import EvidenceKind

Bench = Annotated[str, typer.Argument(help="A benchmark of the database (`zoomgap bench list`).")]

bench_app = typer.Typer(
    help="Make and import benchmarks, look at them, and find what they share.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@bench_app.command("make")
def bench_make(
    name: Annotated[str, typer.Argument(help="The benchmark to make: micro, the procedural one.")],
    n: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 1200,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; its range decides the split.")] = 9_000_000,
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of photographs to compose onto.")] = None,
    questions: Annotated[
        int, typer.Option(min=1, help="Samples about each scene, as far as it has carriers; more than 1 for training.")
    ] = 1,
    evidence: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Smallest and largest side of the evidence in pixels of the direct view; for training."),
    ] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="What to call it; default micro-SEED-N with what else is not usual.")
    ] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Render samples with exactly known evidence boxes.

    Example: zoomgap bench make micro --n 300 --seed 8000000
    """
    if name != "micro":
        raise UsageError(f"benchmark '{name}' cannot be made: the procedural one is 'micro'")
    from zoomgap import pipeline

    with opened(db) as store, progress("rendering") as update:
        info = pipeline.make_micro(store, n, seed, backgrounds, called, update, questions, evidence)
    row = {"bench": info.name, "n": info.n, "seed": seed, "sha256": info.sha256}
    if as_json:
        print_json(row)
    else:
        print(f"{info.name}: {info.n} samples, sha256 {info.sha256[:12]}")
        print(f"next: zoomgap run --bench {info.name} --arm direct")


@bench_app.command("list")
def bench_list(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """List the benchmarks of the database.

    Example: zoomgap bench list
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store:
        rows = [
            {"bench": b.name, "n": b.n, "sha256": b.sha256, "split": pipeline.split_of(b)} for b in store.benchmarks()
        ]
    if as_json:
        print_json(rows)
    else:
        shown = [(row["bench"], row["n"], row["split"] or None, str(row["sha256"])[:12]) for row in rows]
        table(("bench", "n", "split", "sha256"), shown)


@bench_app.command("show")
def bench_show(
    bench: Bench,
    sample: Annotated[str, typer.Argument(help="Id of a sample.")],
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Show one sample: question, choices, gold, evidence.

    Example: zoomgap bench show micro-8000000-300 micro-8000004
    """
    from zoomgap import pipeline
    from zoomgap.storage.rows import sample_json

    with opened(db, readonly=True) as store:
        found = pipeline.find_sample(store, bench, sample)
        path = str(store.objects.path(found.image))
    if as_json:
        print_json({**sample_json(found), "path": path})
    else:
        sample_lines(found, path)


@bench_app.command("stats")
def bench_stats(bench: Bench, db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Count a benchmark by dimension, answer, image size and size of the evidence.

    Example: zoomgap bench stats micro-8000000-300
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store:
        found = pipeline.bench_stats(store, bench)
    (print_json if as_json else stats_lines)(found)


@bench_app.command("view")
def bench_view(
    bench: Bench,
    out: Annotated[Path, typer.Option(help="The page to write, one self-contained HTML file.")],
    limit: Annotated[int, typer.Option(min=1, help="Only the first so many samples.")] = 200,
    dimension: Annotated[str | None, typer.Option(help="Only samples of this kind.")] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Write a page of samples with their images and evidence boxes.

    Example: zoomgap bench view micro-8000000-300 --out samples.html
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store, progress("drawing") as update:
        shown, total = pipeline.write_view(store, bench, out, limit=limit, dimension=dimension, count=update)
    if as_json:
        print_json({"bench": bench, "samples": shown, "of": total, "bytes": out.stat().st_size, "page": str(out)})
    else:
        print(f"{out}: {shown} of {total} samples, {out.stat().st_size / 1e6:.1f} MB")


@bench_app.command("overlap")
def bench_overlap(
    a: Annotated[str, typer.Argument(help="A benchmark of the database.")],
    b: Annotated[str, typer.Argument(help="Another one, or `all` for every other one.")],
    distance: Annotated[
        int,
        typer.Option(min=0, max=96, help="Bits of 256 that two looks may be apart; different pictures are near 128."),
    ] = 48,
    out: Annotated[Path | None, typer.Option(help="Write a page of the pairs, one self-contained HTML file.")] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Find images that two benchmarks share: the same file, the same pixels, or a like look.

    Example: zoomgap bench overlap micro-4000000-500 micro-8000000-300
    """
    from zoomgap import pipeline

    if out is not None:
        pipeline.check_page(out)
    with opened(db) as store:
        with progress("hashing images") as update:
            found = pipeline.overlap(store, a, b, distance, update)
        if out is not None:
            with progress("drawing") as update:
                pipeline.write_overlap(store, found, out, update)
    (print_json if as_json else overlap_lines)(found.to_json())
    if out is not None and not as_json:
        print(f"page: {out}")


IMPORT_EPILOG = "\b\nNames of sets, and formats:\n" + "\n".join(
    f"  {name:19}{known.about}" for name, known in SETS.items()
)


@bench_app.command("import", epilog=IMPORT_EPILOG)
def bench_import(
    name: Annotated[str, typer.Argument(help="A set's name from the list below, or your own name with --format.")],
    path: Annotated[Path, typer.Argument(help="Its file or folder, as downloaded.")],
    format: Annotated[str | None, typer.Option(help="How to read it, from the list below; default NAME.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help=f"FIELD=COLUMN; repeat it. Fields: {', '.join(FIELDS)}.")
    ] = None,
    fill: Annotated[list[str] | None, typer.Option(help="FIELD=VALUE for every row; repeat it.")] = None,
    answers: Annotated[str, typer.Option(help=f"How golds are written: {', '.join(ANSWER_STYLES)} (from 0).")] = "auto",
    images: Annotated[Path | None, typer.Option(help="Folder that image paths start from; default the set's.")] = None,
    files: Annotated[str, typer.Option(help="Of a folder, only files of such names, as in 'test-*'.")] = "",
    boxes: Annotated[Path | None, typer.Option(help="COCO file with evidence boxes for the images.")] = None,
    box_format: Annotated[str, typer.Option(help=f"Of boxes in the set: {', '.join(BOX_FORMATS)}.")] = "xyxy",
    boxes_kind: Annotated[str, typer.Option(help="How closely boxes fit: tight or region.")] = "tight",
    encoding: Annotated[str, typer.Option(help="Of text files.")] = "utf-8-sig",
    split: Annotated[
        str | None, typer.Option(help=f"What it is for: {', '.join(SPLITS)}; default what its files say.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many samples.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the set for one row that is refused.")] = False,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Import a public benchmark, or your own, from files that you have; tells which rows were refused, and why.

    Example: zoomgap bench import vstar vstar_bench/
    """
    source = Source(
        path=path,
        mapping=_pairs("--map", columns),
        fill=_pairs("--fill", fill),
        images=images,
        files=files,
        encoding=encoding,
        style=_one_of("--answers", answers, ANSWER_STYLES),
        box_format=_one_of("--box-format", box_format, BOX_FORMATS),
        boxes_kind=_one_of("--boxes-kind", boxes_kind, get_args(EvidenceKind)),
    )
    known = None if split is None else _one_of("--split", split, SPLITS)
    from zoomgap import pipeline

    with opened(db) as store, progress(f"importing {name}") as update:
        done = pipeline.import_set(
            store, name, source, format=format, boxes=boxes, split=known, limit=limit, strict=strict, count=update
        )
    if as_json:
        print_json(done.to_json())
    else:
        import_lines(done.to_json())


def _pairs(option: str, words: list[str] | None) -> dict[str, str]:
    """FIELD=VALUE, several times."""
    parts = [word.partition("=") for word in words or []]
    if wrong := next((word for word, part in zip(words or [], parts, strict=True) if not (part[0] and part[2])), None):
        raise UsageError(f"{option} '{wrong}' is not FIELD=VALUE: write it as in question=problem")
    return {name.strip(): value for name, _, value in parts}


def _one_of(option: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise UsageError(f"{option} '{value}' is not known: use one of {', '.join(known)}")
    return value
