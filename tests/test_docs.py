"""Pages made from code are up to date, and what the README tells people to type exists."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from zoomgap.cli import app
from zoomgap.compare import parse

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("make_docs", Path(__file__).parent / "make_docs.py")
make_docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_docs)


@pytest.mark.parametrize("name", make_docs.PAGES)
def test_pages_made_from_code_are_up_to_date(name):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == make_docs.PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_command_has_an_example():
    for words in make_docs.commands(typer.main.get_command(app)):
        command = typer.main.get_command(app)
        for word in words[1:]:
            command = command.commands[word]
        assert f"Example: {' '.join(words)}" in command.help, words


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/compare.md",
        "docs/results.md",
        "docs/benchmarks.md",
        "docs/grading.md",
        "docs/when-is-zooming-needed.md",
        "docs/router.md",
        "docs/latency.md",
    ],
)
def test_commands_in_the_docs_exist(page):
    known = set(make_docs.commands(typer.main.get_command(app)))
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    typed = [shlex.split(line, comments=True) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    typed = [words for words in typed if words and words[0] == "zoomgap"]
    assert typed
    for words in typed:
        assert tuple(words[:2]) in known or tuple(words[:3]) in known, words


def test_pictures_and_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_conditions_in_the_docs_can_be_read():
    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```\n(student < .*?)```", text, re.DOTALL)
    conditions = [line.split("   ")[0] for line in block.splitlines()]
    conditions += re.findall(r'--fail-if "([^"]+)"', text)
    assert len(conditions) == 7
    for condition in conditions:
        parse(condition)
