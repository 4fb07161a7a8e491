"""Times runs against one another, under like circumstances: in turn on each sample, or in turn block by block.

Runs one after the other would each meet the machine in another state. Here all meet the same: on each sample every run
answers before the next sample comes, and who is first changes from sample to sample.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any, TypeVar

from zoomgap.agents.context import Context, Settings
from zoomgap.agents.grades import grade_answer
from zoomgap.agents.runner import MAX_ERRORS_IN_A_ROW, Progress, answer_or_error, side_by_side
from zoomgap.errors import ModelError
from zoomgap.models.base import VisionModel
from zoomgap.records import RunSpec, Sample, TimedAnswer, TimedBlock, TimingSession, Trajectory
from zoomgap.renditions import Renditions
from zoomgap.storage import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRun:
    """A run to be timed, the open model that answers, and for `direct-matched` the pixels of each sample's image."""

    spec: RunSpec
    model: VisionModel
    budgets: Mapping[str, int] = field(default_factory=dict)


def turn_order(items: Sequence[T], turn: int) -> list[T]:
    """The items as they take their turn number `turn`: each turn another is first, and every len(items) turns the
    direction changes.

    In 2 len(items) turns in a row each item stands twice in every place, and as often before as after any other.
    """
    n = len(items)
    turned = [items[(turn + k) % n] for k in range(n)]
    return turned[::-1] if turn // n % 2 else turned


def spread_samples(samples: Sequence[Sample], n: int, seed: int) -> list[Sample]:
    """At most n of the samples in random order, spread evenly over dimensions and, within one, sizes of evidence."""
    n = min(n, len(samples))
    rng = random.Random(seed)
    mixed = rng.sample(list(samples), len(samples))
    ordered = sorted(mixed, key=lambda sample: (sample.dimension, sample.evidence_side or 0.0))
    start, stride = rng.random(), len(ordered) / max(n, 1)
    chosen = [ordered[int((k + start) * stride)] for k in range(n)]
    rng.shuffle(chosen)
    return chosen


class TimingBench:
    """Runs that are timed together. Each answer is that of images seen for the first time, and is stored at once.

    progress: told after each answer. Raises ModelError when a run has only errors, MAX_ERRORS_IN_A_ROW in a row, and
    RefusedError at once; what was timed before stays.
    """

    def __init__(
        self,
        store: Store,
        runs: Sequence[TimedRun],
        total: int,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.store, self.runs, self.total, self.progress = store, runs, total, progress
        renditions = Renditions(store, fresh=True)
        self.contexts = {
            run.spec.id: Context(run.model, renditions, Settings.of(run.spec), run.budgets) for run in runs
        }
        self.done = self.errors = 0
        self.in_a_row: Counter[str] = Counter()
        self.started = time.perf_counter()

    async def warm_up(self, samples: Sequence[Sample], times: int) -> None:
        """So many answers of each run that nobody times: a model's first ones are slow."""
        for run in self.runs:
            for sample in islice(cycle(samples), times):
                await self._answer(run, sample, 0, "warm-up")

    async def latency(self, session: TimingSession, samples: Sequence[Sample]) -> None:
        """One answer at a time, all runs in turn on each sample, `session.rounds` times."""
        self.started = time.perf_counter()
        turn = 0
        for number in range(session.rounds):
            for sample in samples:
                for position, run in enumerate(turn_order(self.runs, turn)):
                    context = self.contexts[run.spec.id]
                    context.forget()
                    trajectory = await self._answer(run, sample, number, session.id)
                    timed = timed_answer(trajectory, sample, session.id, number, position, run.spec.variant)
                    if timed.tool_ms is not None:
                        # Crops are shown after the first images, and their time is the tool's.
                        crops = sum(step.observation is not None for step in trajectory.steps)
                        spans = context.renditions.spans
                        timed = replace(timed, view_ms=sum(spans[: len(spans) - crops]))
                    self.store.add_timings([timed])
                    self._count(timed)
                turn += 1

    async def throughput(self, session: TimingSession, blocks: Sequence[Sequence[Sample]]) -> None:
        """Blocks of samples, all runs in turn on each, `session.in_flight` answers at once."""
        self.started = time.perf_counter()
        for number, samples in enumerate(blocks):
            for position, run in enumerate(turn_order(self.runs, number)):
                await self._block(session, run, samples, number, position)

    async def _block(
        self, session: TimingSession, run: TimedRun, samples: Sequence[Sample], number: int, position: int
    ) -> None:
        self.contexts[run.spec.id].forget()
        queue, found = iter(samples), list[TimedAnswer]()

        async def worker() -> None:
            for sample in queue:
                trajectory = await self._answer(run, sample, number, session.id)
                found.append(timed_answer(trajectory, sample, session.id, number, position, run.spec.variant))
                self._count(found[-1])

        started = time.perf_counter()
        await side_by_side(worker, min(session.in_flight, len(samples)))
        seconds = time.perf_counter() - started
        errors = sum(timed.verdict == "error" for timed in found)
        self.store.add_timings(
            found,
            TimedBlock(
                session=session.id, run=run.spec.id, block=number, position=position, answers=len(found) - errors,
                errors=errors, seconds=seconds,
            ),
        )  # fmt: skip

    async def _answer(self, run: TimedRun, sample: Sample, number: int, session: str) -> Trajectory:
        """Round k decodes as attempt k does."""
        return await answer_or_error(
            run.spec.arm, sample, self.contexts[run.spec.id], run=run.spec.id, attempt=number, invocation=session
        )

    def _count(self, timed: TimedAnswer) -> None:
        failed = timed.verdict == "error"
        self.done += 1
        self.errors += failed
        self.in_a_row[timed.run] = self.in_a_row[timed.run] + 1 if failed else 0
        if self.progress:
            eta_s = (time.perf_counter() - self.started) / self.done * (self.total - self.done)
            self.progress(Progress(done=self.done, total=self.total, errors=self.errors, eta_s=eta_s))
        if self.in_a_row[timed.run] >= MAX_ERRORS_IN_A_ROW:
            raise ModelError(
                f"timing stopped after {MAX_ERRORS_IN_A_ROW} errors of run {timed.run} in a row, the last one: "
                f"{timed.error}; mend that and time the runs again"
            )


def timed_answer(
    trajectory: Trajectory, sample: Sample, session: str, number: int, position: int, variant: int = 0
) -> TimedAnswer:
    """What a timing session keeps of an answer. A sum is None where a part of it is not known. variant: of the run."""
    calls = [step for step in trajectory.steps if step.call == 0]
    cut = [step.tool_ms for step in trajectory.steps if step.box is not None]
    return TimedAnswer(
        session=session,
        run=trajectory.run,
        sample=trajectory.sample,
        round=number,
        position=position,
        wall_ms=trajectory.wall_ms,
        verdict=grade_answer(trajectory.text, sample, failed=trajectory.failed, variant=variant).verdict,
        **{name: _sum([getattr(step.clocks, name) for step in calls]) for name in CLOCKS},
        tool_ms=_sum(cut) if cut else 0.0,
        **{name: _sum([getattr(step.usage, name) for step in calls]) for name in TOKENS},
        pixels_sent=trajectory.pixels_sent,
        turns=trajectory.turns,
        zooms=trajectory.zooms,
        error=trajectory.error,
    )


CLOCKS = ("model_ms", "preprocess_ms", "first_byte_ms")
TOKENS = ("prompt_tokens", "completion_tokens", "image_tokens")


def _sum(values: Sequence[Any]) -> Any:
    """Of numbers, None where one is missing or there are none."""
    return sum(values) if values and None not in values else None
