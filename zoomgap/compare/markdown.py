"""The report in short, as Markdown that GitHub renders: for the description or a comment of a pull request.

Everything that a model or a benchmark wrote is data: whatever the template puts in is escaped unless it is marked as
Markdown of our own.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zoomgap.compare.finding import finding
from zoomgap.compare.matrix import matrix
from zoomgap.compare.methods import command, methods, warnings
from zoomgap.compare.rows import Comparison
from zoomgap.compare.words import FILTERS


def markdown(comparison: Comparison) -> str:
    """The sentence, warnings, verdicts, runs, pairs, and how to make it again."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("report.md.j2").render(
        comparison=comparison,
        s=comparison.settings,
        finding=finding(comparison),
        warnings=warnings(comparison),
        names={row.run: row.label for row in comparison.runs},
        matrix=matrix(comparison),
        methods=methods(comparison),
        command=Markup(command(comparison)),
    )


def escaped(value: object) -> object:
    """A text as Markdown shows it: nothing in it is markup, a mention, a reference or a new line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = re.sub(r"[&<>|*_`\[\]~\\$]", lambda found: f"&#{ord(found[0])};", re.sub(r"\s+", " ", value))
    # GitHub would call people and link issues; an empty comment in between keeps the look and stops that.
    return re.sub(r"(?<!&)([@#])(?=\w)", r"\1<!-- -->", text)
