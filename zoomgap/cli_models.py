"""`zoomgap models`: the families that are known, what a model is run with, and finding out about a new one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoomgap.console import print_json, progress, resumable, table
from zoomgap.errors import ZoomgapError
from zoomgap.options import Json

if TYPE_CHECKING:
    from zoomgap.models.families import Family

models_app = typer.Typer(
    help="What is known of models, and finding out about a new one.", no_args_is_help=True, rich_markup_mode=None
)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the families of models that are known, and what each expects.

    Example: zoomgap models list
    """
    from zoomgap.models.families import FAMILIES, UNKNOWN

    families = [_fields(family) for family in (*FAMILIES, UNKNOWN)]
    if as_json:
        print_json(families)
        return
    keys = ("name", "convention", "factor", "view_pixels", "min_crop_pixels", "crop_pixels", "dialect", "image_return",
            "renders_tools", "resize", "max_images")  # fmt: skip
    heads = ("family", "convention", "factor", "view px", "crop px from", "to", "dialect", "crops return",
             "tools shown", "resize", "images")  # fmt: skip
    table(heads, [[_shown(family[key]) for key in keys] for family in families])


@models_app.command("show")
def models_show(
    model: Annotated[str, typer.Argument(help="A model's name, micro, or hf:PATH (a checkpoint folder).")],
    as_json: Json = False,
) -> None:
    """Show what a model is run with, and where each value comes from.

    Example: zoomgap models show Qwen/Qwen3-VL-8B-Instruct
    """
    from zoomgap.config import settled

    found = settled(model)
    family = _fields(found.family)
    if as_json:
        print_json({"model": model, "family": family, "origin": dict(found.origin), "warnings": list(found.warnings)})
        return
    long = ("pattern", "source")
    rows = [(key, str(_shown(value)), found.origin[key]) for key, value in family.items() if key not in long]
    table(("field", "value", "from"), rows)
    typer.echo(f"source of the family: {found.family.source}")
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)


@models_app.command("probe")
def models_probe(
    model: Annotated[str, typer.Option(help="A name that the endpoint serves, micro, or hf:PATH without endpoint.")],
    endpoint: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server, such as http://localhost:8000/v1.")
    ] = None,
    max_images: Annotated[int, typer.Option(min=1, help="Most pictures of one request that are tried.")] = 16,
    max_side: Annotated[
        int, typer.Option(min=64, max=8192, help="Largest side of a picture that is tried, px.")
    ] = 4096,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of each reply; models that think need many.")] = 1024,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one reply may take.")] = 60,
    as_json: Json = False,
) -> None:
    """Find out how a model wants to be asked: tools, pictures, sizes, coordinates. About 30 requests.

    What it prints is an entry for zoomgap.toml with the findings as comments.

    Example: zoomgap models probe --endpoint http://localhost:8000/v1 --model my-vl >> zoomgap.toml
    """
    import asyncio

    from zoomgap.models.catalog import open_model
    from zoomgap.models.probe import Pictures, ProbeReport, probe

    async def work(update: Any) -> ProbeReport:
        pictures = Pictures()
        opened = open_model(model, endpoint, pictures.load, batch_size=1)
        try:
            return await probe(
                opened, pictures, max_images=max_images, max_side=max_side, max_tokens=max_tokens, timeout_s=timeout,
                progress=update,
            )  # fmt: skip
        finally:
            await opened.aclose()

    with resumable(), progress(f"probing {model}") as update:
        report = asyncio.run(work(update))
    if report.value("answers") is not True:
        raise ZoomgapError(f"model '{model}' does not answer, so nothing was found: {report.findings[0].evidence}")
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(report.toml(), nl=False)


def _fields(family: Family) -> dict[str, Any]:
    """A family's fields, its crops as they hold."""
    least, most = family.crops
    return asdict(family) | {"min_crop_pixels": least, "crop_pixels": most}


def _shown(value: Any) -> Any:
    """A value as a table shows it."""
    return ("yes" if value else "no") if isinstance(value, bool) else "" if value is None else value
