"""The command line: parse, open the store, call, print. What it prints is laid out in console.py.

Results go to stdout, progress and notices to stderr; `--json` makes stdout one JSON document. Exit codes: 0 done,
1 failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoomgap import __version__
from zoomgap.console import (
    answer_line,
    comparison_lines,
    opened,
    print_json,
    progress,
    resumable,
    run_lines,
    step_line,
    table,
)
from zoomgap.errors import UsageError, ZoomgapError

app = typer.Typer(
    help="When is an agent that zooms still needed, and when does a distilled model do the job in one glance?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
bench_app = typer.Typer(help="Make and list benchmarks.", no_args_is_help=True, rich_markup_mode=None)
traces_app = typer.Typer(help="Look at what an arm did, step by step.", no_args_is_help=True, rich_markup_mode=None)
distill_app = typer.Typer(
    help="From an agent's zooms to training data, and to a student.", no_args_is_help=True, rich_markup_mode=None
)
db_app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)
for name, group in {"bench": bench_app, "traces": traces_app, "distill": distill_app, "db": db_app}.items():
    app.add_typer(group, name=name)

Db = Annotated[
    Path, typer.Option("--db", envvar="ZOOMGAP_DB", help="Database; images lie in the folder objects/ beside it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Option(help="micro (embedded), hf:PATH (a checkpoint folder), or a name with --endpoint.")]
Endpoint = Annotated[str | None, typer.Option(help="An OpenAI-compatible server, such as http://localhost:8000/v1.")]
DEFAULT_DB = Path("zoomgap.db")


def main() -> None:
    """Entry point: every error is one line on stderr and an exit code."""
    try:
        app()
    except ZoomgapError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'the disk'}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    print(f"zoomgap: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


# Benchmarks


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


# Answering


@app.command("run")
def run_command(
    bench: Annotated[str, typer.Option(help="A benchmark of the database (`zoomgap bench list`).")],
    arm: Annotated[str, typer.Option(help="direct, no-image, region, region-lowres, agent or agent-lowres.")],
    model: Model = "micro",
    endpoint: Endpoint = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Samples under way at once.")] = 32,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many samples.")] = None,
    pixels: Annotated[int | None, typer.Option(min=1, help="Pixel budget of the full image; default by model.")] = None,
    max_zooms: Annotated[int, typer.Option(min=0, help="How often the agent may look closer.")] = 3,
    attempts: Annotated[int, typer.Option(min=1, help="Answers a sample, attempt k with seed + k.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of sampled answers.")] = 0,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Run one arm over a benchmark. The same command goes on after an interruption.

    Example: zoomgap run --bench micro-8000000-300 --arm agent
    """
    from zoomgap import pipeline
    from zoomgap.records import Sampling

    options = pipeline.RunOptions(
        sampling=Sampling(temperature=temperature, seed=seed),
        pixels=pixels,
        max_zooms=max_zooms,
        attempts=attempts,
        concurrency=concurrency,
        limit=limit,
    )
    with opened(db) as store:
        with progress(f"{arm} on {bench}") as update:
            summary = pipeline.run(
                store,
                bench,
                arm,
                pipeline.ModelChoice(model=model, endpoint=endpoint),
                options,
                lambda p: update(p.done, p.total, f"{p.errors} errors" if p.errors else ""),
            )
        row = pipeline.run_row(store, summary, limit)
        failed = summary.errors == summary.attempted
        last = store.trajectories(summary.run, verdict="error")[-1].error if failed else None
    if as_json:
        print_json(row)
    else:
        run_lines(row)
    if failed:
        raise ZoomgapError(f"run {summary.run} has no answer, only errors, the last one: {last}")


@app.command()
def ask(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    question: Annotated[str, typer.Argument(help="The question.")],
    choice: Annotated[list[str] | None, typer.Option(help="An answer to choose from; repeat it.")] = None,
    arm: Annotated[str, typer.Option(help="agent, agent-lowres, direct or no-image.")] = "agent",
    model: Model = "micro",
    endpoint: Endpoint = None,
    max_zooms: Annotated[int, typer.Option(min=0, help="How often the agent may look closer.")] = 3,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Ask about one image and print each step; it is stored like any run.

    Example: zoomgap ask street.jpg "What does the small sign say?" --model Qwen3-VL-8B --endpoint http://localhost:8000/v1
    """
    from zoomgap import pipeline
    from zoomgap.storage.rows import trajectory_json

    with opened(db) as store:
        trajectory = pipeline.ask(
            store,
            image,
            question,
            choice or [],
            arm,
            pipeline.ModelChoice(model=model, endpoint=endpoint),
            pipeline.RunOptions(max_zooms=max_zooms),
            None if as_json else step_line,
        )
    if as_json:
        print_json(trajectory_json(trajectory))
    else:
        answer_line(trajectory)
    if trajectory.error:
        raise ZoomgapError(trajectory.error)
    if not trajectory.text.strip():
        raise ZoomgapError(
            f"no answer: the {arm} arm stopped ({trajectory.stop_reason}) after {trajectory.turns} calls: "
            "ask again with another --arm, --max-zooms or --model"
        )


# Traces


@traces_app.command("list")
def traces_list(
    run: Annotated[str | None, typer.Option(help="Only this run (its first characters suffice).")] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, incorrect, unparsed or error.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 30,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """List trajectories, the newest first.

    Example: zoomgap traces list --run 3f2a --verdict incorrect
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store:
        rows = pipeline.trace_rows(store, run, verdict, limit)
    if as_json:
        print_json(rows)
    else:
        keys = ("id", "run", "arm", "sample", "verdict", "stop_reason", "zooms", "wall_ms", "text")
        table(keys, [[round(row[key]) if key == "wall_ms" else row[key] for key in keys] for row in rows])


@traces_app.command("show")
def traces_show(
    trace: Annotated[int, typer.Argument(help="Its number in `zoomgap traces list`.")],
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Show one trajectory step by step.

    Example: zoomgap traces show 17
    """
    from zoomgap.storage.rows import trajectory_json

    with opened(db, readonly=True) as store:
        trajectory = store.trajectory(trace)
        spec = store.run(trajectory.run)
        sample = store.sample(spec.benchmark, trajectory.sample)
    if as_json:
        print_json(trajectory_json(trajectory))
        return
    print(f"{spec.arm} of {spec.model} on {sample.id}: {sample.question}")
    if sample.choices:
        print("   ".join(f"{letter}) {text}" for letter, text in zip("ABCDEFGH", sample.choices, strict=False)))
    for step in trajectory.steps:
        step_line(step)
    answer_line(trajectory)
    if sample.answer:
        print(f"gold: {sample.answer}")


# Distillation


@distill_app.command("build")
def distill_build(
    run: Annotated[str, typer.Option("--from", help="A run of the agent arm.")],
    name: Annotated[str, typer.Option(help="Datasets are called NAME-LABELS.")] = "zooms",
    labels: Annotated[list[str] | None, typer.Option(help="agent, self, random-crop, gold; repeat it.")] = None,
    votes: Annotated[int, typer.Option(help="Votes of the teacher on each crop.")] = 4,
    agreement: Annotated[float, typer.Option(help="Share of the votes that a label needs.")] = 0.75,
    use_gold: Annotated[bool, typer.Option("--use-gold", help="Allow labels gold; marks every item.")] = False,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Make training items from an agent's crops, and the controls' beside them.

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
        )
        built = pipeline.build_datasets(
            store, run, options, lambda p: update(p.done, p.total, f"labels {p.labels}, {p.errors} errors")
        )
    if as_json:
        print_json(built)
    else:
        table(("dataset", "items"), list(built["datasets"].items()))
        for stage, rules in built["fell"].items():
            if rules:
                print(f"{stage}: " + ", ".join(f"{count} fell at {rule}" for rule, count in rules.items()))


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


# Comparison


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more (their first characters suffice).")],
    report: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=RUN with base, student, floor, placebo or ceiling; for the recovered share."),
    ] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Compare runs: accuracy, gaps, acuity, time, and where zooming is still needed.

    Example: zoomgap compare 3f2a 91bc 07de --report report.html
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store:
        roles = dict(pipeline.parse_role(store, text) for text in role or [])
        comparison = pipeline.compare_runs(store, runs, roles)
        if report is not None:
            pipeline.write_report(store, comparison, report)
    if as_json:
        print_json(comparison.to_json())
        return
    comparison_lines(comparison.to_json())
    if report is not None:
        print(f"report: {report}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of its database, students and report.")] = Path("demo"),
    full: Annotated[bool, typer.Option("--full", help="More samples and longer training: about two hours.")] = False,
    short: Annotated[bool, typer.Option("--short", help="A few samples of everything: a smoke test.")] = False,
) -> None:
    """The whole loop on the embedded model: benchmark, arms, distillation, students, comparison, report.

    Example: zoomgap demo --out demo
    """
    from zoomgap.demo import FULL, SHORT, USUAL, run_demo

    scale = FULL if full else SHORT if short else USUAL
    out.mkdir(parents=True, exist_ok=True)
    with opened(out / "zoomgap.db") as store:
        with progress("demo") as update:
            result = run_demo(store, out, scale, update)
        comparison_lines(result.comparison.to_json())
    for line in result.lines:
        print(line)
    print(f"report: {result.report}")


@db_app.command("info")
def db_info(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Count what the database holds.

    Example: zoomgap db info
    """
    with opened(db) as store:
        counts = store.counts()
    if as_json:
        print_json(counts)
    else:
        table(("table", "rows"), list(counts.items()))


if __name__ == "__main__":
    main()
