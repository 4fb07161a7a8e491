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


ALL_KINDS = "all kinds"
"""The dimension of the verdicts on all questions together."""
MAX_PAIRS = 15
"""Pairs that are told in the terminal: those of six runs. Of more, those of runs that have a role."""


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
    """A comparison in words, what to beware of on stderr. found: of compare.document."""
    print(found["finding"])
    for warning in found["warnings"]:
        print(f"zoomgap: warning: {warning}", file=sys.stderr)
    rows = []
    for row in found["runs"]:
        bounds = f"{row['low']:.3f} to {row['high']:.3f}"
        # Times of a session and of many answers in flight do not stand in one column.
        other = found["timing_session"] and not row["timing"]["session"]
        p50 = None if row["p50_ms"] is None or other else round(row["p50_ms"])
        acuity = None if row["acuity_px"] is None else round(row["acuity_px"], 1)
        accuracy = f"{row['accuracy']:.3f}"
        kinds = f"{len(row['acuity_dimensions'])} of {len(row['by_dimension'])}"
        rows.append((row["run"], row["label"], row["n"], accuracy, bounds, row["errors"], p50, acuity, kinds))
    level = f"{found['settings']['confidence']:.0%}"
    table(("run", "what", "n", "accuracy", level, "errors", "p50 ms", "acuity px", "kinds"), rows)
    print(f"graded by {found['grader'] or 'nobody'}; {found['margin_note']}")
    for note in found["notes"]:
        print(f"note: {note}")
    for row in found["runs"]:
        for name, score in row["by_dimension"].items():
            if score["acuity"] and score["acuity"]["warning"]:
                print(f"note: {row['label']}, {name}: {score['acuity']['warning']}")
    names = {row["run"]: row["label"] for row in found["runs"]}
    if found["timing_session"]:
        latency_lines(found["timing_session"], names, _leading(found))
    if found["throughput"]:
        throughput_lines(found["throughput"], names)
    pairs = _told(found["pairs"], _leading(found))
    for pair in pairs:
        value = interval(pair["difference"], pair["low"], pair["high"])
        reason = f" ({pair['reason']})" if pair["reason"] else ""
        print(f"{names[pair['a']]} - {names[pair['b']]}: {value}, p {_p(pair['p_value'])}, {pair['verdict']}{reason}")
    if more := len(found["pairs"]) - len(pairs):
        print(f"{more} more pairs: see --json or --report")
    for gap in found["gaps"]:
        value = f"refused: {gap['refused']}" if gap["refused"] else interval(gap["difference"], gap["low"], gap["high"])
        print(f"{gap['name']} of {gap['model']}: {value}")
    for ratio in found["acuity_ratios"]:
        value = interval(ratio["ratio"], ratio["low"], ratio["high"])
        print(f"acuity {names[ratio['a']]} / {names[ratio['b']]}: {value} over {', '.join(ratio['dimensions'])}")
    for share in found["recovered"]:
        value = share["reason"] or interval(share["share"], share["low"], share["high"])
        print(f"recovered share of the {share['role']}: {value}")
    for dual in found["dual"]:
        print(f"dual view of {names[dual['run']]}: {_dual_line(dual)}")
    for item in found["contribution"]:
        for control in item["controls"]:
            shown = control["refused"] or interval(control["difference"], control["low"], control["high"])
            print(f"tool of {names[item['run']]}, against {names[control['run']]}: {shown}")
        zooms = ", ".join(f"{count['zooms']}: {count['share']:.0%}" for count in item["histogram"])
        once = "" if item["within_one"] is None else f"; right after at most one: {item['within_one']:.1%}"
        print(f"zooms of {names[item['run']]}: {zooms or 'no answer'}{once}")
        for cell in item["one_zoom"]:
            print(f"one zoom against {names[item['run']]}, {_place(cell)}: {cell['verdict']} ({cell['reason']})")
    if found["verdict_note"]:
        print(found["verdict_note"])
    if router := found["router"]:
        routed, always = router["measured"]["policies"][1], router["measured"]["versus_agent"]
        share = "?" if routed["cost_share"] is None else f"{routed['cost_share']:.2f}"
        less = interval(always["value"], always["low"], always["high"])
        print(f"router: accuracy {routed['accuracy']:.3f}, {routed['zoomed']:.0%} zoomed, {share} of the agent's "
              f"{router['measured']['axis']}, router - agent {less}")  # fmt: skip
    else:
        print(f"router: none, {found['no_router']}")
    verdict_lines(found)


def verdict_lines(found: dict[str, Any]) -> None:
    """The verdicts, a line each; kinds of question with too few answers for any share one. found: as above."""
    least = found["settings"]["min_cell"]
    few = [c for c in found["verdicts"] if c["n"] < least and c["evidence_low"] is None and c["dimension"] != ALL_KINDS]
    if len(few) > 1:
        print(f"{', '.join(cell['dimension'] for cell in few)}: undecided (under {least} answers each)")
    for cell in found["verdicts"]:
        if len(few) < 2 or cell not in few:
            print(f"{_place(cell)}: {cell['verdict']} ({cell['reason']})")


def _place(cell: dict[str, Any]) -> str:
    """The kind of question and the sizes that a cell is about."""
    return f"{cell['dimension']}, {_sizes(cell)}"


def _sizes(cell: dict[str, Any]) -> str:
    low, high = cell["evidence_low"], cell["evidence_high"]
    return "all sizes" if low is None else f"{low:.0f} to {high:.0f} px"


def _leading(found: dict[str, Any]) -> set[str]:
    """The runs that have a role, or all where none has."""
    return {row["run"] for row in found["runs"] if row["role"]} or {row["run"] for row in found["runs"]}


def _told(pairs: list[dict[str, Any]], leading: set[str]) -> list[dict[str, Any]]:
    """All pairs, or where they are many those of runs that have a role, MAX_PAIRS at most."""
    if len(pairs) <= MAX_PAIRS:
        return pairs
    return [pair for pair in pairs if {pair["a"], pair["b"]} <= leading][:MAX_PAIRS]


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _dual_line(dual: dict[str, Any]) -> str:
    if not dual["n"]:
        return str(dual["reason"])
    held = f"crops held the evidence in {dual['overall']['held']:.0%} of {dual['n']} answers"
    if dual["reason"]:
        return f"{held}; {dual['reason']}"
    called = {"no zoom": "no-zoom loss", "missed": "localisation loss", "held": "recognition loss"}
    losses = [
        f"{called[loss['name']]} {interval(loss['value'], loss['low'], loss['high'])}"
        for loss in dual["overall"]["losses"]
        if loss["value"] is not None
    ]
    return "; ".join([held, *losses])


def latency_lines(session: dict[str, Any], names: dict[str, str], leading: set[str]) -> None:
    """A timing session in words. session: of LatencySession. names: of the runs, by id; leading: as in `_told`."""
    end = "" if session["ended"] else "; it was cut short"
    what = f"{session['samples']} samples x {session['rounds']}, in turn (session {session['id']}{end})"
    print(f"one answer at a time, {what}")
    parts = [part["cause"] for part in session["runs"][0]["parts"]]
    rows = []
    for row in session["runs"]:
        spans = [interval(row[f"{q}_ms"], row[f"{q}_low"], row[f"{q}_high"], 0) for q in ("p50", "p95")]
        shown = [None if part["ms"] is None else round(part["ms"], 1) for part in row["parts"]]
        rows.append((names[row["run"]], row["n"], row["errors"], *spans, *shown))
    heads = [cause.replace("_", " ") for cause in parts]
    table(("timed", "n", "errors", "p50 ms", "p95 ms", *heads), rows)
    pairs = _told(session["pairs"], leading)
    for pair in pairs:
        more = interval(pair["difference_ms"], pair["difference_low"], pair["difference_high"], 0)
        told = f"{interval(pair['ratio'], pair['low'], pair['high'])}, difference {more} ms, n {pair['n']}"
        why = f"refused: {', '.join(pair['refused'])}"
        print(f"time {names[pair['a']]} / {names[pair['b']]}: {why if pair['refused'] else told}")
    if more_pairs := len(session["pairs"]) - len(pairs):
        print(f"times of {more_pairs} more pairs: see --json or --report")


def throughput_lines(session: dict[str, Any], names: dict[str, str]) -> None:
    """A throughput session in words. session: of ThroughputSession. names: of the runs, by id."""
    end = "" if session["ended"] else "; it was cut short"
    print(f"throughput, {session['in_flight']} answers in flight (session {session['id']}{end})")
    rows = []
    for row in session["runs"]:
        ratio = interval(row["ratio"], row["ratio_low"], row["ratio_high"]) if row["ratio"] is not None else ""
        told = f"refused: {', '.join(row['refused'])}" if row["refused"] else ratio
        rate = interval(row["per_second"], row["low"], row["high"])
        rows.append((names[row["run"]], row["n"], row["errors"], row["blocks"], rate, told))
    table(("with many in flight", "n", "errors", "blocks", "answers a second", "ratio to the first"), rows)


def plan_lines(found: dict[str, Any]) -> None:
    """What a comparison needs. found: of pipeline.plan_comparison."""
    source = f"a pilot of {found['pilot_n']:,} answers" if found["pilot_n"] else "as given"
    print(
        f"two arms that differ on {found['discordance']:.1%} of the answers, design effect "
        f"{found['design_effect']:.2f} ({source}); power {found['power']:g}, level {found['level']:g}"
    )
    points = f"{found['margin'] * 100:g} points"
    wanted = (
        (found["difference"], f"to find a difference of {points}"),
        (found["equivalence"], f"to show equal arms equivalent within {points}"),
        (found["cell"], f"for each of {found['cells']} verdicts that hold together"),
        (found["in_all"], "for all of these verdicts"),
    )
    for samples, what in wanted:
        enough = "" if found["has"] is None else f"   ({'enough' if samples <= found['has'] else 'too few'} in the set)"
        print(f"{samples:>9,} samples {what}{enough if samples != found['cell'] else ''}")
    if found["saved"]:
        print(f"margin {found['margin']:g} fixed for {found['bench']} on {found['saved']}")


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A figure and its bounds; an unknown one is a question mark."""
    shown = ["?" if number is None else f"{number:.{digits}f}" for number in (value, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"
