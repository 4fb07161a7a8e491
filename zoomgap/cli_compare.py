"""Commands that compare runs; cli.py joins them to the rest."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from zoomgap.console import comparison_lines, opened, plan_lines, print_json
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json


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


def plan(
    margin: Annotated[
        float, typer.Option(help="Difference of accuracies to find, and margin of equivalence, as a share.")
    ] = 0.05,
    power: Annotated[float, typer.Option(help="Chance of finding it.")] = 0.8,
    level: Annotated[float, typer.Option(help="Level of the test; intervals have 1 - level.")] = 0.05,
    discordance: Annotated[
        float | None, typer.Option(help="Share of answers that only one of the two gets right; default 0.2.")
    ] = None,
    pilot: Annotated[
        tuple[str, str] | None, typer.Option(metavar="RUN RUN", help="Two runs that tell discordance and clusters.")
    ] = None,
    cluster_size: Annotated[
        float | None, typer.Option(help="Questions about one image; default the benchmark's, else 1.")
    ] = None,
    icc: Annotated[float | None, typer.Option(help="Correlation of differences within a cluster; default 1.")] = None,
    cells: Annotated[
        int | None, typer.Option(help="Cells of the verdict table; default kinds of question x 3 sizes, else 18.")
    ] = None,
    bench: Annotated[str | None, typer.Option(help="A benchmark of the database.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Fix margin, power and level for comparisons on --bench, before the runs.")
    ] = False,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Say how many samples a comparison needs, and fix its margin before the runs.

    Example: zoomgap plan --margin 0.05 --bench micro-8000000-300 --save
    """
    from zoomgap import pipeline

    if pilot is not None and not (discordance is None and cluster_size is None and icc is None):
        raise UsageError("a pilot tells discordance and clusters: leave out --discordance, --cluster-size and --icc")
    optional = {"discordance": discordance, "icc": icc}
    given = {name: value for name, value in optional.items() if value is not None}
    with ExitStack() as stack:
        store = stack.enter_context(opened(db, readonly=not save)) if bench or pilot or save else None
        found = pipeline.plan_comparison(
            store, bench, pilot, save=save, cells=cells, cluster_size=cluster_size,
            margin=margin, power=power, level=level, **given,
        )  # fmt: skip
    (print_json if as_json else plan_lines)(found)
