"""Runs one arm over samples: concurrent, resumable, every answer stored as soon as it is there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from zoomgap.agents.arms import answer, check_arm
from zoomgap.agents.circumstances import new_invocation
from zoomgap.agents.context import Context, Settings
from zoomgap.agents.grades import grade_answer, regrade
from zoomgap.errors import ImageError, ModelError, StoreError, UsageError
from zoomgap.models.base import VisionModel
from zoomgap.models.prices import Cost, cost_of
from zoomgap.records import FAILED, Arm, Grade, RunSpec, Sample, StopReason, Trajectory
from zoomgap.renditions import Counts, Renditions
from zoomgap.storage import Store

MAX_ERRORS_IN_A_ROW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """done, total: answers of the command, those of earlier invocations included. errors: of this one. eta_s: to go."""

    done: int
    total: int
    errors: int
    eta_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Counts of answers (sample x attempt) that the command asked for, whenever they were given.

    attempted = answered + unparsed + errors; correct is part of answered. seconds, images: of this invocation. resumed:
    how many were there before it.
    """

    run: str
    n: int
    attempted: int
    answered: int
    unparsed: int
    errors: int
    correct: int
    seconds: float
    resumed: int
    images: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where an invocation stops, those under way finished; the same command goes on. None: nowhere.

    samples: new answers. cost: US dollars of new answers.
    """

    samples: int | None = None
    cost: float | None = None


class Key(NamedTuple):
    """One answer to give."""

    sample: Sample
    attempt: int

    @property
    def name(self) -> tuple[str, int]:
        return self.sample.id, self.attempt


async def run_arm(
    spec: RunSpec,
    samples: Sequence[Sample],
    store: Store,
    model: VisionModel,
    *,
    concurrency: int = 8,
    progress: Callable[[Progress], None] | None = None,
    limit: int | None = None,
    budgets: Mapping[str, int] | None = None,
    price: Cost | None = None,
    limits: Limits | None = None,
) -> RunSummary:
    """Answer the first `limit` samples, `spec.attempts` times each, leaving out what is stored already.

    budgets: pixels of the full image by sample, for `direct-matched`. price: of the model, if it has one.

    Order: attempt by attempt, samples as given. Each answer is stored in one transaction when it is done, so an
    interruption loses only those under way; the same call goes on. Raises UsageError for an arm that does not fit,
    ModelError after 20 errors in a row, and for a limit on costs that are not known. The model is left open.
    """
    if concurrency < 1:
        raise UsageError(f"concurrency {concurrency} is under 1: give the number of answers to work on at once")
    samples = samples[:limit]
    check_arm(spec.arm, samples)
    run = store.start_run(spec)
    keys = [Key(sample, attempt) for attempt in range(spec.attempts) for sample in samples]
    done = store.done(run)
    limits = limits or Limits()
    waiting = [key for key in keys if key.name not in done]
    pending = waiting[: limits.samples]
    if limits.cost is not None and price is None:
        raise UsageError(f"the price of {spec.model} is not known and cannot be limited: give it with --price IN/OUT")
    total = len(keys) - len(waiting) + len(pending)
    invocation = _Invocation(spec, run, store, model, total, pending, progress, price, limits)
    invocation.context.budgets = budgets or {}
    seconds = await invocation.work(concurrency)
    regrade(store, run)  # what an earlier version answered and graded
    return _summary(run, keys, store, seconds, len(keys) - len(waiting), invocation.context.renditions.counts)


class _Invocation:
    """One time that a command works on a run."""

    def __init__(
        self,
        spec: RunSpec,
        run: str,
        store: Store,
        model: VisionModel,
        total: int,
        pending: list[Key],
        progress: Callable[[Progress], None] | None,
        price: Cost | None,
        limits: Limits,
    ) -> None:
        self.spec, self.run, self.store, self.model = spec, run, store, model
        self.price, self.limits, self.cost = price, limits, 0.0
        self.total, self.pending, self.progress = total, pending, progress
        self.context = Context(model, Renditions(store), Settings.of(spec))
        self.started = time.perf_counter()
        self.alone = False
        self.finished = 0
        self.errors = 0
        self.errors_in_a_row = 0

    async def work(self, concurrency: int) -> float:
        """Give the pending answers; the seconds that it took. Nothing is recorded when nothing is pending."""
        if not self.pending:
            return 0.0
        # A model in process is slow the first time, and that is no timing.
        warm_up = int(self.spec.weights is not None)
        batch_size: int | None = getattr(self.model, "batch_size", None)
        cache_bytes: int | None = getattr(self.model, "cache_bytes", None)
        invocation = new_invocation(
            self.run,
            concurrency=concurrency,
            batch_size=batch_size,
            warm_up=warm_up,
            cache_bytes=cache_bytes,
            stream=getattr(self.model, "stream", None),
        )
        for key in self.pending[:warm_up]:
            await self._answer(key, invocation.id)
        self.alone = self.context.renditions.fresh = concurrency == 1
        self.context.forget()
        self.store.start_invocation(invocation)
        self.started = time.perf_counter()
        keys = iter(self.pending)
        try:
            await side_by_side(lambda: self._worker(keys, invocation.id), min(concurrency, len(self.pending)))
        finally:
            seconds = time.perf_counter() - self.started
            self.store.finish_invocation(invocation.id, seconds, self.context.renditions.counts._asdict())
        return seconds

    async def _worker(self, keys: Iterator[Key], invocation: str) -> None:
        for key in keys:
            if self.alone:
                self.context.forget()
            try:
                trajectory = await self._answer(key, invocation)
            except asyncio.CancelledError:
                self._keep(self._failed(key, invocation, "cancelled", "interrupted: the same command asks again"), key)
                raise
            cost = self._keep(trajectory, key)
            self._count(trajectory)
            self.cost += cost or 0.0
            if self.limits.cost is not None:
                if cost is None and trajectory.stop_reason not in FAILED:
                    raise ModelError(f"{self.spec.model} tells no token counts: a limit on costs cannot be kept here")
                if self.cost >= self.limits.cost:
                    break

    def _keep(self, trajectory: Trajectory, key: Key) -> float | None:
        """Store it; what it cost, if that is known."""
        cost = cost_of(trajectory, self.price)
        self.store.add_trajectory(trajectory, _grade(trajectory, key.sample), cost=cost)
        return cost

    async def _answer(self, key: Key, invocation: str) -> Trajectory:
        return await answer_or_error(
            self.spec.arm, key.sample, self.context, run=self.run, attempt=key.attempt, invocation=invocation
        )

    def _failed(self, key: Key, invocation: str, stop_reason: StopReason, error: str) -> Trajectory:
        return _no_answer(self.run, key.sample, key.attempt, invocation, stop_reason, error)

    def _count(self, trajectory: Trajectory) -> None:
        failed = trajectory.stop_reason in FAILED
        self.finished += 1
        self.errors += failed
        self.errors_in_a_row = self.errors_in_a_row + 1 if failed else 0
        if self.progress is not None:
            left = len(self.pending) - self.finished
            self.progress(
                Progress(
                    done=self.total - left,
                    total=self.total,
                    errors=self.errors,
                    eta_s=(time.perf_counter() - self.started) / self.finished * left,
                )
            )
        if self.errors_in_a_row >= MAX_ERRORS_IN_A_ROW:
            raise ModelError(
                f"run {self.run} stopped after {self.errors_in_a_row} errors in a row, the last one: "
                f"{trajectory.error}; mend that, then the same command goes on where it stopped"
            )


async def answer_or_error(
    arm: Arm, sample: Sample, context: Context, *, run: str, attempt: int, invocation: str
) -> Trajectory:
    """As `answer`; where the sample's image cannot be had or shown, a trajectory with that error."""
    try:
        return await answer(arm, sample, context, run=run, attempt=attempt, invocation=invocation)
    except (ImageError, StoreError) as error:
        return _no_answer(run, sample, attempt, invocation, "endpoint_error", str(error))


async def side_by_side(worker: Callable[[], Coroutine[Any, Any, None]], n: int) -> None:
    """n workers at once; when one fails or the caller is cancelled, all end before this does."""
    workers = [asyncio.create_task(worker()) for _ in range(n)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _no_answer(
    run: str, sample: Sample, attempt: int, invocation: str, stop_reason: StopReason, error: str
) -> Trajectory:
    return Trajectory(
        run=run, sample=sample.id, attempt=attempt, invocation=invocation, stop_reason=stop_reason, text="", steps=(),
        wall_ms=0.0, error=error,
    )  # fmt: skip


def _grade(trajectory: Trajectory, sample: Sample) -> Grade:
    return grade_answer(trajectory.text, sample, failed=trajectory.failed)


def _summary(run: str, keys: Sequence[Key], store: Store, seconds: float, resumed: int, images: Counts) -> RunSummary:
    names = {key.name for key in keys}
    verdicts = Counter(result.verdict for result in store.results(run) if (result.sample.id, result.attempt) in names)
    return RunSummary(
        run=run,
        n=len(names),
        attempted=verdicts.total(),
        answered=verdicts["correct"] + verdicts["incorrect"],
        unparsed=verdicts["unparsed"],
        errors=verdicts["error"],
        correct=verdicts["correct"],
        seconds=seconds,
        resumed=resumed,
        images=images,
    )
