"""Writes the pages of docs/ that are made from code: `make docs`. tests/test_docs.py fails when they are stale."""

from __future__ import annotations

from pathlib import Path

import typer

from zoomgap.cli import app
from zoomgap.models.families import FAMILIES, UNKNOWN, Family
from zoomgap.storage import schema_markdown

DOCS = Path(__file__).parents[1] / "docs"


def commands(group: object, path: tuple[str, ...] = ("zoomgap",)) -> list[tuple[str, ...]]:
    """Every command below `group`, as the words that name it."""
    inner = getattr(group, "commands", None)
    if inner is None:
        return [path]
    return [found for name, command in inner.items() for found in commands(command, (*path, name))]


def cli_markdown() -> str:
    """Help of every command, 100 columns wide."""
    from typer.testing import CliRunner

    parts = ["# Commands\n\nMade from the code by `make docs`. Every command takes `--help`.\n"]
    for words in commands(typer.main.get_command(app)):
        result = CliRunner().invoke(app, [*words[1:], "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
        assert result.exit_code == 0, result.output
        text = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
        parts.append(f"## {' '.join(words)}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def models_markdown() -> str:
    """docs/models.md with its tables of families made anew; the rest of the page is written by hand."""
    head = (
        "| family | boxes | factor | view px | crop px | calls | tools shown | images | resize |\n" + "|---" * 9 + "|"
    )

    def row(family: Family) -> str:
        crops = " to ".join(f"{pixels:,}" for pixels in dict.fromkeys(family.crops))
        cells = (
            family.name, family.convention, family.factor, f"{family.view_pixels:,}", crops,
            family.dialect, "yes" if family.renders_tools else "no", family.max_images or "", family.resize,
        )  # fmt: skip
        return "| " + " | ".join(map(str, cells)) + " |"

    families = (*FAMILIES, UNKNOWN)
    table = "\n".join([head, *map(row, families)])
    sources = "\n".join(f"- {family.name}: {family.source}" for family in families)
    before, mark, rest = (DOCS / "models.md").read_text(encoding="utf-8").partition("<!-- families -->\n")
    _, end, after = rest.partition("<!-- end of families -->\n")
    assert mark, "docs/models.md has lost its first mark"
    assert end, "docs/models.md has lost its last mark"
    return f"{before}{mark}{table}\n\nSources:\n\n{sources}\n{end}{after}"


PAGES = {"cli.md": cli_markdown, "schema.md": schema_markdown, "models.md": models_markdown}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
