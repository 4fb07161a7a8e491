from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoomgap.errors import StoreError
from zoomgap.geometry import Box
from zoomgap.models.base import from_body
from zoomgap.records import (
    LATER_FIELDS,
    Clocks,
    Convention,
    Grade,
    Image,
    Message,
    Request,
    Sampling,
    Step,
    StopReason,
    Text,
    ToolCall,
    Trajectory,
    Usage,
    Verdict,
    canonical_json,
    digest,
)
from zoomgap.storage import rows

ATTEMPTS = itertools.count()

text = st.text(max_size=20)
sha = st.text("0123456789abcdef", min_size=64, max_size=64)
count = st.none() | st.integers(0, 10**9)
clock = st.none() | st.integers(0, 10**6) | st.floats(0, 1e9)
number = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False)
finite = st.floats(allow_nan=False, allow_infinity=False)
images = st.builds(Image, sha, st.integers(1, 9999), st.integers(1, 9999))
calls = st.builds(ToolCall, text, text, text)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.lists(st.builds(Text, text) | images, max_size=3).map(tuple),
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_call_id=st.none() | text,
)
sampling = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    max_tokens=st.integers(1, 9999),
    seed=st.integers(0, 2**40),
    stop=st.lists(text, max_size=2).map(tuple),
)
tools = st.just(({"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object"}}},))
requests = st.builds(
    Request,
    messages=st.lists(messages, max_size=3).map(tuple),
    tools=tools,
    tool_choice=st.sampled_from(["auto", "none"]),
    sampling=sampling,
    logprobs=st.none() | st.integers(0, 5),
) | st.builds(Request, messages=st.lists(messages, max_size=3).map(tuple))


@st.composite
def steps(draw: st.DrawFn, index: int, crop: Image) -> Step:
    return Step(
        index=index,
        request=draw(requests),
        text=draw(text),
        reasoning=draw(text),
        tool_call=draw(st.none() | calls),
        frame=draw(st.none() | st.integers(0, 9)),
        convention=draw(st.none() | st.sampled_from(get_args(Convention))),
        box_written=draw(st.none() | st.tuples(number, number, number, number)),
        box=draw(st.none() | st.builds(Box, number, number, number, number)),
        label=draw(st.none() | text),
        observation=draw(st.none() | st.just(crop)),
        usage=Usage(prompt_tokens=draw(count), completion_tokens=draw(count), image_tokens=draw(count)),
        clocks=Clocks(
            model_ms=draw(clock), preprocess_ms=draw(clock), first_byte_ms=draw(clock), generation_ms=draw(clock),
            batch_size=draw(st.integers(1, 64)),
        ),
        tool_ms=draw(clock),
        confidence=draw(st.none() | st.floats(0, 1)),
        min_probability=draw(st.none() | st.floats(0, 1)),
        margin=draw(st.none() | st.floats(-30, 30)),
        model=draw(st.none() | text),
        finish_reason=draw(st.none() | text),
        error=draw(st.none() | text),
        call=draw(st.integers(0, 7)),
        turn=draw(st.sampled_from([0, 90, 180, 270])),
        picture=draw(st.integers(0, 3)),
    )  # fmt: skip


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_trajectory_comes_back_as_it_was(lasting_shelf, data: st.DataObject) -> None:
    store = lasting_shelf.store
    crop = Image(lasting_shelf.crop.sha256, 96, 64)
    number_of_steps = data.draw(st.integers(0, 4))
    made = lasting_shelf.trajectory(
        attempt=next(ATTEMPTS),
        stop_reason=data.draw(st.sampled_from(get_args(StopReason))),
        text=data.draw(text),
        error=data.draw(st.none() | text),
        wall_ms=data.draw(st.floats(0, 1e9)),
        steps=tuple(data.draw(steps(index, crop)) for index in range(number_of_steps)),
    )
    id = store.add_trajectory(made)
    back = store.trajectory(id)
    assert back == made
    row = store.trajectories(sample="s0")[-1]
    assert (row.id, row.turns, row.zooms, row.pixels_sent) == (id, made.turns, made.zooms, made.pixels_sent)
    assert (row.prompt_tokens, row.completion_tokens) == (made.prompt_tokens, made.completion_tokens)
    assert row.model_ms == made.model_ms


@given(
    verdict=st.sampled_from(get_args(Verdict)),
    rule=text,
    answer=st.none() | text,
    span=st.none() | st.tuples(count.filter(bool), count.filter(bool)),
)
def test_grade_row(verdict: Verdict, rule: str, answer: str | None, span: tuple[int, int] | None) -> None:
    grade = Grade(verdict=verdict, rule=rule, answer=answer, span=span, grader="rules-1")
    assert rows.grade_of(rows.grade_columns(grade, 1)) == grade


@given(
    st.lists(st.builds(Box, finite, finite, finite, finite), max_size=3).map(tuple),
    st.dictionaries(text, text | st.integers() | finite | st.lists(text)),
    st.lists(text, max_size=4).map(tuple),
    st.none() | finite,
)
def test_sample_row(lasting_shelf, evidence, meta, choices, detail) -> None:
    sample = lasting_shelf.sample(
        1, lasting_shelf.original, evidence=evidence, meta=meta, choices=choices, detail_px=detail, evidence_kind=None
    )
    assert rows.sample_of(rows.sample_columns(sample, 7)) == sample


@given(sampling, st.booleans(), st.none() | text)
def test_run_row_keeps_the_identity(lasting_shelf, sampling: Sampling, suffix: bool, endpoint: str | None) -> None:
    spec = replace(lasting_shelf.spec, sampling=sampling, suffix=suffix, endpoint=endpoint)
    back = rows.run_of(rows.run_columns(spec))
    assert back == spec
    assert back.id == spec.id


def test_fields_that_came_later_count_only_where_they_are_set(shelf) -> None:
    """The id of a run that knows nothing of routers is the one that it had before there were any."""
    spec = shelf.spec
    before = {name: value for name, value in asdict(spec).items() if name not in LATER_FIELDS}
    assert spec.id == digest(before)[:12]
    assert len({spec.id, replace(spec, router="r").id, replace(spec, router="s").id, replace(spec, agent="r").id}) == 4


def test_stored_request_is_the_canonical_body(shelf) -> None:
    made = shelf.trajectory()
    id = shelf.store.add_trajectory(made)
    (stored,) = shelf.store.database.conn.execute("SELECT request FROM steps WHERE trajectory = ? AND step = 0", (id,))
    body = json.loads(stored["request"])
    assert stored["request"] == canonical_json(body)
    assert body["model"] == "micro"
    assert body["messages"][0]["content"][0]["image_url"]["url"] == f"sha256:{shelf.original.sha256}"
    assert from_body(body) == made.steps[0].request


def test_lone_surrogates_become_replacement_characters(shelf) -> None:
    made = shelf.trajectory(text="bad \ud83d end, good \ud83d\ude00")
    step = replace(made.steps[0], text="\udc00", tool_call=ToolCall("", "zoom_in", "{\ud800}"))
    back = shelf.store.trajectory(shelf.store.add_trajectory(replace(made, steps=(step,))))
    assert back.text == "bad \ufffd end, good 😀"
    assert back.steps[0].text == "\ufffd"
    assert back.steps[0].tool_call == ToolCall("", "zoom_in", "{\ufffd}")


def test_numbers_that_are_not_finite(shelf) -> None:
    made = shelf.trajectory()
    written = (math.inf, -math.inf, math.nan, 10**400)
    step = replace(made.steps[0], box_written=written, tool_ms=math.nan, confidence=-0.0)
    back = shelf.store.trajectory(shelf.store.add_trajectory(replace(made, steps=(step,)))).steps[0]
    assert back.box_written is not None
    assert back.box_written[:2] == written[:2]
    assert math.isnan(back.box_written[2])
    assert back.box_written[3] == 10**400
    assert (back.tool_ms, back.confidence) == (None, 0.0)


@pytest.mark.parametrize("change", ["DELETE FROM steps WHERE step = 1", "UPDATE steps SET text = 'B' WHERE step = 1"])
def test_changed_steps_are_noticed(shelf, change: str) -> None:
    id = shelf.store.add_trajectory(shelf.trajectory())
    shelf.store.database.conn.execute(change)
    with pytest.raises(StoreError, match=f"trajectory {id}: its steps are not what was written"):
        shelf.store.trajectory(id)
    assert len(shelf.store.verify()) == 1


def test_trajectory_json(shelf) -> None:
    made: Trajectory = shelf.trajectory()
    shown = json.loads(json.dumps(rows.trajectory_json(made)))
    assert shown["steps"][0]["box"] == {"x1": 3, "y1": 5, "x2": 10, "y2": 11}
    assert shown["steps"][0]["request"]["messages"][0]["content"][0]["sha256"] == shelf.original.sha256
    assert (shown["turns"], shown["zooms"], shown["prompt_tokens"], shown["model_ms"]) == (2, 1, 230, 30.5)
