"""Commands that compare runs; cli.py joins them to the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoomgap.console import comparison_lines, opened, print_json, progress
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json, Stream, Timeout

if TYPE_CHECKING:
    from zoomgap.pipeline import TimeOptions


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more (their first characters suffice).")],
    report: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=RUN with base, student, floor, placebo or ceiling; for the recovered share."),
    ] = None,
    time: Annotated[
        bool, typer.Option("--time", help="First time the runs anew, one answer at a time, in turn on each sample.")
    ] = False,
    throughput: Annotated[
        bool, typer.Option("--throughput", help="First measure answers a second, the runs in turn block by block.")
    ] = False,
    in_flight: Annotated[int | None, typer.Option(min=1, help="Answers at once with --throughput; default 8.")] = None,
    time_samples: Annotated[int, typer.Option(min=1, help="Samples that are timed, spread over the set.")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 1,
    warm_up: Annotated[int, typer.Option(min=0, help="Answers of each run before, thrown away.")] = 2,
    time_seed: Annotated[int, typer.Option(help="Seed of the choice of samples.")] = 0,
    stream: Stream = True,
    timeout: Timeout = 120,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Compare runs: accuracy, gaps, acuity, time, and where zooming is still needed.

    Times are those of the latest session that --time took of the runs, else those of the runs themselves.

    Example: zoomgap compare 3f2a 91bc 07de --time --report report.html
    """
    from zoomgap import pipeline

    if in_flight is not None and not throughput:
        raise UsageError("--in-flight is of --throughput: add it, or leave both out (--time is one answer at a time)")
    for asked, flight in ((time, None), (throughput, in_flight or 8)):
        if asked:
            _time_runs(db, runs, pipeline.TimeOptions(
                samples=time_samples, rounds=rounds, warm_up=warm_up, seed=time_seed, in_flight=flight, stream=stream,
                timeout_s=timeout,
            ))  # fmt: skip
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


def _time_runs(db: Path, runs: list[str], options: TimeOptions) -> None:
    from zoomgap import pipeline

    with opened(db) as store, progress(f"timing, {options.mode}") as update:
        pipeline.time_runs(
            store, runs, options, lambda p: update(p.done, p.total, f"{p.errors} errors" if p.errors else "")
        )
