"""The commands about benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoomgap.console import opened, print_json, progress, table
from zoomgap.console_bench import overlap_lines, sample_lines, stats_lines
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json

Bench = Annotated[str, typer.Argument(help="A benchmark of the database (`zoomgap bench list`).")]

bench_app = typer.Typer(
    help="Make benchmarks, look at them, and find what they share.", no_args_is_help=True, rich_markup_mode=None
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
    with opened(db, readonly=True) as store:
        rows = [{"bench": b.name, "n": b.n, "sha256": b.sha256} for b in store.benchmarks()]
    if as_json:
        print_json(rows)
    else:
        table(("bench", "n", "sha256"), [(row["bench"], row["n"], str(row["sha256"])[:12]) for row in rows])


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
