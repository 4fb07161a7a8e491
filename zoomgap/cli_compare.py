"""Commands that compare runs; cli.py joins them to the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoomgap.console import comparison_lines, opened, print_json
from zoomgap.errors import ZoomgapError
from zoomgap.options import DEFAULT_DB, Db, Json


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more (their first characters suffice).")],
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Write a report: *.html (one file that opens from disk), *.md or *.json; repeat it."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=RUN with base, student, floor, placebo or ceiling; for the recovered share."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A setting that may differ although it changes answers, as sampling.temperature; repeat it."),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="End with exit code 1 where this holds, as in 'student < agent - 0.02' (estimates) or "
            "'high(student - agent) < -0.02' (an end of the interval); repeat it. See docs/compare.md."
        ),
    ] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Compare runs: accuracy, gaps, acuity, time, and where zooming is still needed.

    Example: zoomgap compare 3f2a 91bc 07de --report report.html
    """
    from zoomgap import pipeline

    for path in report or []:
        pipeline.check_report(path)
    conditions = [pipeline.parse_condition(text) for text in fail_if or []]
    with opened(db, readonly=True) as store:
        roles = dict(pipeline.parse_role(store, text) for text in role or [])
        comparison = pipeline.compare_runs(store, runs, roles, allow or [])
        for path in report or []:
            pipeline.write_report(store, comparison, path)
    found = pipeline.document(comparison)
    if as_json:
        print_json(found)
    else:
        comparison_lines(found)
        for path in report or []:
            print(f"report: {path}")
    outcomes = [(condition.text, condition.judge(comparison)) for condition in conditions]
    if failed := [f"{text} holds: {outcome.told}" for text, outcome in outcomes if outcome.holds]:
        raise ZoomgapError(f"--fail-if {'; '.join(failed)}")
