"""Seconds and peak memory of `zoomgap compare` over four arms, at 10,000 and at 100,000 samples.

Each database is made here: samples of six kinds in clusters of four, and four arms that read them by known curves, in
the rows that a real run leaves. The command then runs as a process of its own, on two cores. Other sizes may be given
as arguments, and a folder in which to keep the databases as KEEP=folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from zoomgap import imaging
from zoomgap.geometry import Box, Size
from zoomgap.grading import GRADER
from zoomgap.records import (
    DIMENSIONS,
    Arm,
    Clocks,
    Grade,
    Image,
    Invocation,
    Message,
    Request,
    RunSpec,
    Sample,
    Step,
    Text,
    Trajectory,
    Usage,
)
from zoomgap.storage import Store, rows
from zoomgap.storage.session import insert

SIZES = (10_000, 100_000)
CLUSTER = 4
SIDE, SCALE = 1024, 0.25
THRESHOLDS: dict[Arm, float] = {"direct": 20.0, "region": 6.0, "region-lowres": 14.0, "agent": 8.0}
"""Side in pixels of the direct view at which each arm reads half."""


def make_samples(n: int, image: str, rng: np.random.Generator) -> list[Sample]:
    samples = []
    for k, side in enumerate(2 ** rng.uniform(np.log2(5), np.log2(56), n) / SCALE):
        choice = k % 2 == 0
        samples.append(
            Sample(
                id=f"s{k}", benchmark="made", image=image, width=SIDE, height=SIDE, question="What color is the sign?",
                answer="A" if choice else "red", answer_kind="choice" if choice else "text",
                choices=("red", "blue", "green", "white") if choice else (),
                dimension=DIMENSIONS[k // CLUSTER % len(DIMENSIONS)], evidence=(Box(100, 100, 100 + side, 100 + side),),
                evidence_kind="tight", cluster=f"c{k // CLUSTER}",
            )
        )  # fmt: skip
    return samples


def trajectories(
    spec: RunSpec, samples: list[Sample], image: str, rng: np.random.Generator
) -> Iterator[tuple[Trajectory, Grade]]:
    """What an arm answered: it reads by a curve over the size of the evidence, and now and then guesses."""
    view = Image(image, 256, 256)
    request = Request(messages=(Message(role="user", content=(view, Text("What color is the sign?"))),))
    for sample in samples:
        octave = np.log2((sample.evidence_side or 1.0) * SCALE / THRESHOLDS[spec.arm])
        guess = 0.25 if sample.choices else 0.0
        right = rng.random() < guess + (1 - guess) * 0.95 / (1 + np.exp(-3 * octave))
        text = sample.answer if right else "B" if sample.choices else "blue"
        usage = Usage(prompt_tokens=90, completion_tokens=8, image_tokens=64)
        box = sample.evidence[0]
        looks = [
            Step(
                index=0, request=request, text="look", box_written=tuple(box.as_list()), box=box, label="sign",
                observation=view, usage=usage, clocks=Clocks(model_ms=20.0, preprocess_ms=2.0), tool_ms=3.0,
            )
        ] if spec.arm == "agent" else []  # fmt: skip
        last = Step(
            index=len(looks), request=request, text=text, usage=usage, clocks=Clocks(model_ms=20.0, preprocess_ms=2.0)
        )
        found = Trajectory(
            run=spec.id, sample=sample.id, attempt=0, invocation=f"i-{spec.arm}", stop_reason="answered", text=text,
            steps=(*looks, last), wall_ms=float(30 * (1 + len(looks)) * np.exp(rng.normal(0, 0.2))),
        )  # fmt: skip
        verdict = "correct" if right else "incorrect"
        yield found, Grade(verdict=verdict, rule="letter", answer=text, span=(0, len(text)), grader=GRADER)


def fill(path: Path, n: int) -> list[str]:
    """A database of n samples and the runs of four arms over them; the ids of the runs."""
    rng = np.random.default_rng(0)
    runs = []
    with Store.open(path) as store:
        data = imaging.encode(PILImage.new("RGB", (SIDE, SIDE), "white"))
        image = store.add_image(data, "image/jpeg", Size(SIDE, SIDE)).sha256
        samples = make_samples(n, image, rng)
        store.add_benchmark("made", "0" * 64, {"kind": "import"}, samples)
        for arm in THRESHOLDS:
            spec = RunSpec(benchmark="made", benchmark_sha256="0" * 64, arm=arm, model="made", weights="0" * 64)
            runs.append(store.start_run(spec))
            started = Invocation(id=f"i-{arm}", run=spec.id, started=rows.now(), circumstances={"concurrency": 1})
            store.start_invocation(started)
            with store._write() as connection:  # one transaction a run: add_trajectory has one an answer
                for found, grade in trajectories(spec, samples, image, rng):
                    steps = [rows.step_columns(step, spec.model) for step in found.steps]
                    row = rows.trajectory_columns(found, steps, None) | {"benchmark": spec.benchmark}
                    id = insert(connection, "trajectories", [row])
                    insert(connection, "steps", [step | {"trajectory": id} for step in steps])
                    insert(connection, "grades", [rows.grade_columns(grade, id)])
            store.finish_invocation(started.id, 1.0)
    return runs


class Cost(NamedTuple):
    """Of one command: wall and processor seconds, and the most memory that it held, GiB."""

    wall: float
    processor: float
    peak: float


def compare(path: Path, runs: list[str]) -> Cost:
    command = [sys.executable, "-m", "zoomgap", "compare", *runs, "--db", str(path), "--json"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | threads)
    assert child.stdout is not None
    found = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0
    assert len(found["runs"]) == len(runs)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("KEEP", scratch))
        times = []
        for n in sizes:
            path = folder / f"{n}" / "zoomgap.db"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                with Store.open(path) as store:
                    runs = [info.id for info in store.runs()]
            else:
                runs = fill(path, n)
            cost = compare(path, runs)
            times.append(cost.wall)
            print(
                f"{n:,} samples x {len(runs)} arms: {cost.wall:.1f} s ({cost.processor:.1f} s of processor time), "
                f"at most {cost.peak:.2f} GiB",
                flush=True,
            )
        if len(times) > 1:
            print(f"{sizes[-1]:,} over {sizes[0]:,}: {times[-1] / times[0]:.1f} times the time")


if __name__ == "__main__":
    main()
