"""Which family a model is of, and how to open a model by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from zoomgap.errors import UsageError
from zoomgap.models.base import LoadImage, VisionModel
from zoomgap.models.families import FAMILIES, UNKNOWN, Family
from zoomgap.records import WireName

MICRO_PATH = Path(__file__).parent / "micro"
"""The embedded checkpoint."""
TIMEOUT_S = 120.0
TRIES = 2.5
"""Time for all tries of a request over that for one."""


class Identified(NamedTuple):
    """A model's family and how it was found, in words."""

    family: Family
    by: str


def family_of(model: str) -> Family:
    """The family of a model as `identify` finds it."""
    return identify(model).family


def identify(model: str) -> Identified:
    """The family of a model: by its config.json where the name is a checkpoint folder, else by the name.

    Raises UsageError when `hf:PATH` names no checkpoint folder.
    """
    folder = Path(model.removeprefix("hf:"))
    if model.startswith("hf:") or (folder / "config.json").is_file():
        return _by_config(_config(folder))
    named = next((family for family in FAMILIES if family.name == model), None)
    return Identified(named or _by_name(model), "by its name")


def family_named(name: str) -> Family:
    """A family of the catalog. Raises UsageError for an unknown name, with the known ones."""
    found = next((family for family in (*FAMILIES, UNKNOWN) if family.name == name), None)
    if found is None:
        known = ", ".join(family.name for family in (*FAMILIES, UNKNOWN))
        raise UsageError(f"family '{name}' is not known: use one of {known}")
    return found


def open_model(
    model: str,
    endpoint: str | None,
    load_image: LoadImage,
    *,
    batch_size: int = 32,
    concurrency: int = 256,
    wire: WireName = "chat",
    stream: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> VisionModel:
    """A model by name: `micro`, `hf:PATH`, or any name that the endpoint serves.

    batch_size: how many requests an in-process model answers at once. concurrency: how many an endpoint is sent at once
    at most; wire: which way; stream: whether its replies come in pieces; timeout_s: one try, all of a
    request have TRIES times that. Raises UsageError for anything else, naming
    what is valid.
    """
    if endpoint is not None:
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise UsageError(f"endpoint '{endpoint}' is not a URL: give one such as http://localhost:8000/v1")
        if url.username or url.password:
            raise UsageError(
                "the endpoint holds a name or a password, and it is stored: give the key in ZOOMGAP_API_KEY"
            )
        if model.startswith("hf:"):
            raise UsageError(f"'{model}' runs in process and takes no endpoint: drop one of the two")
        from zoomgap.models.openai_api import EndpointModel

        return EndpointModel(
            endpoint, model, load_image, wire=wire, concurrency=concurrency, stream=stream, timeout_s=timeout_s,
            budget_s=TRIES * timeout_s,
        )  # fmt: skip
    if model == "micro":
        folder = MICRO_PATH
    elif model.startswith("hf:"):
        folder = Path(model.removeprefix("hf:"))
    else:
        raise UsageError(
            f"model '{model}' is not known: use 'micro', 'hf:PATH' (a checkpoint folder), or a name with --endpoint URL"
        )
    _config(folder)
    from zoomgap.models.local import LocalModel

    return LocalModel(folder, load_image, batch_size=batch_size, name=model)


def _by_name(name: str) -> Family:
    return next((family for family in FAMILIES if re.search(family.pattern, name, re.IGNORECASE)), UNKNOWN)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise UsageError(
            f"no checkpoint at '{folder}' ({reason}): name a folder with config.json and *.safetensors files"
        ) from error
    if not isinstance(config, dict):
        raise UsageError(f"'{folder / 'config.json'}' holds no JSON object: name a checkpoint folder")
    return config


def _by_config(config: dict[str, Any]) -> Identified:
    """A student of the embedded model keeps its settings, whatever its folder is called."""
    kind = str(config.get("model_type", ""))
    small = kind == "qwen3_vl" and config.get("text_config", {}).get("hidden_size", 512) < 512
    if config.get("zoomgap_micro") or small:
        return Identified(_by_name("micro"), "by its config.json (a student of micro)")
    return Identified(_by_name(kind), f"by model_type '{kind}' of its config.json")
