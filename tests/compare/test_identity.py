"""What is told of how a run came about, and whether it is all there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zoomgap.compare.identity import identity, incomplete
from zoomgap.records import Invocation


def invocation(run, started: str, seconds: float | None = 1.0, **facts: object) -> Invocation:
    return Invocation(id=started, run=run.id, started=started, circumstances=facts, seconds=seconds)


@pytest.fixture
def run(world):
    return replace(world(40).run("a", 9, attempts=2), samples=20)


@pytest.mark.parametrize(
    ("samples", "answers", "seconds", "told"),
    [
        (20, 40, 1.0, ""),
        (30, 40, 1.0, "40 of 60 answers"),
        (20, 40, None, "its latest command has not ended"),
        (20, 7, None, "7 of 40 answers, its latest command has not ended"),
        (None, 7, None, ""),
    ],
)
def test_a_run_with_answers_to_come_says_so(run, samples, answers, seconds, told):
    own = [invocation(run, "2025-01-02", seconds), invocation(run, "2025-01-01", None)]
    given = replace(run, samples=samples, results=run.results[:answers], invocations=own)
    assert incomplete(given) == told, "only the latest command counts"


def test_what_commands_say_of_code_and_machine_is_told_once(run):
    facts = {"cpu": "A", "packages": {"torch": "2", "openai": None}}
    own = [
        invocation(run, "2025-01-02", revision="abc", **facts),
        invocation(run, "2025-01-01", revision="abc", **facts),
        invocation(run, "2025-01-03", revision="abc-dirty", **facts),
    ]
    found = identity(replace(run, invocations=own))
    assert (found.invocations, found.first, found.last) == (3, "2025-01-01", "2025-01-03")
    assert found.revisions == ("abc", "abc-dirty")
    assert found.packages == ("torch 2",)
    assert found.machines == ("A",)
    assert found.spec["sampling"]["temperature"] == 0


def test_a_run_of_unknown_circumstances_has_an_identity_all_the_same(run):
    found = identity(replace(run, invocations=[]))
    assert (found.invocations, found.first, found.revisions, found.machines) == (0, None, (), ())
