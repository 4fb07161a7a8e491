"""Where the answers of checkpoints in process look: the direct arm's requests, answered and then listened to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoomgap import imaging, prompts
from zoomgap.agents import Context, Settings, answer
from zoomgap.agents.grades import grade_answer
from zoomgap.errors import ModelError, UsageError
from zoomgap.geometry import Box, Point
from zoomgap.models.catalog import open_model
from zoomgap.pipeline.arms import ModelChoice, RunOptions, spec_of
from zoomgap.records import Reply, Request, Sample, Verdict
from zoomgap.renditions import Renditions
from zoomgap.storage import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoomgap.compare.attention import Enrichment, Look, Measured, ModelRow
    from zoomgap.models.attention import Grid
    from zoomgap.models.local import LocalModel

ANSWERS = ("own", "gold")
BATCH = 16
"""Samples that are answered at once; attention is read one by one."""
PICTURES = 16
"""Samples drawn on the page: the first ones, so that nobody chose them."""
PICTURE_PIXELS, PICTURE_BYTES = 448 * 448, 45_000

Count = Callable[[int, int, str], None]
"""Progress: how many samples are done, of how many, and of which model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """answers: `own`, what each model itself answers, or `gold`. limit: only the first so many samples. pixels: budget
    of the full image as RunOptions has it. seed: of control places and resampling."""

    answers: str = "own"
    limit: int | None = None
    pixels: str | None = None
    max_tokens: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One answer for the page. maps: the heads' mean, (layers, cells)."""

    reply: str
    verdict: Verdict
    grid: Grid
    maps: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionResult:
    """The figures, and for the page the first samples with what each model (by name) attended to in them."""

    figures: Enrichment
    samples: tuple[Sample, ...]
    drawn: dict[str, dict[str, Drawn]]


class _Evidence(NamedTuple):
    """A sample, its boxes inside the image, and the same boxes moved elsewhere."""

    sample: Sample
    boxes: tuple[Box, ...]
    controls: Sequence[tuple[Box, ...]]


def measure_attention(
    store: Store,
    benchmark: str,
    models: Sequence[str],
    options: AttentionOptions,
    count: Count | None = None,
    done: Callable[[ModelRow], None] | None = None,
) -> AttentionResult:
    """Read the attention of each model's answers to the samples with evidence boxes; nothing is stored but pictures.

    done: told each model's figures when they are there. Raises UsageError for an unknown benchmark or model,
    for one behind an endpoint, and where there is nothing to measure.
    """
    from zoomgap.compare.attention import enrichment, model_row

    if options.answers not in ANSWERS:
        raise UsageError(f"answers '{options.answers}' are not known: use {' or '.join(ANSWERS)}")
    _check_models(models)
    samples = store.samples(benchmark, limit=options.limit)
    evidence, left_out = _evidence(samples, options.seed)
    if not evidence:
        why = "; ".join(f"{reason}: {n}" for reason, n in left_out.items()) or "it has no samples"
        raise UsageError(f"benchmark '{benchmark}' has no sample whose evidence attention could be held to ({why})")
    measured: list[Measured] = []
    drawn: dict[str, dict[str, Drawn]] = {}
    for model in models:
        reader = _ModelReader(store, benchmark, model, options, Counter(left_out))
        measured.append(reader.read(evidence, count))
        drawn[model] = reader.drawn
        if done:
            done(model_row(measured[-1], options.seed))
    return AttentionResult(
        figures=enrichment(benchmark, measured, answers=options.answers, n=len(samples), seed=options.seed),
        samples=tuple(found.sample for found in evidence[:PICTURES]),
        drawn=drawn,
    )


def _check_models(models: Sequence[str]) -> None:
    if twice := next((model for model in models if models.count(model) > 1), None):
        raise UsageError(f"model '{twice}' is named twice: name each once")
    for model in models:
        if model != "micro" and not model.startswith("hf:"):
            raise UsageError(
                f"the attention of '{model}' cannot be read: use micro or hf:PATH, a checkpoint that runs in process"
            )
        ModelChoice(model=model).settled()  # a folder that is not there is told before the first model has worked


def _evidence(samples: Sequence[Sample], seed: int) -> tuple[list[_Evidence], dict[str, int]]:
    """The samples that attention can be held to, and how many are left out, by reason."""
    from zoomgap.compare.attention import MAX_SHARE, controls, coverage, outline

    left_out: Counter[str] = Counter()
    kept: list[tuple[Sample, tuple[Box, ...]]] = []
    for sample in samples:
        inside = (box.clamped(sample.width, sample.height) for box in sample.evidence)
        boxes = tuple(box for box in inside if box.area > 0)
        if not boxes:
            left_out["no evidence box"] += 1
        elif sample.more_images:
            left_out["several pictures"] += 1
        elif coverage(boxes, sample.size, 1, 1)[0] > MAX_SHARE:
            left_out["evidence over half of the image"] += 1
        else:
            kept.append((sample, boxes))
    middles = [outline(boxes).center for _, boxes in kept]
    places = [
        Point(middle.x / sample.width, middle.y / sample.height)
        for middle, (sample, _) in zip(middles, kept, strict=True)
    ]
    found = []
    for number, (sample, boxes) in enumerate(kept):
        # Questions about one image can have the same evidence.
        elsewhere = [place for place, (other, _) in zip(places, kept, strict=True) if other.image != sample.image]
        found.append(_Evidence(sample, boxes, controls(boxes, sample.size, elsewhere, (seed, number))))
    return found, dict(left_out)


@dataclass(slots=True)
class _Listened:
    """The model as arms see it; each reply is kept by its request."""

    model: LocalModel
    name: str
    replies: dict[Request, Reply] = field(default_factory=dict)

    async def reply(self, request: Request) -> Reply:
        self.replies[request] = reply = await self.model.reply(request)
        return reply

    async def aclose(self) -> None:
        await self.model.aclose()


class _ModelReader:
    """Reads the attention of one model over samples. drawn: what the page shows of the first of them."""

    def __init__(
        self, store: Store, benchmark: str, model: str, options: AttentionOptions, skipped: Counter[str]
    ) -> None:
        choice = ModelChoice(model=model)
        self.local: LocalModel = open_model(model, None, store.objects.read, batch_size=BATCH)  # type: ignore[assignment]
        run = RunOptions(pixels=options.pixels, max_tokens=options.max_tokens)
        self.spec = spec_of(store.benchmark(benchmark), "direct", choice, self.local, run)
        self.context = Context(_Listened(self.local, model), Renditions(store), Settings.of(self.spec))
        self.gold = options.answers == "gold"
        self.skipped = skipped
        self.layers: tuple[int, ...] = ()
        self.drawn: dict[str, Drawn] = {}

    def read(self, evidence: Sequence[_Evidence], count: Count | None) -> Measured:
        return asyncio.run(self._read(evidence, count))

    async def _read(self, evidence: Sequence[_Evidence], count: Count | None) -> Measured:
        from zoomgap.compare.attention import Measured

        looks: list[Look] = []
        try:
            for start in range(0, len(evidence), BATCH):
                batch = evidence[start : start + BATCH]
                found = await self._looks(batch)
                looks += found
                if count:
                    count(start + len(batch), len(evidence), self.local.name)
        finally:
            await self.local.aclose()
        if not looks:
            why = "; ".join(f"{reason}: {n}" for reason, n in self.skipped.items())
            raise UsageError(f"no attention of '{self.local.name}' could be read ({why})")
        return Measured(
            model=self.local.name,
            weights=self.local.weights,
            dtype=self.local.dtype,
            layers=self.layers,
            looks=looks,
            skipped=dict(self.skipped),
        )

    async def _looks(self, batch: Sequence[_Evidence]) -> list[Look]:
        listened = self.context.model
        assert isinstance(listened, _Listened)
        listened.replies.clear()
        given = await asyncio.gather(
            *(answer("direct", one.sample, self.context, run="", attempt=0, invocation="") for one in batch)
        )
        looks = []
        for one, trajectory in zip(batch, given, strict=True):
            request = trajectory.steps[0].request
            reply = listened.replies.get(request)
            if reply is None:
                self.skipped[trajectory.error or "no answer"] += 1
                continue
            verdict = grade_answer(trajectory.text, one.sample, failed=trajectory.failed).verdict
            try:
                looks.append(self._look(one, request, reply, verdict))
            except ModelError as error:
                self.skipped[str(error)] += 1
        return looks

    def _look(self, one: _Evidence, request: Request, reply: Reply, verdict: Verdict) -> Look:
        from zoomgap.compare.attention import coverage, look
        from zoomgap.models.attention import read_attention, reply_attention

        sample = one.sample
        if self.gold:
            ids = self.local.processor.tokenizer(self._gold(sample), add_special_tokens=False)["input_ids"]
            found = read_attention(self.local, request, ids)
        else:
            found = reply_attention(self.local, request, reply)
        self.layers = found.layers
        if len(self.drawn) < PICTURES:
            self.drawn[sample.id] = Drawn(reply.text.strip(), verdict, found.grid, found.heads.mean(1))
        scale = imaging.scale_of(sample.size, self.spec.view_pixels, self.spec.factor)
        return look(
            found.heads,
            coverage(one.boxes, sample.size, *found.grid),
            [coverage(boxes, sample.size, *found.grid) for boxes in one.controls],
            sample=sample.id,
            cluster=sample.cluster_name,
            px=min(box.side for box in one.boxes) * scale,
            verdict=verdict,
        )

    def _gold(self, sample: Sample) -> str:
        """The gold as this model is asked to write it: where no line asks for the letter, an option's text."""
        if sample.choices and not self.context.settings.suffix:
            return sample.choices[ord(sample.answer) - ord("A")]
        return sample.answer


def write_attention(store: Store, result: AttentionResult, path: Path) -> None:
    """Write the page."""
    from zoomgap.compare.attention_page import Heat, Overlay, render_attention

    overlays = []
    for sample in result.samples:
        original = imaging.open_image(store.objects.path(sample.image))
        heats = []
        for model in result.figures.models:
            drawn, best = result.drawn[model.model].get(sample.id), model.best
            if drawn is not None and best is not None:
                place = [row.layer for row in model.layers].index(best.layer)
                heats.append(Heat(model.model, best.layer, drawn.reply, drawn.verdict, *drawn.grid, drawn.maps[place]))
        shown = imaging.fit(original, PICTURE_PIXELS, factor=8)
        gold = sample.answer
        if sample.choices and gold:
            gold = f"{gold}) {sample.choices[ord(gold) - ord('A')]}"
        asked = prompts.question(sample.question, choices=sample.choices, suffix=False)
        jpeg = imaging.jpeg_within(shown, PICTURE_BYTES)
        overlays.append(
            Overlay(f"{sample.id}, {sample.dimension}", asked, gold, jpeg, sample.size, sample.evidence, heats)
        )
    path.write_text(render_attention(result.figures, overlays), encoding="utf-8")
