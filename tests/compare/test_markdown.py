"""The report of a pull request renders as it should, and what models wrote stays text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.markup import HOSTILE, Tags
from zoomgap.compare.comparison import compare
from zoomgap.compare.markdown import escaped, markdown
from zoomgap.compare.methods import command
from zoomgap.compare.rows import Settings

QUICK = Settings(draws=60, curve_draws=20)
SAME = {"model": "m", "weights": "w"}
github = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def test_it_says_what_the_page_says(world):
    w = world(2400)
    found = compare(
        [w.run("base", 22, shared=0.7, **SAME), w.run("agent", 7, shared=0.7, arm="agent", **SAME)], settings=QUICK
    )
    page = github.render(markdown(found))
    tags = Tags(page)
    assert tags.tags.count("table") == 3, "verdicts, runs, pairs"
    text = text_of(page)
    for wanted in ("Zooming is still needed", "zoom still needed", "base", "b better", command(found)):
        assert wanted in text, wanted
    for row in found.runs:
        assert f"{row.accuracy * 100:.1f}" in text
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    assert {len(re.findall(r"<t[hd]", row)) for row in rows} == {5, 8}, "no row has lost or gained a cell"


def test_many_pairs_are_folded_away(world):
    w = world(60)
    found = compare([w.run(f"run {k}", 9) for k in range(5)], settings=QUICK)
    page = github.render(markdown(found))
    assert "<summary>10 pairs</summary>" in page
    assert page.count("<details>") == page.count("</details>") == 2


@pytest.mark.parametrize(
    "label", [HOSTILE, "a | b", "x\ny", "[x](http://y) ![z](w)", "`a` **b** ~~c~~ <!-- d", "a\\|b"]
)
def test_labels_are_text(world, label):
    w = world(60)
    page = github.render(markdown(compare([w.run(label, 9), w.run("other", 9)], settings=QUICK)))
    assert set(Tags(page).tags) <= {
        "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "details", "summary",
        "blockquote", "ul", "li",
    }  # fmt: skip
    assert re.sub(r"\s+", " ", label) in re.sub(r"\s+", " ", text_of(page))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=30))
def test_any_text_survives_as_it_is(text):
    page = github.render(f"x{escaped(text)}x\n")
    assert Tags(page).tags == ["p"]
    assert re.sub(r"\s+", " ", text_of(page)).strip() == re.sub(r"\s+", " ", f"x{text}x").strip()


def test_nobody_is_called_and_no_issue_is_linked():
    assert escaped("ask @someone in #12") == "ask @<!-- -->someone in #<!-- -->12"
