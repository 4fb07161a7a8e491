"""Stored runs timed against one another: their models opened again, samples chosen, a session stored."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from zoomgap import prompts
from zoomgap.agents import Progress, TimedRun, TimingBench, circumstances, spread_samples
from zoomgap.errors import Interrupted, UsageError
from zoomgap.models.base import VisionModel
from zoomgap.models.catalog import TIMEOUT_S, open_model
from zoomgap.pipeline.arms import budgets_of
from zoomgap.records import RunSpec, Sample, TimingMode, TimingSession
from zoomgap.storage import Store

BLOCKS = 6
"""Blocks of a pass over the samples in throughput mode: an interval over blocks needs some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOptions:
    """How runs are timed. samples: of the benchmark, at most; rounds: passes over them; warm_up: answers of each run
    that are thrown away before; in_flight: answers at once, None for one at a time (latency). stream: whether an
    endpoint is asked for replies in pieces, so that the time to the first is known. timeout_s: one try at it.
    """

    samples: int = 60
    rounds: int = 1
    warm_up: int = 2
    seed: int = 0
    in_flight: int | None = None
    stream: bool = True
    timeout_s: float = TIMEOUT_S

    @property
    def mode(self) -> TimingMode:
        return "latency" if self.in_flight is None else "throughput"


def time_runs(
    store: Store,
    runs: Sequence[str],
    options: TimeOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TimingSession:
    """Time stored runs (ids or their beginnings) against one another in a new session.

    What is timed is stored answer by answer, or block by block; an interruption keeps it. Raises UsageError for runs of
    unlike benchmarks or places, for a model, prompts or a number format that is not the run's any more, and for blocks
    too small; Interrupted at Ctrl-C.
    """
    options = options or TimeOptions()
    specs = list({spec.id: spec for spec in map(store.run, runs)}.values())
    _check(specs)
    samples = spread_samples(_answered(store, specs), options.samples, options.seed)
    blocks = [samples[k::BLOCKS] for k in range(BLOCKS)] * options.rounds
    if options.in_flight is not None and len(blocks[-1]) < options.in_flight:
        raise UsageError(
            f"{len(samples)} samples make {BLOCKS} blocks of {len(blocks[-1])}, and {options.in_flight} answers cannot "
            f"be in flight in them: give --time-samples {BLOCKS * options.in_flight} or more, or a lower --in-flight"
        )
    bench: TimingBench | None = None

    async def work() -> TimingSession:
        nonlocal bench
        async with AsyncExitStack() as stack:
            timed = [
                TimedRun(spec=spec, model=model, budgets=budgets_of(store, spec, samples))
                for spec, model in zip(specs, await _opened(store, specs, options, stack), strict=True)
            ]
            bench = TimingBench(store, timed, len(samples) * len(specs) * options.rounds, progress)
            await bench.warm_up(samples, options.warm_up)
            session = _session(timed, len(samples), options)
            store.start_timing_session(session)
            if options.in_flight is None:
                await bench.latency(session, samples)
            else:
                await bench.throughput(session, blocks)
            store.end_timing_session(session.id)
            return session

    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        done = bench.done if bench else 0
        raise Interrupted(
            f"interrupted: the {done} answers timed so far are kept, and `zoomgap compare` goes by them; "
            "the same command times the runs anew"
        ) from None


def _check(specs: Sequence[RunSpec]) -> None:
    from zoomgap.compare.latency import unlike_places

    first = specs[0]
    for spec in specs:
        if spec.benchmark_sha256 != first.benchmark_sha256:
            raise UsageError(
                f"runs {first.id} and {spec.id} answered unlike benchmarks ({first.benchmark}, {spec.benchmark}): "
                "time runs of one benchmark"
            )
        if names := unlike_places(first, spec):
            raise UsageError(
                f"runs {first.id} and {spec.id} differ in {', '.join(names)}: their times are never compared; "
                "time runs of one place together"
            )
        if spec.prompts != prompts.fingerprint(spec.variant):
            raise UsageError(
                f"run {spec.id} was asked in words of another version (prompts {spec.prompts[:12]}): run its arm again"
            )


def _answered(store: Store, specs: Sequence[RunSpec]) -> list[Sample]:
    """Samples that every one of the runs has answered: those that all of them can."""
    done = [{sample for sample, _ in store.done(spec.id)} for spec in specs]
    shared = set.intersection(*done)
    if not shared:
        raise UsageError(f"runs {', '.join(spec.id for spec in specs)} share no answered sample: run their arms first")
    return [sample for sample in store.samples(specs[0].benchmark) if sample.id in shared]


async def _opened(
    store: Store, specs: Sequence[RunSpec], options: TimeOptions, stack: AsyncExitStack
) -> list[VisionModel]:
    """The model of each run; runs of one model share it. All stay open until the stack ends."""
    at_once = options.in_flight or 1
    known: dict[tuple[str, str | None, str], VisionModel] = {}
    for spec in specs:
        key = spec.model, spec.endpoint, spec.wire
        if key not in known:
            model = known[key] = open_model(
                spec.model, spec.endpoint, store.objects.read, batch_size=at_once, concurrency=at_once, wire=spec.wire,
                stream=options.stream, timeout_s=options.timeout_s,
            )  # fmt: skip
            stack.push_async_callback(model.aclose)
        for name in ("weights", "dtype"):
            then, now = getattr(spec, name), getattr(known[key], name, None)
            if then != now:
                raise UsageError(
                    f"model '{spec.model}' is no longer that of run {spec.id}: its {name} were {str(then)[:12]} and "
                    f"are {str(now)[:12]}: run the arm again and time that run"
                )
    return [known[spec.model, spec.endpoint, spec.wire] for spec in specs]


def _session(timed: Sequence[TimedRun], samples: int, options: TimeOptions) -> TimingSession:
    """A session that starts now, after the warm-up: a server that refuses streams has done so by then."""
    spec = timed[0].spec
    shared = circumstances(options.in_flight or 1, None, options.warm_up)
    own = ("batch_size", "cache_bytes", "stream")
    return TimingSession(
        id=uuid.uuid4().hex[:12],
        benchmark=spec.benchmark,
        mode=options.mode,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=options.seed,
        samples=samples,
        rounds=options.rounds,
        warm_up=options.warm_up,
        in_flight=options.in_flight or 1,
        runs={run.spec.id: {name: getattr(run.model, name, None) for name in own} for run in timed},
        circumstances={**{name: value for name, value in shared.items() if name not in own}, "load": _load()},
    )


def _load() -> float | None:
    """Processes that wanted the machine's cores in the last minute, on average; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None
