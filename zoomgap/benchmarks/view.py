"""Pages about benchmarks: samples with their boxes, and images that benchmarks share.

Everything that a set holds is data: the templates escape it, and the page runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup

from zoomgap import pages
from zoomgap.benchmarks.stats import VIEWS
from zoomgap.geometry import Box, Size
from zoomgap.imaging import scale_of
from zoomgap.records import Sample

HERE = Path(__file__).parent
MAX_TEXT = 2_000
"""Characters of a question that are shown."""


@dataclass(frozen=True, slots=True)
class Card:
    """A sample with its pictures. jpeg may be smaller than the original, in whose pixels all boxes are.

    insets: for the first evidence boxes, the piece of the original around it and a JPEG of that.
    """

    sample: Sample
    jpeg: bytes
    insets: Sequence[tuple[Box, bytes]]

    @property
    def scale(self) -> float:
        """Pixels of the direct view at VIEWS[0] to a pixel of the original."""
        return scale_of(self.sample.size, VIEWS[0])


def render_samples(bench: str, cards: Sequence[Card], total: int) -> str:
    """A page of samples by kind of question. total: how many there are, of which the cards are the first."""
    groups: dict[str, list[Card]] = {}
    for card in cards:
        groups.setdefault(card.sample.dimension, []).append(card)
    script = (HERE / "view.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        pages.environment(HERE)
        .get_template("view.html.j2")
        .render(
            bench=bench,
            cards=len(cards),
            total=total,
            groups=groups,
            kinds=sorted({card.sample.evidence_kind for card in cards if card.sample.evidence_kind}),
            letters=ascii_uppercase,
            colors=pages.BOX_COLORS,
            view=VIEWS[0],
            max_text=MAX_TEXT,
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """An image reduced for a page, and the size of the original in pixels."""

    jpeg: bytes
    size: Size


def render_overlap(found: Mapping[str, Any], images: Mapping[str, Picture], shown: int) -> str:
    """A page of the first `shown` pairs of images. found: of Overlap.to_json; images: by sha256, those of the pairs."""
    template = pages.environment(HERE).get_template("overlap.html.j2")
    return template.render(found=found, images=images, shown=shown)
