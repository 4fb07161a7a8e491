"""The commands about benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoomgap.console import opened, print_json, progress, table
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json

bench_app = typer.Typer(help="Make and list benchmarks.", no_args_is_help=True, rich_markup_mode=None)


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
