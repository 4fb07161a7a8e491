"""The commands about benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from zoomgap.benchmarks.readers import ANSWER_STYLES, BOX_FORMATS, FIELDS, SETS, Source
from zoomgap.console import import_lines, opened, print_json, progress, table
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json
from zoomgap.records import EvidenceKind

bench_app = typer.Typer(help="Make, import and list benchmarks.", no_args_is_help=True, rich_markup_mode=None)


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
    from zoomgap import pipeline

    with opened(db) as store, progress(f"importing {name}") as update:
        done = pipeline.import_set(
            store, name, source, format=format, boxes=boxes, limit=limit, strict=strict, count=update
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
