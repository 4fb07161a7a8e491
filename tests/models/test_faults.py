"""Whole runs over a server that fails: every sample is answered or has its error on record, none twice, none lost."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from zoomgap.agents import RunSummary, run_arm
from zoomgap.errors import ModelError, RefusedError
from zoomgap.models import retry
from zoomgap.models.openai_api import EndpointModel
from zoomgap.records import Message, Request, RunSpec, Text
from zoomgap.storage import Store

from ..samples import make_samples
from .fault_server import Answer, Server, completion, faulty, says, serving, zooms

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
