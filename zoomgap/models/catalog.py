"""Known model families and how to open a model by name.

Conventions and factors are those of each family's own documentation and processors (Qwen-VL: smart_resize with
factor 28 or 32; Gemini: 0 to 1000 in y, x order). Unknown models get what works for most: 0 to 1000, xyxy.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoomgap.errors import UsageError
from zoomgap.models.base import LoadImage, VisionModel
from zoomgap.records import Convention, ImageReturn

MICRO_PATH = Path(__file__).parent / "micro"
"""The embedded checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a family of models expects.

    convention: how it writes boxes. factor: image sides are multiples of it. view_pixels, crop_pixels: default budgets
    of the full image and of a crop. image_return: where a crop goes back. suffix: whether questions end with a
    sentence on the form of the answer. pattern: what names of the family contain (regular expression, any case).
    """

    name: str
    convention: Convention = "relative_1000"
    factor: int = 32
    view_pixels: int = 1024 * 1024
    crop_pixels: int = 512 * 512
    image_return: ImageReturn = "user"
    suffix: bool = True
    pattern: str = ""


FAMILIES = (
    Family(
        name="micro", view_pixels=256 * 256, crop_pixels=128 * 128, suffix=False, pattern=r"(^|[/_-])micro($|[/_-])"
    ),
    Family(
        name="qwen2.5-vl",
        convention="absolute",
        factor=28,
        view_pixels=1280 * 28 * 28,
        crop_pixels=320 * 28 * 28,
        pattern=r"qwen-?2[._]5-?_?vl",
    ),
    Family(name="qwen3-vl", pattern=r"qwen-?3(-?_?vl|[._]5)"),
    Family(name="internvl", factor=28, view_pixels=1280 * 28 * 28, crop_pixels=320 * 28 * 28, pattern=r"internvl"),
    Family(name="glm", factor=28, view_pixels=1280 * 28 * 28, crop_pixels=320 * 28 * 28, pattern=r"glm-?[45]"),
    Family(name="gemini", convention="relative_1000_yx", pattern=r"gemini"),
    Family(name="gpt", pattern=r"(^|/)(gpt-|o[1-9])"),
)
UNKNOWN = Family(name="unknown", factor=28, view_pixels=1280 * 28 * 28, crop_pixels=320 * 28 * 28)


def family_of(model: str) -> Family:
    """The family of a model: by its config.json where the name is a checkpoint folder, else by the name.

    Raises UsageError when `hf:PATH` names no checkpoint folder.
    """
    folder = Path(model.removeprefix("hf:"))
    if model.startswith("hf:") or (folder / "config.json").is_file():
        return _family_of_config(_config(folder))
    return _by_name(model)


def open_model(model: str, endpoint: str | None, load_image: LoadImage, *, batch_size: int = 32) -> VisionModel:
    """A model by name: `micro`, `hf:PATH`, or any name that the endpoint serves.

    batch_size: how many requests an in-process model answers at once. Raises UsageError for anything else, naming
    what is valid.
    """
    if endpoint is not None:
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise UsageError(f"endpoint '{endpoint}' is not a URL: give one such as http://localhost:8000/v1")
        if model.startswith("hf:"):
            raise UsageError(f"'{model}' runs in process and takes no endpoint: drop one of the two")
        from zoomgap.models.openai_api import EndpointModel

        return EndpointModel(endpoint, model, load_image)
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


def _family_of_config(config: dict[str, Any]) -> Family:
    """A student of the embedded model keeps its settings, whatever its folder is called."""
    kind = str(config.get("model_type", ""))
    small = kind == "qwen3_vl" and config.get("text_config", {}).get("hidden_size", 512) < 512
    if config.get("zoomgap_micro") or small:
        return _by_name("micro")
    return _by_name(kind)
