"""What the command line shows: results on stdout, progress on stderr. With cli.py the only module that prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoomgap.errors import Interrupted

if TYPE_CHECKING:
    from zoomgap.records import Step, Trajectory
    from zoomgap.storage import Store


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns; numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        numeric = all(isinstance(row[place], int | float) or row[place] is None for row in rows)
        grid.add_column(header, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        # Text, not str: what a model wrote is never read as markup.
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    # Into a pipe or file the whole table goes, however wide.
    Console(width=None if sys.stdout.isatty() else 200).print(grid)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """A progress bar with ETA on stderr; gives a function (done, total, note)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bars:
        task = bars.add_task(what, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield update


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C as an error with its own exit code, which click would turn into another."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted: the same command goes on where it stopped") from None


@contextmanager
def opened(db: Path, *, readonly: bool = False) -> Iterator[Store]:
    """The database, and Ctrl-C as resumable() has it."""
    from zoomgap.storage import Store

    with resumable(), Store.open(db, readonly=readonly) as store:
        yield store


def import_lines(found: dict[str, Any]) -> None:
    """What was imported, and the rows that were refused, by reason. found: of Imported.to_json."""
    bench, new = found["bench"], "" if found["new"] else "; it was there already and is unchanged"
    print(f"{bench}: imported {found['n']} samples of {found['rows']} rows ({found['refused']} refused), "
          f"sha256 {found['sha256'][:12]}{new}")  # fmt: skip
    if found["reasons"]:
        rows = [(why["reason"], why["rows"], why["first"], why["detail"]) for why in found["reasons"]]
        table(("refused because", "rows", "first", "what is there"), rows)
    if found["split"] == "train":
        print("split: train, so `zoomgap distill build` takes it for no set to measure on (else say --split test)")
    print(f"next: zoomgap run --bench {bench} --arm direct")


def run_lines(row: dict[str, Any]) -> None:
    """A run in words. row: of pipeline.run_row."""
    print(
        f"run {row['run']}: {row['arm']} of {row['model']} on {row['bench']}: accuracy {row['accuracy']:.3f} "
        f"({row['low']:.3f} to {row['high']:.3f}), {row['correct']} of {row['attempted']} correct, "
        f"{row['unparsed']} unparsed, {row['errors']} errors, graded by {row['grader'] or 'nobody'}"
    )
    turns = "" if row["turns"] is None else f"; {row['turns']:.2f} turns each"
    print(f"{row['seconds']:.1f} s for {row['attempted'] - row['resumed']} new answers{turns}")


def decoded_again(times: int) -> None:
    """On stderr, how often a run decoded an image that had left memory; nothing where it never did."""
    if times:
        print(
            f"zoomgap: {times} decodings were of images that had left memory: a lower --concurrency spares them",
            file=sys.stderr,
        )


def estimate_lines(found: dict[str, Any]) -> None:
    """What a run would take. found: of Estimate.to_json."""
    print(f"{found['samples']} answers to give; nothing was sent")
    for name in ("calls", "prompt_tokens", "completion_tokens"):
        low, high = found[name]
        print(f"{name.replace('_', ' ')}: {low:,.0f} to {high:,.0f}")
    if found["cost"] is None:
        print("cost: not known; give the price with --price IN/OUT")
    else:
        low, high = found["cost"]
        print(f"cost: ${low:,.2f} to ${high:,.2f}")


def step_line(step: Step) -> None:
    """What a step did, its time and tokens."""
    clock = f"{step.clocks.model_ms:.0f} ms" if step.clocks.model_ms is not None else "? ms"
    tokens = f"{step.usage.prompt_tokens}+{step.usage.completion_tokens} tokens"
    what = step.error or step.text.strip()
    if step.observation is not None and step.box is not None:
        box = ", ".join(f"{value:.0f}" for value in step.box.as_list())
        size = f"{step.observation.width} x {step.observation.height}"
        turned = f", turned by {step.turn}" if step.turn else ""
        which = f" of picture {step.picture}" if step.picture else ""
        what = f"look at [{box}] px{which}{turned}: {step.label or ''} -> {size}"
    print(f"{step.index}  {what}   ({clock}, {tokens})", flush=True)


def answer_line(trajectory: Trajectory) -> None:
    """The answer and why the arm stopped."""
    print(f"answer: {trajectory.text.strip() or '-'}   ({trajectory.stop_reason}, {trajectory.wall_ms:.0f} ms)")


def score_lines(rows: list[dict[str, Any]]) -> None:
    """Counts of verdicts. rows: of grades.Tally.rows."""
    keys = ("answer_kind", "n", "correct", "incorrect", "unparsed", "errors")
    shown = [(*(row[key] for key in keys), *(f"{row[key]:.3f}" for key in ("accuracy", "low", "high"))) for row in rows]
    table((*keys, "accuracy", "from", "to"), shown)


def regraded_lines(rows: list[dict[str, Any]]) -> None:
    """Runs and how many verdicts a newer grader changed. rows: of grades.regraded_json."""
    keys = ("run", "grader", "n", "new", "changed")
    table(keys, [[row[key] for key in keys] for row in rows])


def judged_lines(rows: list[dict[str, Any]]) -> None:
    """What a judge said of runs, beside the rules. rows: of judge.Judged.to_json."""
    keys = ("run", "n", "correct_by_rules", "asked", "new", "correct", "incorrect", "undecided", "errors")
    if rows:
        print(f"asked {rows[0]['grader']} about open text that is not the gold, and unparsed replies:")
        table([key.replace("_", " ") for key in keys], [[row[key] for key in keys] for row in rows])


def comparison_lines(found: dict[str, Any]) -> None:
    """A comparison in words. found: of Comparison.to_json."""
    rows = []
    for row in found["runs"]:
        bounds = f"{row['low']:.3f} to {row['high']:.3f}"
        p50 = None if row["p50_ms"] is None else round(row["p50_ms"])
        acuity = None if row["acuity_px"] is None else round(row["acuity_px"], 1)
        accuracy = f"{row['accuracy']:.3f}"
        kinds = f"{len(row['acuity_dimensions'])} of {len(row['by_dimension'])}"
        rows.append((row["run"], row["label"], row["n"], accuracy, bounds, row["errors"], p50, acuity, kinds))
    table(("run", "what", "n", "accuracy", "95%", "errors", "p50 ms", "acuity px", "kinds"), rows)
    print(f"graded by {found['grader'] or 'nobody'}")
    names = {row["run"]: row["label"] for row in found["runs"]}
    for gap in found["gaps"]:
        value = f"refused: {gap['refused']}" if gap["refused"] else interval(gap["difference"], gap["low"], gap["high"])
        print(f"{gap['name']} of {gap['model']}: {value}")
    for ratio in found["acuity_ratios"]:
        value = interval(ratio["ratio"], ratio["low"], ratio["high"])
        print(f"acuity {names[ratio['a']]} / {names[ratio['b']]}: {value} over {', '.join(ratio['dimensions'])}")
    for share in found["recovered"]:
        value = share["reason"] or interval(share["share"], share["low"], share["high"])
        print(f"recovered share of the {share['role']}: {value}")
    for cell in found["verdicts"]:
        if cell["evidence_low"] is None:
            print(f"{cell['dimension']}, all sizes: {cell['verdict']} ({cell['reason']})")


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and its bounds; an unknown one is a question mark."""
    shown = ["?" if number is None else f"{number:.3f}" for number in (value, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"
