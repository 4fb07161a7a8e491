import json
import re

import pytest
from PIL import Image

from tests.markup import HOSTILE, Tags
from zoomgap import imaging
from zoomgap.benchmarks.view import Card, render_samples
from zoomgap.geometry import Box
from zoomgap.records import Sample

JPEG = imaging.encode(Image.new("RGB", (64, 32), "grey"))
CSP = re.compile(r"<meta http-equiv.*?>")


def card(k: int = 0, **changes) -> Card:
    fields = {
        "id": f"s{k}", "benchmark": "b", "image": "0" * 64, "width": 1000, "height": 500, "question": "What is it?",
        "answer": "B", "answer_kind": "choice", "dimension": "ocr", "choices": ("one", "two"),
        "evidence": (Box(600, 100, 700, 200),), "evidence_kind": "tight", "cluster": "c",
    }  # fmt: skip
    shown = Sample(**{**fields, **changes})
    return Card(shown, JPEG, [(imaging.region_box([box], shown.size), JPEG) for box in shown.evidence])


def test_the_page_needs_nothing_from_outside():
    page = render_samples("b", [card(k) for k in range(3)], 3)
    for name, value in Tags(page).attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#"))
    assert "@import" not in page
    assert "url(" not in page


def test_what_a_set_holds_is_data():
    plain = Tags(render_samples("b", [card()], 1))
    hostile = card(
        id=HOSTILE, question=HOSTILE, dimension=HOSTILE, cluster=HOSTILE, choices=(HOSTILE, HOSTILE), answer="A"
    )
    page = render_samples(HOSTILE, [hostile], 1)
    found = Tags(page)
    assert found.tags == plain.tags, "no element came from the data"
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page
    assert "&lt;script&gt;" in page
    answer = render_samples("b", [card(choices=(), answer=HOSTILE, answer_kind="text")], 1)
    assert Tags(answer).tags.count("script") == 1


def test_the_gold_and_what_is_left_out_are_told():
    page = render_samples("b", [card(0), card(1, dimension="color", evidence=(), choices=(), answer="red")], 1234)
    assert '<li class="gold">B) two</li>' in page
    assert "<li>A) one</li>" in page
    assert '<li class="gold">red</li>' in page
    assert "no evidence box" in page
    assert "The first 2 of 1,234 samples" in page
    assert page.count('class="group"') == 2
    assert "1 sample and where its evidence lies" in render_samples("b", [card()], 1)


def measured(page: str, script: str, dom_of, folder) -> dict:
    """What a script says of the page in a real browser. Its own policy lets no other script run, so it is taken out."""
    path = folder / "measured.html"
    tail = f"<script>document.title = JSON.stringify(({script})())</script></body>"
    path.write_text(CSP.sub("", page).replace("</body>", tail), encoding="utf-8")
    return json.loads(re.search(r"<title>(.*?)</title>", dom_of(path), re.DOTALL)[1].replace("&amp;", "&"))


def test_boxes_lie_over_the_image_where_the_evidence_is(dom_of, tmp_path):
    page = render_samples("b", [card()], 1)
    places = """() => Object.fromEntries(
      [".picture img", ".picture rect.box", ".inset img", ".inset rect.box"].map((query) => {
        const { x, y, width, height } = document.querySelector(query).getBoundingClientRect();
        return [query, [x, y, width, height]];
      }))"""
    found = measured(page, places, dom_of, tmp_path)
    whole, box = found[".picture img"], found[".picture rect.box"]
    assert whole[2] > 300
    assert whole[2] / whole[3] == pytest.approx(2, rel=0.01)
    scale = whole[2] / 1000
    expected = [whole[0] + 600 * scale, whole[1] + 100 * scale, 100 * scale, 100 * scale]
    assert box == pytest.approx(expected, abs=3), "a stroke's width apart"
    inset, inner = found[".inset img"], found[".inset rect.box"]
    assert inner[2] / inset[2] == pytest.approx(1 / 1.5, abs=0.05)
    assert inner[0] + inner[2] / 2 == pytest.approx(inset[0] + inset[2] / 2, abs=3)


def test_the_page_filters_itself_under_its_own_policy(dom_of, tmp_path):
    cards = [card(0), card(1, dimension="color"), card(2, dimension="color", question="Which COLOR?")]
    page = render_samples("b", cards, 3)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert "3 shown</output>" in dom_of(tmp_path / "page.html"), "its own script may run"
    (tmp_path / "bad.html").write_text(page.replace("</body>", "<script>document.title = 'x'</script></body>"))
    assert "<title>x</title>" not in dom_of(tmp_path / "bad.html"), "another may not"
    asked = """() => {
      const says = [];
      for (const [kindOf, typed] of [["kind-2", ""], ["", "which color"], ["kind-1", "which"], ["", ""]]) {
        kind.value = kindOf; words.value = typed; words.dispatchEvent(new Event("input"));
        says.push([told.textContent, document.querySelectorAll("details:not([hidden])").length]);
      }
      return says;
    }"""
    found = measured(page, asked, dom_of, tmp_path)
    assert found == [["2 shown", 1], ["1 shown", 1], ["0 shown", 0], ["3 shown", 2]]
