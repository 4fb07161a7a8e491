"""A stored run of made-up answers, to be graded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image as PILImage

from zoomgap import imaging
from zoomgap.agents.grades import grade_answer
from zoomgap.geometry import Size
from zoomgap.records import Grade, Invocation, RunSpec, Sample, Trajectory
from zoomgap.storage import Store

COLORS = ("red", "blue", "dark red", "green")


class Answer(NamedTuple):
    """A reply and what it is graded by; earlier: the verdict that another version gave."""

    text: str
    answer: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    stop: str = "answered"
    earlier: str | None = None


def stored(path: Path, answers: list[Answer], arm: str = "direct", graded: bool = True) -> tuple[Store, str]:
    """A new or older database with the run, and its id. graded: by this version's rules, else by an earlier one."""
    store = Store.open(path)
    info = store.add_image(imaging.encode(PILImage.new("RGB", (64, 64)), "image/png"), "image/png", Size(64, 64))
    samples = [
        Sample(
            id=f"s{k}", benchmark="made", image=info.sha256, width=64, height=64, question=f"Question {k}?",
            answer=given.answer, answer_kind=given.kind, choices=given.choices, dimension="ocr", cluster=f"c{k}",
        )
        for k, given in enumerate(answers)
    ]  # fmt: skip
    store.add_benchmark("made", "0" * 64, {"kind": "made"}, samples)
    run = store.start_run(RunSpec(benchmark="made", benchmark_sha256="0" * 64, arm=arm, model="m"))
    store.start_invocation(Invocation(id=f"i-{arm}", run=run, started="2025", circumstances={}))
    for sample, given in zip(samples, answers, strict=True):
        made = Trajectory(
            run=run, sample=sample.id, attempt=0, invocation=f"i-{arm}", stop_reason=given.stop, text=given.text,
            steps=(), wall_ms=1.0,
        )  # fmt: skip
        grade = grade_answer(given.text, sample, failed=given.stop != "answered") if graded else None
        if given.earlier:
            grade = Grade(verdict=given.earlier, rule="anchored", answer="x", span=(0, 1), grader="rules-0")
        store.add_trajectory(made, grade)
    return store, run
