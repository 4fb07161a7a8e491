"""Records to rows and back. A row is a mapping from column to value; the schema says what the columns mean."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from zoomgap import imaging
from zoomgap.geometry import Box
from zoomgap.models.base import from_body, request_body
from zoomgap.records import (
    Clocks,
    Grade,
    Image,
    ImageInfo,
    Invocation,
    Item,
    Question,
    Region,
    Rendition,
    RunSpec,
    Sample,
    Sampling,
    Step,
    StopReason,
    ToolCall,
    Trajectory,
    Usage,
    Verdict,
    Vote,
    canonical_json,
    digest,
)

Row = Mapping[str, Any] | sqlite3.Row
Columns = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkInfo:
    """A stored set of samples. source: where it comes from."""

    name: str
    sha256: str
    n: int
    source: Mapping[str, Any]
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run and where it stands. samples: of its benchmark. answered: graded correct or incorrect.

    accuracy leaves errors out, service_accuracy counts them as wrong; None where nothing is graded.
    """

    spec: RunSpec
    id: str
    created: str
    samples: int
    attempted: int
    answered: int
    unparsed: int
    errors: int
    ungraded: int
    correct: int
    accuracy: float | None
    service_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryRow:
    """A trajectory without its steps. text: the final reply.

    answer, verdict, grader: the newest grade of the rules, None where ungraded.
    """

    id: int
    run: str
    arm: str
    model: str
    benchmark: str
    sample: str
    attempt: int
    invocation: str
    dimension: str
    stop_reason: StopReason
    verdict: Verdict | None
    answer: str | None
    grader: str | None
    gold: str
    text: str
    error: str | None
    turns: int
    zooms: int
    wall_ms: float
    model_ms: float | None
    preprocess_ms: float | None
    tool_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    image_tokens: int | None
    pixels_sent: int
    cost: float | None
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """An answer of a run, to be graded or graded.

    text: the final reply. failed: it ended in an error. grade: the newest of the grader asked for, or None. before:
    the newest of the rules by another version, or None.
    """

    trajectory: int
    sample: Sample
    attempt: int
    text: str
    failed: bool
    grade: Grade | None
    before: Grade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """A stored dataset. items: how many it has."""

    name: str
    config: Mapping[str, Any]
    items: int
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInfo:
    """A stored training. out: folder of the checkpoint."""

    id: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    out: str
    created: str


def now() -> str:
    """UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def clean(text: str) -> str:
    """The text with lone surrogates, which models do write and UTF-8 cannot hold, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def to_json(value: Any) -> str:
    """Canonical JSON of plain values, dataclasses included; numbers that are not finite become null."""
    return clean(canonical_json(_plain(value)))


def columns(**values: Any) -> Columns:
    """A row as SQLite takes it: text clean, numbers that are not finite null, no negative zero."""
    return {name: _column(value) for name, value in values.items()}


def picked(kind: type[T], row: Row, **instead: Any) -> T:
    """A dataclass from the columns that bear its fields' names; `instead` holds those that need a reading."""
    return kind(**{name: row[name] for name in _names(kind) if name not in instead}, **instead)  # type: ignore[arg-type]


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def image_of(row: Row) -> ImageInfo:
    return picked(ImageInfo, row)


def rendition_columns(rendition: Rendition) -> Columns:
    """The key of a rendition, as this version draws it."""
    # A place has one spelling, whether its numbers are whole by type or by value.
    box = [int(value) if value == int(value) else value for value in rendition.box.as_list()]
    return columns(
        source=rendition.source,
        box=_numbers(box),
        width=rendition.size.width,
        height=rendition.size.height,
        turn=rendition.turn,
        drawing=imaging.DRAWING,
    )


def sample_columns(sample: Sample, position: int) -> Columns:
    read = {field.name: getattr(sample, field.name) for field in fields(Sample)}
    boxes = [box.as_list() for box in sample.evidence]
    jsons = {name: to_json(read[name]) for name in ("choices", "meta", "more_images")}
    return columns(**{**read, **jsons, "evidence": to_json(boxes), "position": position})


def sample_of(row: Row) -> Sample:
    return picked(
        Sample,
        row,
        choices=_items(row["choices"]),
        evidence=tuple(Box(*box) for box in _items(row["evidence"])),
        meta=json.loads(row["meta"]),
        more_images=_items(row["more_images"]),
    )


def _items(text: str) -> tuple[Any, ...]:
    # Most lists are empty, and a large set has hundreds of thousands of them.
    return () if text == "[]" else tuple(json.loads(text))


def sample_json(sample: Sample) -> dict[str, Any]:
    """A sample as plain JSON values: its fields, each box as a list xyxy."""
    return {**_plain(sample), "evidence": [box.as_list() for box in sample.evidence]}


def run_columns(spec: RunSpec) -> Columns:
    read = {field.name: getattr(spec, field.name) for field in fields(RunSpec)}
    written = {"sampling": to_json(spec.sampling), "tools": to_json(spec.tools)}
    return columns(**{**read, **written, "id": spec.id, "created": now()})


def run_of(row: Row) -> RunSpec:
    sampling = json.loads(row["sampling"])
    return picked(
        RunSpec,
        row,
        sampling=Sampling(**{**sampling, "stop": tuple(sampling["stop"])}),
        suffix=bool(row["suffix"]),
        renders_tools=bool(row["renders_tools"]),
        tools=tuple(json.loads(row["tools"])),
    )


def invocation_of(row: Row) -> Invocation:
    return picked(Invocation, row, circumstances=json.loads(row["circumstances"]), images=_loaded(row["images"]))


TOTALS = (
    "model_ms", "preprocess_ms", "tool_ms", "prompt_tokens", "completion_tokens", "image_tokens", "pixels_sent",
    "turns", "zooms",
)  # fmt: skip


def trajectory_columns(trajectory: Trajectory, steps: Sequence[Columns], cost: float | None) -> Columns:
    """The row of a trajectory, except its benchmark. steps: the rows of its steps."""
    names = ("run", "sample", "attempt", "invocation", "stop_reason", "text", "error", "wall_ms")
    return columns(
        **{name: getattr(trajectory, name) for name in names},
        **{name: getattr(trajectory, name) for name in TOTALS},
        cost=cost,
        steps_sha256=steps_digest(steps),
        created=now(),
    )


def trajectory_of(row: Row, steps: Iterable[Step]) -> Trajectory:
    return picked(Trajectory, row, steps=tuple(steps))


def trajectory_json(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as plain JSON values: its fields, then its totals under the names of their columns."""
    return {**_plain(trajectory), **{name: getattr(trajectory, name) for name in TOTALS}}


STEP_COLUMNS = (
    "step", "request", "text", "reasoning", "tool_call", "frame", "convention", "box_written", "box", "label",
    "observation", "prompt_tokens", "completion_tokens", "image_tokens", "model_ms", "preprocess_ms", "first_byte_ms",
    "generation_ms", "batch_size", "tool_ms", "confidence", "finish_reason", "error", "call", "turn", "min_probability",
    "margin", "model", "picture",
)  # fmt: skip


def step_columns(step: Step, model: str) -> Columns:
    """The row of a step, except its trajectory. model: name that the request was sent under, unless the step has
    another."""
    names = (
        "text", "reasoning", "frame", "convention", "label", "tool_ms", "confidence", "min_probability", "margin",
        "finish_reason", "error", "model",
    )  # fmt: skip
    return columns(
        **{name: getattr(step, name) for name in names},
        **asdict(step.usage),
        **asdict(step.clocks),
        step=step.index,
        request=to_json(request_body(step.request, step.model or model)),
        tool_call=None if step.tool_call is None else to_json(step.tool_call),
        box_written=None if step.box_written is None else _numbers(step.box_written),
        box=None if step.box is None else _numbers(step.box.as_list()),
        observation=None if step.observation is None else step.observation.sha256,
        call=step.call or None,
        turn=step.turn or None,
        picture=step.picture or None,
    )


def step_of(row: Row) -> Step:
    """From a row with `observation_width` and `observation_height` beside the columns of the table."""
    observation = row["observation"]
    tool_call, written, box = (_loaded(row[name]) for name in ("tool_call", "box_written", "box"))
    return picked(
        Step,
        row,
        index=row["step"],
        request=from_body(json.loads(row["request"])),
        tool_call=None if tool_call is None else ToolCall(**tool_call),
        box_written=None if written is None else tuple(math.nan if v is None else v for v in written),
        box=None if box is None else Box(*box),
        observation=observation and Image(observation, row["observation_width"], row["observation_height"]),
        usage=picked(Usage, row),
        clocks=picked(Clocks, row),
        call=row["call"] or 0,
        turn=row["turn"] or 0,
        picture=row["picture"] or 0,
    )


def steps_digest(steps: Iterable[Row]) -> str:
    """sha256 over the rows of a trajectory's steps. Nulls are left out, so that a new column changes nothing."""
    return digest([{name: _number(step[name]) for name in STEP_COLUMNS if step[name] is not None} for step in steps])


def grade_columns(grade: Grade, trajectory: int) -> Columns:
    start, end = grade.span or (None, None)
    return columns(
        trajectory=trajectory,
        grader=grade.grader,
        verdict=grade.verdict,
        rule=grade.rule,
        answer=grade.answer,
        span_start=start,
        span_end=end,
        created=now(),
    )


def grade_of(row: Row) -> Grade:
    return picked(Grade, row, span=None if row["span_start"] is None else (row["span_start"], row["span_end"]))


def region_columns(region: Region) -> Columns:
    read = {field.name: getattr(region, field.name) for field in fields(Region)}
    return columns(**{**read, "box": _numbers(region.box.as_list())})


def region_of(row: Row) -> Region:
    return picked(Region, row, box=Box(*json.loads(row["box"])))


def question_columns(question: Question) -> Columns:
    read = {field.name: getattr(question, field.name) for field in fields(Question)}
    return columns(**{**read, "choices": to_json(question.choices)})


def question_of(row: Row) -> Question:
    return picked(Question, row, choices=tuple(json.loads(row["choices"])), local=bool(row["local"]))


def vote_columns(vote: Vote) -> Columns:
    read = {field.name: getattr(vote, field.name) for field in fields(Vote) if field.name != "index"}
    return columns(**read, number=vote.index)


def vote_of(row: Row) -> Vote:
    return picked(Vote, row, index=row["number"])


def item_columns(item: Item, position: int) -> Columns:
    read = {field.name: getattr(item, field.name) for field in fields(Item)}
    overlay = None if item.overlay is None else _numbers(item.overlay.as_list())
    return columns(**{**read, "choices": to_json(item.choices), "overlay": overlay, "position": position})


def item_of(row: Row) -> Item:
    overlay = _loaded(row["overlay"])
    return picked(
        Item,
        row,
        choices=tuple(json.loads(row["choices"])),
        overlay=None if overlay is None else Box(*overlay),
        gold=bool(row["gold"]),
    )


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        # SQLite reads -0.0 back as 0.0, which would change a digest.
        return value + 0.0 if math.isfinite(value) else None
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(values: Iterable[float]) -> str:
    """JSON list. A model may write 1e999: infinity, whose JSON spelling is a number too large to hold."""
    words = {math.inf: "1e999", -math.inf: "-1e999"}
    return "[" + ",".join("null" if v != v else words.get(v) or json.dumps(v) for v in values) + "]"


def _number(value: Any) -> Any:
    # A whole number comes back from a REAL column as a float.
    return float(value) if isinstance(value, int) else value


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
