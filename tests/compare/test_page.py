"""The report in a real browser: from disk, in light and dark, on a phone, on paper, with the keyboard."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.browser import Browser
from tests.markup import HOSTILE
from zoomgap.compare.comparison import compare
from zoomgap.compare.report import AnswerView, SampleGroup, SampleView, ZoomView, render
from zoomgap.compare.rows import Settings
from zoomgap.geometry import Box, Size
from zoomgap.records import Sampling

QUICK = Settings(draws=60, curve_draws=20)
SAME = {"model": "m", "weights": "w"}
HASH = "0123456789abcdef" * 4
LONG = "a-model-with-a-very-long-name/of-the-kind-that-hubs-have-these-days-instruct-2507-preview direct"


def answered(world, label: str, *args, **given):
    """A run with hashes as long as real ones are."""
    return world.run(label, *args, benchmark_sha256=HASH, prompts=HASH, **given)


def picture(width: int, height: int, color: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), color).save(buffer, "JPEG")
    return buffer.getvalue()


def shown(run: str, other: str, text: str) -> list[SampleGroup]:
    """A group with one sample of two pictures, of which everything that was written is `text`."""
    zooms = (ZoomView(Box(100, 100, 300, 260), text, picture(120, 100, "teal")),)
    view = SampleView(
        id="s1", dimension="ocr", question=text, choices=(text, "other"), gold="A",
        images=(picture(500, 400, "peru"), picture(300, 300, "navy")), size=Size(1000, 800),
        evidence=(Box(150, 150, 200, 200),),
        answers=(AnswerView(run, "correct", text, zooms), AnswerView(other, "incorrect", text * 30)),
    )  # fmt: skip
    return [SampleGroup(title="Only the agent is right", total=9, how="Drawn.", single=False, views=[view])]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        assert os.environ.get("CI") != "true", "chromium is missing: apt-get install chromium"
        pytest.skip("chromium is not installed: the report was not opened in a browser")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(world, tmp_path_factory) -> Path:
    """A report of many runs with everything in it."""
    w = world(1800)
    base, agent = (
        answered(w, "base", 22, wall=50, shared=0.7, **SAME),
        answered(w, "agent", 7, turns=3, shared=0.7, arm="agent", **SAME),
    )
    arms = [
        answered(w, f"base {arm}", 6, arm=arm, shared=0.7, **SAME)
        for arm in ("region", "region-lowres", "agent-lowres")
    ]
    students = [
        answered(w, name, px, shared=0.7, model=name) for name, px in (("student", 12), ("floor", 22), ("ceiling", 9))
    ]
    hot = answered(w, "hot student", 12, shared=0.7, model="student", sampling=Sampling(temperature=0.7))
    found = compare([base, agent, *arms, *students, hot], {run.id: run.label for run in students}, settings=QUICK)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(found, shown(agent.id, students[0].id, "What is on the sign?")), encoding="utf-8")
    return path


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def sections(browser: Browser) -> list[str]:
    return browser.value("[...document.querySelectorAll('section > h2')].map(h => h.textContent)")


def overflow(browser: Browser) -> list[str]:
    """What sticks out of the window to the right, other than inside tables that scroll."""
    return browser.value(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg') && "
        "!e.matches('.hidden, .skip') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.tagName + '.' + e.className)"
    )


def test_it_opens_from_disk_and_asks_for_nothing(browser, page):
    browser.open(page)
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []
    assert browser.value("document.images.length") == 3
    assert browser.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_verdict_comes_first_and_every_section_is_explained(browser, page):
    browser.open(page)
    assert sections(browser) == [
        "Where zooming still earns its cost", "Runs", "Accuracy, time and size",
        "How small a thing each run reads", "Ratios of acuity", "Where the zooming gap comes from",
        "Does the agent look in the right place?", "What the zooming tool brings",
        "What distillation recovered", "Where the time goes", "A router between the two", "Pairs",
        "Protocol differences",
        "Wins and losses", "Methods",
    ]  # fmt: skip
    bare = "[...document.querySelectorAll('section')].filter(s => !s.querySelector('p.lead')).map(s => s.id)"
    assert browser.value(bare) == []
    own = {
        "runs",
        "pairs",
        "frontier",
        "acuity",
        "ratios",
        "gaps",
        "recovered",
        "protocol",
        "samples",
        "methods",
        "dual",
        "contribution",
        "verdicts",
        "latency",
    }
    captioned = browser.value(
        "[...document.querySelectorAll('section')].filter(s => s.querySelector('.caption')).map(s => s.id)"
    )
    assert own <= set(captioned)
    top = browser.value(
        "[...document.querySelectorAll('h1, .warnings, section')].map(e => e.getBoundingClientRect().top)"
    )
    assert top == sorted(top)
    assert "no verdict on them without --allow sampling.temperature" in browser.value(
        "document.querySelector('.warnings').textContent"
    )


def test_contents_lead_to_every_section(browser, page):
    browser.open(page)
    links = browser.value("[...document.querySelectorAll('.contents a')].map(a => a.getAttribute('href').slice(1))")
    assert links == browser.value("[...document.querySelectorAll('section')].map(s => s.id)")
    browser.value("document.querySelector('.contents a[href=\"#methods\"]').click()")
    assert browser.value("scrollY") > 1000


def test_charts_have_a_table_behind_them_that_opens(browser, page):
    browser.open(page)
    assert browser.value("document.querySelectorAll('figure.card').length") == 7, (
        "frontier, sizes, two curves, losses, controls, zooms"
    )
    assert browser.value(
        "[...document.querySelectorAll('figure.card')].every(f => f.querySelector('svg[role=img][aria-label]') && "
        "f.querySelector('details table tbody tr'))"
    )
    table = "document.querySelector('figure.card details')"
    assert not browser.value(f"{table}.querySelector('table').checkVisibility()")
    browser.value(f"{table}.querySelector('summary').click()")
    assert browser.value(f"{table}.querySelector('table').checkVisibility()")


def test_light_and_dark_follow_the_system_and_the_readers_choice(browser, page):
    browser.open(page)
    light = pixels(browser.photograph())
    browser.prefer(dark=True)
    dark = pixels(browser.photograph())
    assert light.mean() > 200
    assert dark.mean() < 70
    for shot in (light, dark):
        assert len(np.unique(shot[::4, ::4].reshape(-1, 3), axis=0)) > 50, "a page, not a blank"
    browser.value("document.querySelector('#theme-light').click()")
    assert np.abs(pixels(browser.photograph()) - light).mean() < 3, "light although the system is dark"
    browser.prefer(dark=False)
    browser.value("document.querySelector('#theme-dark').click()")
    assert np.abs(pixels(browser.photograph()) - dark).mean() < 3, "dark although the system is light"


CONTRAST = """
(() => {
  const ctx = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = color => {
    ctx.clearRect(0, 0, 1, 1); ctx.fillStyle = color; ctx.fillRect(0, 0, 1, 1);
    return ctx.getImageData(0, 0, 1, 1).data;
  };
  const part = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const color = rgb(getComputedStyle(e).backgroundColor);
      if (color[3] > 250) return color;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const e of document.querySelectorAll('h1, h2, h3, p, td, th, li, dt, dd, a, summary, span, figcaption, pre')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || e.matches('.hidden')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.add(`${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 30)}`);
  }
  return [...poor];
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read(browser, page, dark):
    """WCAG AA: a contrast of 4.5 to 1."""
    browser.open(page, dark=dark)
    assert browser.value(CONTRAST) == []


def test_tables_and_controls_have_names(browser, page):
    browser.open(page)
    unscoped = "[...document.querySelectorAll('th')].filter(t => !t.scope).map(t => t.textContent)"
    assert browser.value(unscoped) == []
    assert browser.value("[...document.images].every(i => i.alt)")
    assert browser.value("[...document.querySelectorAll('.scroll[tabindex]')].every(e => e.ariaLabel)")
    assert browser.value("document.documentElement.lang") == "en"
    ids = browser.value("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_nothing_sticks_out(browser, page, width):
    browser.open(page, width=width, height=800)
    assert browser.value("document.documentElement.scrollWidth") <= width, overflow(browser)


def printed(browser: Browser) -> str:
    pdf = browser.pdf()
    found = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return re.sub(r"\s+", " ", found.stdout.decode())


@pytest.mark.skipif(
    shutil.which("pdftotext") is None and os.environ.get("CI") != "true",
    reason="pdftotext is not installed: apt-get install poppler-utils",
)
def test_on_paper_everything_is_there_and_light(browser, page):
    browser.open(page, dark=True)
    text = printed(browser)
    for title in sections(browser):
        assert title in text, title
    last = "document.querySelector('#{} details table tbody tr:last-child {}').textContent.trim()"
    assert browser.value(last.format("pairs", "td")) in text, "what is folded on the screen is open on paper"
    assert browser.value(last.format("acuity figure", "td:last-child")) in text, "tables behind charts are printed"
    pdf = browser.pdf()
    drawn = subprocess.run(
        ["pdftoppm", "-r", "30", "-png", "-f", "1", "-l", "1", "-"], input=pdf, capture_output=True, check=True
    )
    assert pixels(drawn.stdout).mean() > 220


def test_hostile_text_stays_text(browser, world, tmp_path):
    w = world(60)
    a, b = answered(w, HOSTILE, 9), answered(w, HOSTILE + " 2", 20)
    path = tmp_path / "hostile.html"
    path.write_text(render(compare([a, b], settings=QUICK), shown(a.id, b.id, HOSTILE)), encoding="utf-8")
    browser.open(path)
    assert browser.requests == [path.as_uri()]
    assert browser.complaints == []
    assert browser.value("document.scripts.length") == 0
    assert browser.value("document.images.length") == 3
    assert HOSTILE in browser.value("document.body.textContent")


@pytest.mark.parametrize("n", [1, 2, 15])
def test_one_to_fifteen_runs_with_long_names_fit(browser, world, tmp_path, n):
    w = world(240)
    runs = [answered(w, f"{LONG} {k}", 8 + k, **(SAME if k else {"model": LONG}), attempts=k + 1) for k in range(n)]
    path = tmp_path / "report.html"
    path.write_text(render(compare(runs, settings=QUICK)), encoding="utf-8")
    browser.open(path, width=390, height=800)
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") <= 390, overflow(browser)
    assert browser.value("document.querySelectorAll('#runs tbody tr').length") == n
    assert {"Runs", "Protocol differences", "Methods"} <= set(sections(browser))
