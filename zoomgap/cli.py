"""The command line: parse, open the store, call, print. What it prints is laid out in console.py.

Results go to stdout, progress and notices to stderr; `--json` makes stdout one JSON document. Exit codes: 0 done,
1 failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoomgap import __version__
from zoomgap.cli_attention import attention
from zoomgap.cli_bench import bench_app
from zoomgap.cli_compare import compare
from zoomgap.cli_distill import distill_app
from zoomgap.cli_grade import regrade, score
from zoomgap.cli_models import models_app
from zoomgap.console import (
    answer_line,
    comparison_lines,
    decoded_again,
    estimate_lines,
    opened,
    print_json,
    progress,
    run_lines,
    step_line,
    table,
)
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.options import (
    DEFAULT_DB,
    Arm,
    Convention,
    Db,
    Endpoint,
    Family,
    ImageReturn,
    Json,
    MaxImages,
    MaxTokens,
    MaxZooms,
    Model,
    Pixels,
    Stream,
    Timeout,
    Tools,
    Wire,
)

if TYPE_CHECKING:
    from zoomgap.pipeline import ModelChoice

app = typer.Typer(
    help="When is an agent that zooms still needed, and when does a distilled model do the job in one glance?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
traces_app = typer.Typer(help="Look at what an arm did, step by step.", no_args_is_help=True, rich_markup_mode=None)
db_app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)
GROUPS = {"bench": bench_app, "traces": traces_app, "distill": distill_app, "models": models_app, "db": db_app}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


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


# Answering


def _choice(
    model: str, endpoint: str | None, wire: str | None, stream: bool, timeout_s: float, **overrides: str | int | None
) -> ModelChoice:
    """The model that options name; what is uncertain about it is told on stderr."""
    from zoomgap.pipeline import ModelChoice

    if wire not in (None, "chat", "responses"):
        raise UsageError(f"wire '{wire}' is not known: use chat or responses")
    choice = ModelChoice(
        model=model, endpoint=endpoint, overrides=overrides, wire=wire, stream=stream, timeout_s=timeout_s  # type: ignore[arg-type]
    )  # fmt: skip
    # A name without an endpoint or a folder is refused later, and then nothing else need be said of it.
    for warning in choice.settled().warnings if endpoint or model.startswith("hf:") else ():
        print(f"zoomgap: warning: {warning}", file=sys.stderr)
    return choice


@app.command("run")
def run_command(
    bench: Annotated[str, typer.Option(help="A benchmark of the database (`zoomgap bench list`).")],
    arm: Arm,
    model: Model = "micro",
    endpoint: Endpoint = None,
    family: Family = None,
    convention: Convention = None,
    image_return: ImageReturn = None,
    max_images: MaxImages = None,
    wire: Wire = None,
    stream: Stream = False,
    timeout: Timeout = 120,
    concurrency: Annotated[int, typer.Option(min=1, help="Samples under way at once.")] = 32,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many samples.")] = None,
    pixels: Pixels = None,
    max_zooms: MaxZooms = 3,
    tools: Tools = "zoom_in",
    padding: Annotated[float, typer.Option(help="Share of a box's sides added on each side of a crop.")] = 0.0,
    match: Annotated[str | None, typer.Option(help="Run whose image tokens direct-matched gets.")] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Answers a sample, attempt k with seed + k.")] = 1,
    max_tokens: MaxTokens = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of sampled answers.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; tell calls, tokens and cost as a range.")
    ] = False,
    max_samples: Annotated[int | None, typer.Option(min=1, help="Stop after so many new answers.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop when new answers cost so many dollars.")] = None,
    price: Annotated[
        str | None, typer.Option(help="Dollars for a million prompt and completion tokens, as in 0.15/0.6.")
    ] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Run one arm over a benchmark. The same command goes on after an interruption.

    Example: zoomgap run --bench micro-8000000-300 --arm agent
    """
    from zoomgap import pipeline
    from zoomgap.models.prices import read_price
    from zoomgap.records import Sampling

    options = pipeline.RunOptions(
        sampling=Sampling(temperature=temperature, seed=seed),
        max_tokens=max_tokens,
        pixels=pixels,
        max_zooms=max_zooms,
        tools=tuple(tools.split(",")),
        padding=padding,
        match=match,
        attempts=attempts,
        concurrency=concurrency,
        limit=limit,
        price=None if price is None else read_price(price),
        limits=pipeline.Limits(samples=max_samples, cost=max_cost),
    )
    chosen = _choice(
        model, endpoint, wire, stream, timeout,
        family=family, convention=convention, image_return=image_return, max_images=max_images,
    )  # fmt: skip
    if dry_run:
        with opened(db) as store:
            found = pipeline.dry_run(store, bench, arm, chosen, options)
        (print_json if as_json else estimate_lines)(found.to_json())
        return
    with opened(db) as store:
        with progress(f"{arm} on {bench}") as update:
            summary = pipeline.run(
                store,
                bench,
                arm,
                chosen,
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
    decoded_again(summary.images.decoded_again)
    if failed:
        raise ZoomgapError(f"run {summary.run} has no answer, only errors, the last one: {last}")


@app.command()
def ask(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    question: Annotated[str, typer.Argument(help="The question.")],
    choice: Annotated[list[str] | None, typer.Option(help="An answer to choose from; repeat it.")] = None,
    arm: Arm = "agent",
    model: Model = "micro",
    endpoint: Endpoint = None,
    family: Family = None,
    convention: Convention = None,
    image_return: ImageReturn = None,
    max_images: MaxImages = None,
    wire: Wire = None,
    stream: Stream = False,
    timeout: Timeout = 120,
    pixels: Pixels = None,
    max_zooms: MaxZooms = 3,
    max_tokens: MaxTokens = None,
    tools: Tools = "zoom_in",
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Ask about one image and print each step; it is stored like any run.

    Example: zoomgap ask street.jpg "What does the small sign say?" --model Qwen3-VL-8B --endpoint http://localhost:8000/v1
    """
    from zoomgap import pipeline
    from zoomgap.storage.rows import trajectory_json

    chosen = _choice(
        model, endpoint, wire, stream, timeout,
        family=family, convention=convention, image_return=image_return, max_images=max_images,
    )  # fmt: skip
    with opened(db) as store:
        trajectory = pipeline.ask(
            store,
            image,
            question,
            choice or [],
            arm,
            chosen,
            pipeline.RunOptions(
                max_tokens=max_tokens, pixels=pixels, max_zooms=max_zooms, tools=tuple(tools.split(","))
            ),
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


# Grading

app.command("score")(score)
app.command("regrade")(regrade)


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
        grades = store.grades(trace)
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
    for grade in grades:
        print(f"{grade.grader}: {grade.verdict} ({grade.rule})")


# Comparison

app.command("compare")(compare)
app.command("attention")(attention)


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
