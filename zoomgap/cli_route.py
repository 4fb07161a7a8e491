"""Commands on routers, between one glance and an agent; cli.py joins them to the rest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoomgap.console import opened, print_json
from zoomgap.console_route import break_even_lines, routed_lines
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Json

if TYPE_CHECKING:
    from zoomgap.compare.routed import Routed
    from zoomgap.compare.routing import Axis

route_app = typer.Typer(
    help="Routers: a direct answer first, and the agent only when the model is unsure.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Glance = Annotated[str, typer.Option(help="Run of direct answers (its first characters suffice).")]
Agent = Annotated[str, typer.Option(help="Run of the agent over the same benchmark.")]
Unit = Annotated[
    str | None,
    typer.Option("--axis", help="Cost as ms, dollars, tokens or calls; default time where it can be compared."),
]


@route_app.command("fit")
def fit(
    glance: Glance,
    agent: Agent,
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write the router to.")] = Path("router.json"),
    method: Annotated[str, typer.Option(help="logistic, or threshold on one feature.")] = "logistic",
    features: Annotated[
        str | None,
        typer.Option(
            help="confidence, min_probability, margin, agreement, answer_kind, dimension, image_size, reply_length, "
            "with commas; default those that cost no further call, without dimension."
        ),
    ] = None,
    accuracy_loss: Annotated[
        float | None, typer.Option(help="Cheapest router at most so far under the agent; default 0.01.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Most accurate router of at most this share of the agent's cost.")
    ] = None,
    axis: Unit = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Fit a router on two runs and print what it gives on folds that it was not fitted on.

    Example: zoomgap route fit --glance 3f2a --agent 91bc --accuracy-loss 0.01 -o router.json
    """
    from zoomgap import pipeline
    from zoomgap.compare.routing import Target
    from zoomgap.routers import write_router

    if accuracy_loss is not None and budget is not None:
        raise UsageError("a router has one target: give --accuracy-loss or --budget")
    loss = 0.01 if accuracy_loss is None and budget is None else accuracy_loss
    chosen = None if features is None else [name.strip() for name in features.split(",")]
    with opened(db, readonly=True) as store:
        fitted = pipeline.fit_router(
            store, glance, agent, method=method, features=chosen, target=Target(loss, budget), axis=_axis(axis)  # type: ignore[arg-type]
        )  # fmt: skip
    write_router(fitted.router, out)
    _show(fitted.routed, as_json, out=str(out), sha256=fitted.router.sha256)
    if not as_json:
        print(f"router: {out}; next: zoomgap run --arm router --router {out}")


@route_app.command("apply")
def apply(
    router: Annotated[Path, typer.Argument(help="File of `zoomgap route fit`.")],
    glance: Glance,
    agent: Agent,
    same_samples: Annotated[
        bool, typer.Option("--same-samples", help="Allow images that it was fitted on, which flatters it.")
    ] = False,
    axis: Unit = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """What a router would have given on two other runs.

    Example: zoomgap route apply router.json --glance 07de --agent c41b
    """
    from zoomgap import pipeline

    with opened(db, readonly=True) as store:
        routed = pipeline.apply_router(store, router, glance, agent, axis=_axis(axis), same_samples=same_samples)
    _show(routed, as_json)


@route_app.command("break-even")
def break_even(
    student: Annotated[str, typer.Option(help="Run of a student at one glance, or of a router.")],
    agent: Agent,
    price: Annotated[
        str | None,
        typer.Option(help="Dollars for a million prompt and completion tokens of the agent, as in 0.15/0.6."),
    ] = None,
    student_price: Annotated[str | None, typer.Option(help="The same of the student; default the agent's.")] = None,
    per_hour: Annotated[float | None, typer.Option(min=0, help="Dollars for an hour of training.")] = None,
    spent: Annotated[float, typer.Option(min=0, help="What else was spent once, in the unit.")] = 0.0,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """After how many questions a student or a router has earned what it cost: teacher, votes, failures, training.

    Counted in seconds of the machine, or in dollars where there is a price.

    Example: zoomgap route break-even --student 5e0d --agent 91bc
    """
    from zoomgap import pipeline
    from zoomgap.models.prices import read_price

    prices = [None if text is None else read_price(text) for text in (price, student_price)]
    if prices[0] is None and (prices[1] is not None or per_hour is not None):
        raise UsageError("dollars need the agent's price: add --price IN/OUT")
    with opened(db, readonly=True) as store:
        found = pipeline.break_even(
            store, student, agent, price=prices[0], student_price=prices[1], per_hour=per_hour, spent=spent
        )
    (print_json if as_json else break_even_lines)(asdict(found))


def _axis(given: str | None) -> Axis | None:
    if given not in (None, "ms", "dollars", "tokens", "calls"):
        raise UsageError(f"axis '{given}' is not known: use ms, dollars, tokens or calls")
    return given  # type: ignore[return-value]


def _show(routed: Routed, as_json: bool, **more: Any) -> None:
    found = {**asdict(routed), "axis_name": routed.axis_name, **more}
    (print_json if as_json else routed_lines)(found)
