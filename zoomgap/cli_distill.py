"""The commands `zoomgap distill ...`: parse, open the store, call, print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoomgap.console import opened, print_json, progress, resumable, table
from zoomgap.console_bench import overlap_line
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json

distill_app = typer.Typer(
    help="From an agent's zooms to training data, and to a student.", no_args_is_help=True, rich_markup_mode=None
)


@distill_app.command("build")
def distill_build(
    run: Annotated[str, typer.Option("--from", help="A run of the agent arm.")],
    name: Annotated[str, typer.Option(help="Datasets are called NAME-LABELS.")] = "zooms",
    labels: Annotated[list[str] | None, typer.Option(help="agent, self, random-crop, gold; repeat it.")] = None,
    votes: Annotated[int, typer.Option(help="Votes of the teacher on each crop.")] = 4,
    agreement: Annotated[float, typer.Option(help="Share of the votes that a label needs.")] = 0.75,
    use_gold: Annotated[bool, typer.Option("--use-gold", help="Allow labels gold; marks every item.")] = False,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Keep images that a benchmark of the database measures on.")
    ] = False,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Make training items from an agent's crops, and the controls' beside them.

    Images that look like one of a benchmark to measure on are left out.

    Example: zoomgap distill build --from 3f2a --name zooms --labels agent --labels self
    """
    from zoomgap import pipeline

    with opened(db) as store, progress("votes") as update:
        options = pipeline.BuildOptions(
            name=name,
            labels=tuple(labels or ("agent", "self")),  # type: ignore[arg-type]
            votes=votes,
            agreement=agreement,
            use_gold=use_gold,
            allow_overlap=allow_overlap,
        )
        built = pipeline.build_datasets(
            store,
            run,
            options,
            lambda p: update(p.done, p.total, f"labels {p.labels}, {p.errors} errors"),
            lambda done, total: update(done, total, "images hashed"),
        )
    if as_json:
        print_json(built)
    else:
        table(("dataset", "items"), list(built["datasets"].items()))
        for stage, rules in built["fell"].items():
            if rules:
                print(f"{stage}: " + ", ".join(f"{count} fell at {rule}" for rule, count in rules.items()))
        overlap_line(built["overlap"])


@distill_app.command("train")
def distill_train(
    items: Annotated[str, typer.Option(help="A dataset of the database, as `distill build` named it.")],
    out: Annotated[Path, typer.Option(help="Folder of the student's checkpoint.")],
    student: Annotated[str, typer.Option(help="The base: micro or hf:PATH.")] = "micro",
    method: Annotated[str, typer.Option(help="sft: supervised, on the answer alone.")] = "sft",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 2,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Views a step, each with all its questions.")] = 12,
    replay_share: Annotated[float, typer.Option(min=0, help="Share of steps on the micro model's old tasks.")] = 0.33,
    freeze_vision: Annotated[
        bool | None,
        typer.Option(
            "--freeze-vision/--train-vision", help="Keep the vision tower, but for its merger. [default: for micro]"
        ),
    ] = None,
    base_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the base's weights in the student's. [default: 0.25 for micro]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Order of the items.")] = 0,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Train a student on a dataset; an interrupted training goes on.

    Example: zoomgap distill train --items zooms-agent --out students/agent
    """
    from zoomgap import pipeline

    if method != "sft":
        raise UsageError(f"method '{method}' is not known: use sft")
    if max_minutes is not None and not max_minutes > 0:
        raise UsageError(f"{max_minutes} minutes leave no time to train: give --max-minutes more than 0")
    with opened(db) as store, progress(f"training on {items}") as update:
        result = pipeline.train_student(
            store,
            items,
            student,
            out,
            {
                "epochs": epochs,
                "max_steps": max_steps,
                "max_minutes": max_minutes,
                "batch_size": batch_size,
                "replay_share": replay_share,
                "seed": seed,
                **({} if freeze_vision is None else {"freeze_vision": freeze_vision}),
                **({} if base_share is None else {"base_share": base_share}),
            },
            lambda p: update(p.step, p.steps, f"loss {p.loss:.3f}" if p.loss is not None else ""),
        )
    if as_json:
        print_json(asdict(result))
    else:
        print(f"{out}: {result.steps} steps on {result.items} items in {result.seconds:.0f} s")
        print(f"next: zoomgap run --bench BENCH --arm direct --model hf:{out}")


@distill_app.command("pretrain")
def distill_pretrain(
    out: Annotated[Path, typer.Option(help="Folder of the state; the checkpoint is OUT/export.")],
    steps: Annotated[int, typer.Option(min=1, help="Train up to this step.")],
    decay: Annotated[int, typer.Option(min=0, help="Learning rate falls to zero over the last so many steps.")] = 0,
    lr_matrix: Annotated[float, typer.Option(help="Learning rate of matrices (Muon).")] = 0.01,
    lr_rest: Annotated[float, typer.Option(help="Learning rate of all else (AdamW).")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights and data.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that render.")] = 1,
) -> None:
    """Train the embedded model from random weights, or go on with it.

    Example: zoomgap distill pretrain --out pretraining --steps 4000 --decay 800
    """
    from zoomgap.distill.pretrain import PretrainConfig, pretrain

    config = PretrainConfig(steps=steps, decay=decay, lr_matrix=lr_matrix, lr_rest=lr_rest, seed=seed, workers=workers)
    with resumable(), progress("pretraining") as update:
        folder = pretrain(
            config,
            out,
            lambda p: update(
                p.step, p.steps, f"{p.stage}, words {p.losses['words']:.3f}, places {p.losses['places']:.2f}"
            ),
        )
    print(folder)
