"""`zoomgap score` and `zoomgap regrade`: verdicts on replies made elsewhere, and anew on stored runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from zoomgap.console import judged_lines, opened, print_json, progress, regraded_lines, resumable, score_lines
from zoomgap.errors import UsageError
from zoomgap.options import DEFAULT_DB, Db, Endpoint, Json, Wire

MAX_TOLD = 20
"""Bad lines that are named one by one."""


def score(
    file: Annotated[str, typer.Argument(help="JSON lines: id, answer, answer_kind, reply, choices; - for stdin.")],
    out: Annotated[Path | None, typer.Option(help="Write the verdicts there, one JSON object a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts instead of the counts.")] = False,
) -> None:
    """Grade replies made elsewhere: a line in, a verdict out. No database is needed.

    Example: zoomgap score replies.jsonl --json
    """
    from zoomgap.pipeline.grades import BadLine, Tally
    from zoomgap.pipeline.grades import score as graded

    tally, bad = Tally.new(), 0
    named = "stdin" if file == "-" else file
    with resumable(), _lines(file) as lines, _written(out) as written:
        for found in graded(lines):
            if isinstance(found, BadLine):
                bad += 1
                if bad <= MAX_TOLD:
                    typer.echo(f"zoomgap: {named} line {found.number}: {found.why}", err=True)
                continue
            tally.add(found)
            line = json.dumps(found.to_json(), ensure_ascii=False)
            if written is not None:
                written.write(f"{line}\n")
            if as_json:
                typer.echo(line)
    if not as_json:
        score_lines(tally.rows())
    if bad:
        raise UsageError(f"{bad} lines of {named} were not graded: mend them and score it again")


def regrade(
    run: Annotated[str | None, typer.Argument(help="A run (its first characters suffice).")] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="Every run of the database.")] = False,
    judge: Annotated[
        str | None, typer.Option(help="Ask this model too, about open text and replies that the rules cannot read.")
    ] = None,
    endpoint: Endpoint = None,
    wire: Wire = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Replies that the judge has at once.")] = 32,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Grade stored answers by the rules of this version; earlier verdicts stay. The same command goes on.

    Example: zoomgap regrade 3f2a --judge Qwen3-8B --endpoint http://localhost:8000/v1
    """
    from zoomgap.pipeline import grades
    from zoomgap.pipeline.judge import judge_runs

    if (run is None) != all_runs:
        raise UsageError("what to grade is not clear: name one run, or give --all")
    if judge is None and endpoint is not None:
        raise UsageError("an endpoint is for a judge: give --judge MODEL with it")
    if wire not in (None, "chat", "responses"):
        raise UsageError(f"wire '{wire}' is not known: use chat or responses")
    with opened(db) as store:
        runs = grades.runs_to_regrade(store, run)
        with progress("grading") as update:
            found = [grades.regraded_json(one) for one in grades.regrade_runs(store, runs, update)]
        document: dict[str, Any] = {"runs": found}
        if judge is not None:
            with progress(f"asking {judge}") as update:
                judged = judge_runs(
                    store, runs, judge, endpoint, concurrency=concurrency, wire=wire or "chat", count=update  # type: ignore[arg-type]
                )  # fmt: skip
            document["judged"] = [one.to_json() for one in judged]
    if as_json:
        print_json(document)
        return
    regraded_lines(document["runs"])
    judged_lines(document.get("judged", []))


@contextmanager
def _lines(file: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file or of stdin, read as they are wanted."""
    if file == "-":
        yield iter(sys.stdin.buffer)
        return
    try:
        with Path(file).open("rb") as stream:
            yield iter(stream)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        why = f"'{file}' cannot be read ({error.strerror})"
        raise UsageError(f"{why}: name a file of JSON lines, or - for stdin") from None


@contextmanager
def _written(out: Path | None) -> Iterator[IO[str] | None]:
    if out is None:
        yield None
        return
    with out.open("w", encoding="utf-8") as stream:
        yield stream
