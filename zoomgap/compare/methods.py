"""What a reviewer needs to do a comparison again: the method in words, the command, and what to beware of."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from zoomgap.compare.rows import Comparison, ProtocolFault, RunRow, Settings
from zoomgap.compare.words import field as in_words
from zoomgap.compare.words import share


def command(comparison: Comparison) -> str:
    """The command that makes this comparison of the same database."""
    words = ["zoomgap", "compare", *(row.run for row in comparison.runs)]
    for run, role in comparison.roles.items():
        words += ["--role", f"{role}={run}"]
    for name in comparison.settings.allow:
        words += ["--allow", name]
    return shlex.join([*words, "--report", "report.html"])


def warnings(comparison: Comparison) -> list[str]:
    """What stands beside the verdict: settings that put it in doubt, runs that are not all there, errors."""
    return [
        *_doubts(comparison),
        *(text for row in comparison.runs for text in _about(row, comparison.settings)),
    ]


def _doubts(comparison: Comparison) -> Iterator[str]:
    names = {row.run: row.label for row in comparison.runs}
    by_field: dict[str, list[ProtocolFault]] = {}
    for fault in comparison.protocol_faults:
        by_field.setdefault(fault.field, []).append(fault)
    for field, faults in by_field.items():
        first = faults[0]
        where = f"{names[first.a]} and {names[first.b]}" if len(faults) == 1 else f"{len(faults)} pairs of runs"
        values = f"{in_words(first.a_value)} and {in_words(first.b_value)}{' among them' if len(faults) > 1 else ''}"
        consequence = "allowed: verdicts stand" if first.allowed else f"no verdict on them without --allow {field}"
        yield f"{where} differ in {field} ({values}): a difference may come from it; {consequence}."


def _about(row: RunRow, settings: Settings) -> Iterator[str]:
    if row.incomplete:
        yield f"{row.label} is not all there: {row.incomplete}. It is compared over the answers that both runs gave."
    if row.errors > settings.max_error_rate * row.attempted:
        told = f"{row.errors:,} of {row.attempted:,} answers are endpoint errors"
        yield f"{row.label}: {told}, over {settings.max_error_rate:.0%}: no verdict on it."
    right, given = row.correct, row.attempted - row.errors
    if row.attempted == 1:
        yield f"{row.label}: one answer, from which nothing follows."
    elif given and right in (0, given):
        yield f"{row.label}: all {given:,} answers are {'right' if right else 'wrong'}; is it graded as it should be?"


def methods(comparison: Comparison) -> list[str]:
    """The method in paragraphs: data, statistics, verdicts, code."""
    s, first = comparison.settings, comparison.identities[0].spec
    runs = ", ".join(f"{row.run} ({row.label}, {row.arm}, n {row.attempted:,})" for row in comparison.runs)
    revisions = sorted({name for who in comparison.identities for name in who.revisions})
    packages = list(dict.fromkeys(text for who in comparison.identities for text in who.packages))
    values = {
        "bench": comparison.bench,
        "sha256": first["benchmark_sha256"],
        "runs": runs,
        "grader": comparison.grader or "an unnamed grader",
        "errors": f"{s.max_error_rate:.0%}",
        "confidence": f"{s.confidence:.0%}",
        "draws": f"{s.draws:,}",
        "curve_draws": f"{s.curve_draws:,}",
        "seed": s.seed,
        "pairs": f"{len(comparison.pairs):,}",
        "margin": share(s.margin),
        "power": f"{s.power:.0%}",
        "margin_note": comparison.margin_note,
        "min_cell": f"{s.min_cell:,}",
        "allowed": f" Settings allowed to differ: {', '.join(s.allow)}." if s.allow else "",
        "revisions": ", ".join(revisions) or "not recorded",
        "packages": " or ".join(packages) or "not recorded",
    }
    text = (Path(__file__).parent / "methods.txt").read_text(encoding="utf-8")
    return [" ".join(part.split()).format(**values) for part in text.strip().split("\n\n")]
