"""Commands that compare runs; cli.py joins them to the rest."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoomgap.console import comparison_lines, opened, plan_lines, print_json, progress
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.options import DEFAULT_DB, Db, Json, Stream, Timeout

if TYPE_CHECKING:
    from zoomgap.pipeline import TimeOptions


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more (their first characters suffice).")],
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Write a report: *.html (one file that opens from disk), *.md or *.json; repeat it."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=RUN with base, agent, student, floor, placebo or ceiling; repeat it."),
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

    Times are those of the latest session that --time took of the runs, else those of the runs themselves.

    Example: zoomgap compare 3f2a 91bc 07de --time --report report.html
    """
    from zoomgap import pipeline

    if in_flight is not None and not throughput:
        raise UsageError("--in-flight is of --throughput: add it, or leave both out (--time is one answer at a time)")
    for path in report or []:
        pipeline.check_report(path)
    conditions = [pipeline.parse_condition(text) for text in fail_if or []]
    with opened(db, readonly=True) as store:
        roles = pipeline.parse_roles(store, role or [])
    for asked, flight in ((time, None), (throughput, in_flight or 8)):
        if asked:
            _time_runs(db, runs, pipeline.TimeOptions(
                samples=time_samples, rounds=rounds, warm_up=warm_up, seed=time_seed, in_flight=flight, stream=stream,
                timeout_s=timeout,
            ))  # fmt: skip
    with opened(db, readonly=True) as store:
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


def _time_runs(db: Path, runs: list[str], options: TimeOptions) -> None:
    from zoomgap import pipeline

    with opened(db) as store, progress(f"timing, {options.mode}") as update:
        pipeline.time_runs(
            store, runs, options, lambda p: update(p.done, p.total, f"{p.errors} errors" if p.errors else "")
        )


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
