"""Whole runs over a server that fails: every sample is answered or has its error on record, none twice, none lost."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest
from typer.testing import CliRunner

from zoomgap import imaging
from zoomgap.agents import RunSummary, run_arm
from zoomgap.cli import app
from zoomgap.errors import ModelError, RefusedError
from zoomgap.geometry import Size
from zoomgap.models import retry
from zoomgap.models.openai_api import EndpointModel
from zoomgap.models.wire import data_url
from zoomgap.records import Message, Request, RunSpec, Text
from zoomgap.storage import Store

from ..samples import make_samples
from .fault_server import Answer, Server, completion, events, faulty, response, says, serving, zooms

CONCURRENCY = 32


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", lambda state: 0.01)


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "zoomgap.db")


async def work(store: Store, server: Server, n: int, arm: str = "direct", **settings) -> RunSummary:
    spec = RunSpec(benchmark="b", benchmark_sha256="0" * 64, arm=arm, model="m", endpoint=server.url, suffix=False)
    samples = make_samples(store, n)
    model = EndpointModel(server.url, "m", store.objects.read, api_key="k", **{"budget_s": 30, **settings})
    try:
        return await run_arm(spec, samples, store, model, concurrency=CONCURRENCY)
    finally:
        await model.aclose()


def asked(body: dict) -> str:
    """The number that a request asks for: a reply that went to another sample would be wrong there."""
    texts = [part["text"] for message in body["messages"] if isinstance(message["content"], list)
             for part in message["content"] if part["type"] == "text"]  # fmt: skip
    return re.search(r"What is (\d+)\?", " ".join(texts))[1]


def zoom_twice_then_answer(body: dict) -> Answer:
    """Two good zooms, each beside a second call and text after it; then the number."""
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    if turn < 2:
        box = (0, 0, 500, 500) if turn == 0 else (500, 500, 1000, 1000)
        return says("I look closer.", zooms(*box), zooms(9, 9, 99, 99))
    return says(asked(body))


def check(store: Store, summary: RunSummary, n: int) -> None:
    """Each sample has one row; it has the answer to its own question, or an error that tells why."""
    rows = Counter((row.sample, row.attempt) for row in store.trajectories())
    assert rows == Counter({(f"s{k}", 0): 1 for k in range(n)})
    assert summary.n == summary.attempted == n
    assert summary.answered + summary.errors == n
    assert summary.correct == summary.answered
    for id in store.trajectory_ids(summary.run):
        trajectory = store.trajectory(id)
        assert (trajectory.error is not None) == (trajectory.stop_reason == "endpoint_error")


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_run_over_a_faulty_endpoint_loses_nothing(store, seed):
    with serving(answer=faulty(lambda body: says(asked(body)), 0.3, seed)) as server:
        summary = await work(store, server, 200)
    check(store, summary, 200)
    assert len(server.bodies) > 240  # faults came
    assert summary.correct > 180


async def test_agents_over_a_faulty_endpoint_lose_nothing(store):
    with serving(answer=faulty(zoom_twice_then_answer, 0.3, 3)) as server:
        summary = await work(store, server, 48, "agent")
    check(store, summary, 48)
    assert summary.correct > 36
    zooms_made = {store.trajectory(id).zooms for id in store.trajectory_ids(summary.run)}
    assert 2 in zooms_made


async def test_errors_that_nothing_mends_are_recorded(store):
    """Every tenth sample is too large for the server."""

    def answer(turn: int, body: dict) -> Answer:
        return Answer(413, "too large") if int(asked(body)) % 10 == 0 else says(asked(body))

    with serving(answer=answer) as server:
        summary = await work(store, server, 60)
    check(store, summary, 60)
    assert summary.errors == 6
    assert len(server.bodies) == 60
    errors = {row.error for row in store.trajectories() if row.error}
    assert all("413" in error and "--pixels" in error for error in errors)


@pytest.mark.parametrize(
    ("reply", "stop_reason"),
    [
        (says(None, zooms(0, 0, 500, 500)), "repeated_box"),  # the same box for ever
        (says("x", zooms(0, 0, 500, 500, name="look")), "unparsable_call"),  # a tool that there is not
        (says(None, {"name": "zoom_in", "arguments": "{broken"}), "unparsable_call"),
        (says(None), "answered"),  # null content
        (says("<tool_call>{}</tool_call> and more text", {"name": None, "arguments": None}), "unparsable_call"),
        (Answer(body=completion({"tool_calls": [{"function": {"name": "zoom_in", "arguments": {"bbox_2d": [1]}}}]})),
         "unparsable_call"),
    ],
)  # fmt: skip
async def test_odd_replies_end_a_trajectory_and_no_run(store, reply, stop_reason):
    with serving(reply) as server:
        summary = await work(store, server, 3, "agent")
    assert summary.attempted == 3
    assert summary.errors == 0
    assert {row.stop_reason for row in store.trajectories()} == {stop_reason}


async def test_a_dead_endpoint_stops_the_run_and_the_same_command_goes_on(store):
    with serving(Answer(400, "no")) as server:
        with pytest.raises(ModelError, match="20 errors in a row"):
            await work(store, server, 100)
        server.answer = lambda turn, body: says(asked(body))
        summary = await work(store, server, 100)
    assert summary.attempted == 100
    rows = Counter((row.sample, row.attempt) for row in store.trajectories())
    assert rows == Counter({(f"s{k}", 0): 1 for k in range(100)})


async def test_a_refused_key_costs_each_caller_one_request():
    with serving(Answer(401, '{"error": {"message": "bad key"}}')) as server:
        model = EndpointModel(server.url, "m", {}.__getitem__, api_key="k")
        request = Request(messages=(Message(role="user", content=(Text("q"),)),))
        replies = await asyncio.gather(*(model.reply(request) for _ in range(CONCURRENCY)), return_exceptions=True)
        await model.aclose()
    assert {type(reply) for reply in replies} == {RefusedError}
    assert len(server.bodies) == CONCURRENCY


def streamed(turn: int, body: dict) -> Answer:
    """A reply in pieces to who asks for them."""
    if not body.get("stream"):
        return says("7")
    parts = [{"choices": [{"delta": {"content": "7"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    return events(*parts, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})


@pytest.mark.parametrize("command", ["run", "ask"])
def test_streaming_tells_the_first_byte_and_is_no_other_run(tmp_path, monkeypatch, command):
    monkeypatch.setenv("ZOOMGAP_API_KEY", "k")
    db = tmp_path / "zoomgap.db"
    with Store.open(db) as store:
        make_samples(store, 2)
    picture = tmp_path / "grey.png"
    picture.write_bytes(imaging.encode(imaging.grey(Size(64, 64)), "image/png"))
    what = {"run": ["--bench", "b", "--arm", "direct", "--max-samples", "1"], "ask": [str(picture), "What is 7?"]}
    with serving(answer=streamed) as server:
        for stream in ([], ["--stream"], ["--no-stream"]):
            words = [command, *what[command], "--model", "m", "--endpoint", server.url, "--db", str(db), *stream]
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
    expected = [False, True, False] if command == "ask" else [False, True]  # then the run has all its answers
    assert [bool(body.get("stream")) for body in server.bodies] == expected
    with Store.open(db) as store:
        (run,) = [info.id for info in store.runs()]
        steps = [store.trajectory(id).steps[0] for id in store.trajectory_ids(run)]
        assert [step.clocks.first_byte_ms is not None for step in steps] == expected
        assert [call.circumstances["stream"] for call in store.invocations(run)] == expected


def looks_then_answers(turn: int, body: dict) -> Answer:
    """Two calls over the responses wire, then a message."""
    if any(item.get("type") == "function_call_output" for item in body["input"]):
        return response({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "7"}]})
    calls = [zooms(0, 0, 500, 500), zooms(500, 500, 1000, 1000)]
    return response(*({"type": "function_call", "call_id": f"c{k}", **call} for k, call in enumerate(calls)))


@pytest.mark.parametrize("way", ["responses", "user", "tool"])
def test_crops_go_back_over_the_responses_wire(tmp_path, monkeypatch, way):
    monkeypatch.setenv("ZOOMGAP_API_KEY", "k")
    db = tmp_path / "zoomgap.db"
    with Store.open(db) as store:
        make_samples(store, 1)
    wire = [] if way == "responses" else ["--wire", "responses"]
    with serving(answer=looks_then_answers) as server:
        words = ["run", "--bench", "b", "--arm", "agent", "--model", "gpt-5", "--endpoint", server.url, "--db", str(db)]
        result = CliRunner().invoke(app, [*words, "--image-return", way, *wire])
    assert result.exit_code == 0, result.output
    assert {headers["path"] for headers in server.headers} == {"/v1/responses"}
    first, last = server.bodies
    assert [item.get("type", item.get("role")) for item in last["input"][len(first["input"]) :]] == [
        "function_call", "function_call", "function_call_output", "function_call_output", *["user"] * (way == "user"),
    ]  # fmt: skip
    assert last["input"][: len(first["input"])] == first["input"]
    calls = [item for item in last["input"] if item.get("type") == "function_call"]
    outputs = [item for item in last["input"] if item.get("type") == "function_call_output"]
    assert [call["call_id"] for call in calls] == [output["call_id"] for output in outputs] == ["c0", "c1"]
    with Store.open(db) as store:
        (id,) = store.trajectory_ids(store.runs()[0].id)
        steps = store.trajectory(id).steps
        crops = [data_url(store.objects.read(step.observation.sha256)).decode() for step in steps[:2]]
        assert store.trajectory(id).text == "7"
    shown = [{"type": "input_image", "image_url": crop, "detail": "auto"} for crop in crops]
    names = [{"type": "input_text", "text": f"image {k}"} for k in (1, 2)]
    if way == "user":
        assert [output["output"] for output in outputs] == ["image 1", "image 2"]
        assert last["input"][-1]["content"] == [shown[0], names[0], shown[1], names[1]]
    else:
        assert [output["output"] for output in outputs] == [[shown[0], names[0]], [shown[1], names[1]]]
