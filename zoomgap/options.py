"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Db = Annotated[
    Path, typer.Option("--db", envvar="ZOOMGAP_DB", help="Database; images lie in the folder objects/ beside it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Option(help="micro (embedded), hf:PATH (a checkpoint folder), or a name with --endpoint.")]
Endpoint = Annotated[str | None, typer.Option(help="An OpenAI-compatible server, such as http://localhost:8000/v1.")]
Family = Annotated[str | None, typer.Option(help="Family of the model (`zoomgap models list`); default by its name.")]
Convention = Annotated[
    str | None,
    typer.Option(help="How the model writes boxes: relative_1000, relative_1, absolute or relative_1000_yx."),
]
ImageReturn = Annotated[str | None, typer.Option(help="Where crops go back: user, tool or responses.")]
MaxImages = Annotated[
    int | None, typer.Option(min=1, help="Images that one request may hold; default by family. Old crops give way.")
]
Wire = Annotated[str | None, typer.Option(help="To the endpoint: chat or responses.")]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream/--no-stream",
        help="Have an endpoint send replies in pieces: the time to the first of them is then known. Changes no answer.",
    ),
]
Arm = Annotated[
    str,
    typer.Option(
        help="direct, direct-schema, direct-matched, tiles, no-image, region, region-lowres, oracle, agent, "
        "agent-lowres, agent-random or agent-blind."
    ),
]
MaxZooms = Annotated[int, typer.Option(min=0, help="How often the agent may look closer.")]
Tools = Annotated[str, typer.Option(help="What the agent may use: zoom_in, and with commas rotate, view_whole.")]
Timeout = Annotated[
    float, typer.Option(min=1, help="Seconds of one try at the endpoint; all tries of a request have 2.5 times that.")
]
Pixels = Annotated[
    str | None, typer.Option(help="Pixel budget of the full image: a number, 2x, 4x or native; default by model.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Of a reply, thinking included; default by model (`zoomgap models show`).")
]
RouterFile = Annotated[Path | None, typer.Option("--router", help="File of `zoomgap route fit`, for the arm router.")]
AgentModel = Annotated[
    str | None, typer.Option(help="Model that the arm router zooms with; default the one that answers directly.")
]
AgentEndpoint = Annotated[str | None, typer.Option(help="Its server, as --endpoint.")]
DEFAULT_DB = Path("zoomgap.db")
