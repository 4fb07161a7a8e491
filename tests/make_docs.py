"""Writes the pages of docs/ that are made from code: `make docs`. tests/test_docs.py fails when they are stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from zoomgap.cli import app
from zoomgap.compare.document import schema
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
    return filled("models.md", families=f"{table}\n\nSources:\n\n{sources}\n")


RULES = {
    "answer_tag": "**answer_tag**: what stands in the last `<answer>` tags. Other text does not count; an empty tag "
    "is an empty answer.",
    "boxed": "**boxed**: what stands in `\\boxed{}`, however its letter is set.",
    "anchored": "**anchored**: what is announced, by words such as *the answer is*, *Answer:*, *I choose*, *B is "
    "correct*, or by a last sentence that begins with *so* or *therefore*. Where an answer is called final, only that.",
    "alone": "**alone**: a line, or the last sentence, that is nothing but the answer.",
    "only": "**only**: the one option or number that the reply speaks of, without denying it, asking or comparing. A "
    "letter has to open the reply; of option texts the longest counts. For open text: the reply, if it is short.",
    "whole": "**whole** (open text): the reply is the gold.",
    "none": "**unparsed**: no rule finds an answer, or one rule finds two.",
}
SHOWN = {"answer_tag": 3, "boxed": 6, "anchored": 2, "whole": 2, "none": 2}
"""Examples of each group of the table; one for the other rules."""
FORMS = {"choice": "choice", "integer": "integer", "text": "open text"}


def grading_markdown() -> str:
    """docs/grading.md with its rules, examples and comparison made anew from the table of the tests."""
    folder = Path(__file__).parent / "grading"
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text(encoding="utf-8").splitlines()]
    parts = [f"{about}\n\n{examples(rows, rule)}" for rule, about in RULES.items()]
    faults = json.loads((folder / "faults.json").read_text(encoding="utf-8"))
    head = "| lmms-eval 0.7.3 | replies | one of them | it reads | we read |\n" + "|---" * 5 + "|"
    lines = []
    for fault, about in faults.items():
        found = [row for row in rows if row.get("fault") == fault]
        first = found[0]
        read = " | ".join(f"`{first[key]}`" if first[key] else "nothing" for key in ("lmms_eval", "read"))
        lines.append(f"| {about} | {len(found)} | {code(first['reply'])} | {read} |")
    asked = [row for row in rows if "lmms_eval" in row]
    apart = f"They differ on {sum('fault' in row for row in asked)} of {len(asked)} replies."
    return filled(
        "grading.md", rules="\n\n".join(parts) + "\n", faults="\n".join([apart, "", head, *lines]) + "\n",
    )  # fmt: skip


def examples(rows: list[dict[str, Any]], rule: str) -> str:
    """The first replies of each group of the table that the rule reads, as a table."""
    seen: dict[tuple[str, str], int] = {}
    lines = ["| reply | form | read | why |", "|---|---|---|---|"]
    for row in rows:
        group = (row["id"].rpartition("-")[0], row["answer_kind"])
        if row["rule"] == rule and len(row["reply"]) < 200 and seen.setdefault(group, 0) < SHOWN.get(rule, 1):
            seen[group] += 1
            form = FORMS[row["answer_kind"]] + (f": {', '.join(row['choices'])}" if row["choices"] else "")
            lines.append(f"| {code(row['reply'])} | {form} | {code(row['read'] or '')} | {row['note']} |")
    return "\n".join(lines)


def code(text: str) -> str:
    """A text as it is written, in a cell of a table."""
    if not text.strip():
        return "(white space)" if text else "(nothing)"
    shown = text.replace("|", "\\|").replace("\n", "⏎")
    return f"`` {shown} ``"


def filled(page: str, **parts: str) -> str:
    """A page of docs/ with the parts between its marks made anew; the rest is written by hand."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, part in parts.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        assert mark, f"docs/{page} has lost the mark before its {name}"
        assert end, f"docs/{page} has lost the mark after its {name}"
        text = f"{before}{mark}{part}{end}{after}"
    return text


def comparison_schema() -> str:
    """The JSON Schema of `zoomgap compare --json`."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "cli.md": cli_markdown, "schema.md": schema_markdown, "models.md": models_markdown, "grading.md": grading_markdown,
    "comparison.schema.json": comparison_schema,
}  # fmt: skip


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
