"""The command about attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoomgap.console import opened, print_json, progress, table
from zoomgap.errors import Interrupted
from zoomgap.options import DEFAULT_DB, Db, Json, MaxTokens, Pixels

if TYPE_CHECKING:
    from zoomgap.compare.attention import Enrichment, Figure, ModelRow


def attention(
    bench: Annotated[str, typer.Option(help="A benchmark of the database with evidence boxes.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="micro or hf:PATH, default micro; repeat it, and the others are compared with the first."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many samples.")] = None,
    answer: Annotated[
        str, typer.Option(help="Whose answers are read: own (each model's), or gold (the same for all).")
    ] = "own",
    pixels: Pixels = None,
    max_tokens: MaxTokens = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the control's places and of resampling.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write a page with overlays, one self-contained HTML file.")] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Measure, layer by layer, whether the attention of answers lies on the evidence.

    Example: zoomgap attention --bench micro-8000000-300 --model micro --model hf:student --out attention.html
    """
    from zoomgap import pipeline

    if out is not None:
        pipeline.check_page(out)
    options = pipeline.AttentionOptions(answers=answer, limit=limit, pixels=pixels, max_tokens=max_tokens, seed=seed)

    with opened(db) as store, _unstored(), progress("reading attention") as update:
        result = pipeline.measure_attention(
            store, bench, model or ["micro"], options, update, None if as_json else _model_lines
        )
        if out is not None:
            pipeline.write_attention(store, result, out)
    if as_json:
        print_json(result.figures.to_json())
        return
    _pair_lines(result.figures)
    if out is not None:
        print(f"page: {out}")


@contextmanager
def _unstored() -> Iterator[None]:
    """Ctrl-C, where what was printed is all that there is."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted: models told of are done, the same command begins anew with the first") from None


def _model_lines(row: ModelRow) -> None:
    """One model, a line a layer."""
    print(f"{row.model}: {row.n} answers measured, {row.correct} of the model's own right", flush=True)
    for reason, n in row.skipped.items():
        print(f"  {n} left out: {reason}")
    headers = (
        "layer",
        "n",
        "enrichment",
        "95%",
        "moved boxes",
        "over control",
        "95%",
        "evidence gets",
        "to image",
        "best head",
        "best",
    )
    best = row.best
    rows = [
        (
            layer.layer, layer.enrichment.n, *_times(layer.enrichment), _times(layer.control)[0],
            *_times(layer.over_control), _value(layer.evidence_share.value),
            _value(layer.image_share.value), _times(layer.best_head)[0],
            "<" if layer is best else "",
        )
        for layer in row.layers
    ]  # fmt: skip
    table(headers, rows)


def _pair_lines(found: Enrichment) -> None:
    """Models against the first."""
    for why in found.refused:
        print(why)
    for b in dict.fromkeys(pair.b for pair in found.pairs):
        print(f"{b} against {found.models[0].model}, enrichment over control:")
        pairs = [pair for pair in found.pairs if pair.b == b]
        rows = [
            (
                pair.layer, pair.ratio.n, *_times(pair.ratio), _value(pair.adjusted, 4),
                *(" ".join(_times(ratio)) for ratio in pair.by_size),
            )
            for pair in pairs
        ]  # fmt: skip
        sizes = ("small evidence", "middle", "large")[: len(pairs[0].by_size)]
        table(("layer", "n", "ratio", "95%", "p (Holm)", *sizes), rows)


def _times(figure: Figure) -> tuple[str, str]:
    """A factor and its bounds; what is not known is a dash."""
    if figure.value is None:
        return "-", "-"
    return f"{figure.value:.3g}x", "-" if figure.low is None else f"{figure.low:.3g} to {figure.high:.3g}"


def _value(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
