from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.compare.test_attention import planted
from tests.markup import HOSTILE, Tags
from zoomgap import imaging
from zoomgap.compare.attention import Enrichment, Measured, enrichment
from zoomgap.compare.attention_page import Heat, Overlay, finding, render_attention
from zoomgap.geometry import Box, Size

JPEG = imaging.encode(Image.new("RGB", (64, 32), "grey"))


@pytest.fixture(scope="module")
def found() -> Enrichment:
    return enrichment(
        "b", [planted(4, model="micro"), planted(12, model="hf:/x/student")], answers="own", n=120, seed=0
    )


def heat(model: str = "micro", reply: str = "red", **fields) -> Heat:
    attention = np.full(8, 0.02, np.float32)
    attention[3] = 0.3
    return Heat(**{
        "model": model, "layer": 5, "reply": reply, "verdict": "correct", "rows": 2, "columns": 4,
        "attention": attention, **fields,
    })  # fmt: skip


def overlay(*heats: Heat, **fields) -> Overlay:
    return Overlay(**{
        "title": "s0, ocr", "question": "What is it?", "gold": "A) red", "jpeg": JPEG, "size": Size(1000, 500),
        "evidence": (Box(750, 0, 1000, 250),), "heats": heats or (heat(), heat("hf:/x/student", "blue")), **fields,
    })  # fmt: skip


def test_the_map_is_brightest_where_most_attention_goes():
    data = base64.b64decode(heat().png.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert pixels.shape == (2, 4, 4)
    assert np.unravel_index(pixels[..., 3].argmax(), (2, 4)) == (0, 3)
    assert pixels[..., :3].sum(-1).argmax() == 3
    assert heat().peak == pytest.approx(0.3 / 0.44 * 8)
    blind = heat(attention=np.zeros(8, np.float32))
    assert blind.peak == 0
    assert blind.png


def test_the_page_needs_nothing_from_outside(found):
    page = render_attention(found, [overlay()])
    for name, value in Tags(page).attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#"))
    assert "@import" not in page
    assert "script" not in Tags(page).tags
    assert page.count("<svg role") == 3, "a curve by layer, one by size, one of what goes to the image"
    assert "hf:/x/student" not in page, "models are called by their folders"


def test_what_models_and_sets_wrote_is_data(found):
    plain = Tags(render_attention(found, [overlay()]))
    hostile = overlay(
        heat(reply=HOSTILE), heat("hf:/x/student", HOSTILE), title=HOSTILE, question=HOSTILE, gold=HOSTILE
    )
    page = render_attention(found, [hostile])
    seen = Tags(page)
    assert seen.tags == plain.tags, "no element came from the data"
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page
    named = enrichment(HOSTILE, [planted(4, n=20, model=HOSTILE)], answers="own", n=20, seed=0)
    assert "script" not in Tags(render_attention(named, [])).tags


def test_the_finding_is_one_plain_sentence(found):
    told = finding(found)
    assert told.startswith("Answers of micro give the evidence ")
    assert "its share in layer 5" in told
    assert "; student there " in told
    assert "not told from 1" not in told
    alone = finding(enrichment("b", [planted(4, n=1, model="micro")], answers="own", n=1, seed=0))
    assert "(" not in alone, "no interval of one answer"
    assert "other samples" not in alone
    none = Measured(model="micro", weights="", dtype="", layers=(), looks=[], skipped={})
    assert finding(enrichment("b", [none], answers="own", n=0, seed=0)) == "No answer of micro attends to the image."


def test_few_answers_and_refused_pairs_still_make_a_page():
    odd = planted(4, n=3, model="hf:/x/odd")
    odd = Measured(
        model=odd.model, weights="", dtype="", layers=(0, 1), looks=odd.looks, skipped={"no evidence box": 4}
    )
    found = enrichment("b", [planted(4, n=3, model="micro"), odd], answers="gold", n=7, seed=0)
    page = render_attention(found, [])
    assert "cannot be compared" in page
    assert "the gold answers, read by each model" in page
    assert "left out: no evidence box</dt><dd>4" in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().replace("finance", "")


def test_maps_and_boxes_lie_over_the_image(found, dom_of, tmp_path):
    page = render_attention(found, [overlay()])
    script = """() => Object.fromEntries(
      [".look:nth-child(2) img", ".look:nth-child(2) img.map", ".look:nth-child(2) rect.box", "svg.figure"].map((q) => {
        const { x, y, width, height } = document.querySelector(q).getBoundingClientRect();
        return [q.split(" ").at(-1), [x, y, width, height]];
      }))"""
    path = tmp_path / "page.html"
    opened = re.sub(r"<meta http-equiv.*?>", "", page)
    tail = f"<script>document.title = JSON.stringify(({script})())</script></body>"
    path.write_text(opened.replace("</body>", tail), encoding="utf-8")
    seen = json.loads(re.search(r"<title>(.*?)</title>", dom_of(path), re.DOTALL)[1])
    image, laid, box = seen["img"], seen["img.map"], seen["rect.box"]
    assert image[2] > 250
    assert image[2] / image[3] == pytest.approx(2, rel=0.01)
    assert laid == pytest.approx(image, abs=1)
    scale = image[2] / 1000
    assert box == pytest.approx([image[0] + 750 * scale, image[1], 250 * scale, 250 * scale], abs=4)
    assert seen["svg.figure"][2] > 400
    # Under its own policy the page shows its pictures and runs no script.
    path.write_text(page.replace("</body>", "<script>document.title = 'x'</script></body>"), encoding="utf-8")
    assert "<title>x</title>" not in dom_of(path)
