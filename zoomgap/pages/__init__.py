"""What all pages have in common: one look (base.css), templates that escape whatever they are given, data in the file.

A page is one HTML file that opens from disk, with no network and nothing beside it.
"""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

BOX_COLORS = ("#d55e00", "#0072b2", "#00875f", "#b3368a")
"""For boxes over photographs, on a white halo: the same in light and dark."""


def environment(folder: Path) -> Environment:
    """Templates of `folder`; `{% include "base.css" %}` in a style element gives a page the common look."""
    found = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"datauri": _data_uri, "clip": clip}
    return found


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def clip(text: str, length: int) -> str:
    """The text, or its first `length` characters and how many there were."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"
