from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable

import pytest

from zoomgap.errors import ModelError, RefusedError, TooLongError, UsageError
from zoomgap.models import openai_api, retry
from zoomgap.models.openai_api import EndpointModel
from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, Usage

from .fault_server import CUT, GOOD, SILENT, Answer, Server, completion, events, says, serving

KEY = "sk-very-secret"
PNG, JPEG = b"\x89PNG rest", b"\xff\xd8\xff rest"
IMAGES = {"p": PNG, "j": JPEG}
TOOL = {"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object"}}}
ASK = Request(messages=(Message(role="user", content=(Image("p", 8, 8), Image("j", 8, 8), Text("q"))),))
RESPONSE = {
    "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "B"}]}],
    "usage": {"input_tokens": 7, "output_tokens": 1},
}  # fmt: skip
CHUNKS = (
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"content": "B"}}]},
    {"choices": [{"delta": {"content": "C"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", lambda state: 0.01)


def endpoint(server: Server, **settings) -> EndpointModel:
    return EndpointModel(server.url, "m", IMAGES.__getitem__, **{"api_key": KEY, "budget_s": 20, **settings})


async def replies(server: Server, n: int, request: Request = ASK, **settings) -> list[Reply]:
    """n replies of one model, asked at once."""
    model = endpoint(server, **settings)
    try:
        return await asyncio.gather(*(model.reply(request) for _ in range(n)))
    finally:
        await model.aclose()


async def reply(server: Server, request: Request = ASK, **settings) -> Reply:
    return (await replies(server, 1, request, **settings))[0]


async def fails(server: Server, kind: type[ModelError] = ModelError, **settings) -> str:
    with pytest.raises(ModelError) as raised:
        await reply(server, **settings)
    message = str(raised.value)
    assert type(raised.value) is kind
    assert KEY not in message
    assert "\n" not in message
    assert len(message) < 400
    return message


async def test_chat_on_the_wire():
    request = Request(
        messages=ASK.messages, tools=(TOOL,), tool_choice="none", logprobs=3,
        sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=5, seed=4, stop=("x",)),
    )  # fmt: skip
    with serving(GOOD) as server:
        await reply(server, request)
    urls = [part["image_url"] for part in server.bodies[0]["messages"][0]["content"][:2]]
    assert urls == [
        {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()},
        {"url": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()},
    ]
    rest = {key: value for key, value in server.bodies[0].items() if key != "messages"}
    assert rest == {
        "model": "m", "temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "seed": 4, "stop": ["x"], "tools": [TOOL],
        "tool_choice": "none", "logprobs": True, "top_logprobs": 3,
    }  # fmt: skip
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["content-type"] == "application/json"


async def test_responses_on_the_wire():
    with serving(Answer(body=json.dumps(RESPONSE))) as server:
        answer = await reply(server, wire="responses")
    assert server.headers[0]["path"] == "/v1/responses"
    (turn,) = server.bodies[0]["input"]
    assert [part["type"] for part in turn["content"]] == ["input_image", "input_image", "input_text"]
    assert turn["content"][0]["image_url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert (answer.text, answer.usage) == ("B", Usage(prompt_tokens=7, completion_tokens=1))


def test_an_unknown_wire_is_refused():
    with pytest.raises(UsageError, match="chat or responses"):
        EndpointModel("http://localhost/v1", "m", IMAGES.__getitem__, wire="smoke")  # type: ignore[arg-type]


async def test_stop_sequences_cannot_go_over_responses():
    request = Request(messages=ASK.messages, sampling=Sampling(stop=("x",)))
    with serving(GOOD) as server, pytest.raises(UsageError, match="wire chat"):
        await reply(server, request, wire="responses")
    assert server.bodies == []


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
async def test_transient_errors_are_tried_again(status):
    with serving(Answer(status, "{}"), Answer(status, "busy"), GOOD) as server:
        assert (await reply(server)).text == "B"
    assert len(server.bodies) == 3
    assert server.raw[0] == server.raw[2]


@pytest.mark.parametrize("broken", [CUT, Answer(body=completion(), cut=0), Answer(body=completion(), cut=30)])
async def test_broken_connections_are_tried_again(broken):
    with serving(broken, broken, GOOD) as server:
        assert (await reply(server)).text == "B"
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_other_errors_are_final(status):
    body = json.dumps({"error": {"message": f"bad\nkey {KEY} " + "x" * 500}})
    with serving(Answer(status, body), GOOD) as server:
        message = await fails(server)
    assert len(server.bodies) == 1
    assert str(status) in message
    assert "bad" in message
    assert ("--pixels" in message) == (status != 422)


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}}',
        '{"object": "error", "message": "The decoder prompt (length 9000) is longer than the maximum model length"}',
        '{"error": "the request exceeds the available context size"}',
        "Input is too long for requested model: prompt is too long",
    ],
)
async def test_a_conversation_that_is_too_long_is_told_apart(body):
    with serving(Answer(400, body)) as server:
        await fails(server, TooLongError)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (Answer(401, f'{{"error": {{"message": "wrong key {KEY}"}}}}'), "set ZOOMGAP_API_KEY or OPENAI_API_KEY"),
        (Answer(403, "<html>no</html>", {"content-type": "text/html"}), "ZOOMGAP_API_KEY or OPENAI_API_KEY"),
        (Answer(404, '{"error": {"message": "no model m", "code": "model_not_found"}}'), "check --model"),
        (Answer(402, "{}"), "top it up"),
        (Answer(429, '{"error": {"message": "no", "type": "insufficient_quota", "code": "spent"}}'), "top it up"),
    ],
)
async def test_what_would_befall_every_request_is_a_refusal(answer, remedy):
    with serving(answer, GOOD) as server:
        message = await fails(server, RefusedError)
    assert len(server.bodies) == 1
    assert f"endpoint {server.url} answered {answer.status}" in message
    assert remedy in message


async def test_errors_for_ever_end_with_the_budget():
    with serving(Answer(500, '{"error": "overloaded"}')) as server:
        message = await fails(server, budget_s=0.5)
    assert len(server.bodies) > 1
    assert "500" in message
    assert "overloaded" in message


async def test_broken_connections_for_ever_end_with_the_budget():
    with serving(CUT) as server:
        assert "broke the connection" in await fails(server, budget_s=0.5)
    assert len(server.bodies) > 1


async def test_nobody_listening_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(openai_api, "FIRST_CONTACT_S", 0.2)
    with serving(GOOD) as server:
        pass
    assert "cannot be reached" in await fails(server, budget_s=600)


async def test_first_contact_cuts_no_try_short(monkeypatch):
    monkeypatch.setattr(openai_api, "FIRST_CONTACT_S", 1.0)
    with serving(CUT, Answer(body=completion(), pause_s=1.2)) as server:
        assert (await reply(server)).text == "B"
    assert len(server.bodies) == 2


async def test_who_has_answered_once_is_tried_for_the_whole_budget(monkeypatch):
    monkeypatch.setattr(openai_api, "FIRST_CONTACT_S", 0.0)
    with serving(GOOD, *[CUT] * 5, GOOD) as server:
        model = endpoint(server)
        await model.reply(ASK)
        assert (await model.reply(ASK)).text == "B"
        await model.aclose()
    assert len(server.bodies) == 7


async def test_silence_ends_with_the_budget():
    with serving(SILENT) as server:
        message = await fails(server, budget_s=0.3)
    assert "no reply within 0.3 s" in message


async def test_silence_after_an_error_tells_of_the_error():
    with serving(Answer(503, '{"error": "loading"}'), SILENT) as server:
        message = await fails(server, budget_s=1)
    assert "no reply within 1 s" in message
    assert "503" in message


async def test_silent_try_ends_with_its_timeout_and_is_tried_again():
    with serving(SILENT, GOOD) as server:
        assert (await reply(server, timeout_s=0.3)).text == "B"


async def test_slow_bytes_do_not_stretch_a_try():
    """Each byte comes well within the limit, the whole does not."""
    slow = Answer(body=completion(), pieces=100, pause_s=0.05)
    with serving(slow, GOOD) as server:
        assert (await reply(server, timeout_s=0.4)).text == "B"
    assert len(server.bodies) >= 2


async def test_slow_bytes_within_the_limit_are_a_reply():
    with serving(Answer(body=completion(), pieces=10, pause_s=0.02)) as server:
        assert (await reply(server)).text == "B"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"choices": [{"mess', "application/json"),
        ("not json at all", "application/json"),
        ("[" * 100_000, "application/json"),
        ("<html>proxy login</html>", "text/html"),
        ("{}", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"choices": [{}]}', "application/json"),
        ('{"choices": [{"message": null}]}', "application/json"),
        ('{"error": "model is loading"}', "application/json"),
        ("[1]", "application/json"),
        ("null", "application/json"),
        ('"text"', "application/json"),
        ('{"choices": 3}', "application/json"),
        ('{"choices": [{"message": "B"}]}', "application/json"),
        ('{"choices": [{"message": {"content": ["B"]}}]}', "application/json"),
        ('{"choices": [{"message": {"tool_calls": [3]}}]}', "application/json"),
    ],
)
async def test_what_is_no_reply_is_tried_three_times(body, kind):
    with serving(Answer(body=body, headers={"content-type": kind})) as server:
        assert "no reply" in await fails(server)
    assert len(server.bodies) == 3


async def test_a_reply_after_what_was_none():
    with serving(Answer(body='{"choices": []}'), Answer(body="{"), GOOD) as server:
        assert (await reply(server)).text == "B"


@pytest.mark.parametrize("headers", [{"retry-after": "0.3"}, {"retry-after-ms": "300", "retry-after": "9"}])
@pytest.mark.parametrize("status", [429, 500])
async def test_retry_after_is_honoured(headers, status):
    with serving(Answer(status, "{}", headers), GOOD) as server:
        await reply(server)
    assert server.times[1] - server.times[0] >= 0.3


async def test_retry_after_pauses_all():
    with serving(Answer(429, "{}", {"retry-after": "0.3"}), GOOD) as server:
        await replies(server, 6, concurrency=1)
    assert len(server.times) == 7
    assert server.times[1] - server.times[0] >= 0.3


async def test_retry_after_beyond_the_budget_ends_at_once():
    with serving(Answer(429, '{"error": "quota"}', {"retry-after": "3600"})) as server:
        message = await fails(server)
    assert "429" in message
    assert "quota" in message
    assert len(server.bodies) == 1


async def test_a_long_pause_ends_the_others_too():
    with serving(Answer(429, "{}", {"retry-after": "3600"})) as server:
        model = endpoint(server)
        for expected in ("429", "wants no request for 3600 s"):
            with pytest.raises(ModelError, match=expected):
                await model.reply(ASK)
        await model.aclose()
    assert len(server.bodies) == 1


async def test_429_makes_room():
    """Twelve are refused at once; of those sent again, six stand at the server until it opens."""
    gate = threading.Event()

    def answer(turn: int, body: dict) -> Answer:
        together.wait(30) if turn < 12 else gate.wait(30)
        return Answer(429, "{}") if turn < 12 else GOOD

    together = threading.Barrier(12)
    with serving(answer=answer) as server:
        answers = asyncio.create_task(replies(server, 12, concurrency=12))
        async with asyncio.timeout(60):
            while len(server.bodies) < 18:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(server.bodies) == 18
        gate.set()
        await answers
    assert len(server.bodies) == 24


async def test_concurrency_is_a_bound_and_connections_are_reused():
    with serving(Answer(body=completion(), pause_s=0.01)) as server:
        await replies(server, 40, concurrency=5)
    assert server.most_at_once <= 5
    assert server.connections <= 5
    assert len(server.bodies) == 40


async def test_standing_in_line_is_no_time_of_the_model():
    """Twelve one after the other take longer than a try or a request may."""
    started = time.perf_counter()
    with serving(Answer(body=completion(), pause_s=0.2)) as server:
        answers = await replies(server, 12, concurrency=1, timeout_s=2, budget_s=2.2)
    wall_ms = (time.perf_counter() - started) * 1000
    assert all(answer.clocks.model_ms >= 200 for answer in answers)
    assert sum(answer.clocks.model_ms for answer in answers) <= wall_ms
    assert all(answer.clocks.first_byte_ms is None for answer in answers)


async def test_waits_between_tries_are_no_time_of_the_model(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", lambda state: 0.5)
    started = time.perf_counter()
    with serving(Answer(500, "{}"), GOOD) as server:
        answer = await reply(server)
    assert answer.clocks.model_ms + 500 <= (time.perf_counter() - started) * 1000


async def test_tries_that_failed_are_time_of_the_model():
    with serving(Answer(500, "{}", pause_s=0.3), GOOD) as server:
        assert (await reply(server)).clocks.model_ms >= 300


async def test_a_stream_is_read():
    with serving(events(*CHUNKS, pieces=8, pause_s=0.02)) as server:
        answer = await reply(server, stream=True)
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}
    assert (answer.text, answer.finish_reason) == ("BC", "stop")
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=2)
    assert 20 < answer.clocks.first_byte_ms < answer.clocks.model_ms


async def test_a_response_is_streamed():
    stream = events(
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "delta": "B"},
        {"type": "response.completed", "response": RESPONSE},
        done=False,
    )
    with serving(stream) as server:
        answer = await reply(server, stream=True, wire="responses")
    assert answer.text == "B"
    assert 0 < answer.clocks.first_byte_ms <= answer.clocks.model_ms


async def test_a_refused_stream_is_remembered():
    def answer(turn: int, body: dict) -> Answer:
        return Answer(400, "no streams") if body.get("stream") else GOOD

    with serving(answer=answer) as server:
        model = endpoint(server, stream=True)
        answers = [await model.reply(ASK) for _ in range(2)]
        await model.aclose()
    assert [answer.text for answer in answers] == ["B", "B"]
    assert [bool(body.get("stream")) for body in server.bodies] == [True, False, False]
    assert answers[0].clocks.first_byte_ms is None


async def test_a_refused_request_does_not_end_streaming():
    with serving(Answer(400, "bad image"), Answer(400, "bad image"), events(*CHUNKS), Answer(400, "long")) as server:
        model = endpoint(server, stream=True)
        with pytest.raises(ModelError, match="bad image"):
            await model.reply(ASK)
        assert (await model.reply(ASK)).clocks.first_byte_ms is not None
        with pytest.raises(ModelError, match="long"):
            await model.reply(ASK)
        await model.aclose()
    assert [bool(body.get("stream")) for body in server.bodies] == [True, False, True, True]


async def test_a_server_that_ignores_stream():
    with serving(GOOD) as server:
        answer = await reply(server, stream=True)
    assert answer.text == "B"
    assert answer.clocks.first_byte_ms is None
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "broken",
    [
        events(*CHUNKS, cut=90),
        Answer(body=completion(), cut=40),
        events(*CHUNKS[:2], done=False),
        events({"error": {"message": "died", "code": 500}}),
        Answer(body="data: {broken\n\n", headers={"content-type": "text/event-stream"}),
        Answer(body="", headers={"content-type": "text/event-stream"}),
    ],
)
async def test_broken_streams_are_tried_again(broken):
    with serving(broken, events(*CHUNKS)) as server:
        assert (await reply(server, stream=True)).text == "BC"
    assert len(server.bodies) == 2


async def test_a_stream_that_stalls_ends_with_its_timeout():
    with serving(events(*CHUNKS, pieces=100, pause_s=0.05), events(*CHUNKS)) as server:
        assert (await reply(server, stream=True, timeout_s=0.4)).text == "BC"


async def test_credentials_in_the_url_are_not_shown():
    with serving(Answer(400, "no")) as server:
        server.url = server.url.replace("://", "://user:hidden@")
        assert "hidden" not in await fails(server)


async def test_a_key_that_no_header_takes_is_not_shown(monkeypatch):
    for key in ("sk-sécret", "sk-se\ncret"):
        with pytest.raises(UsageError, match="ZOOMGAP_API_KEY") as raised:
            EndpointModel("http://localhost/v1", "m", IMAGES.__getitem__, api_key=key)
        assert "sk-" not in str(raised.value)
    with serving(GOOD) as server:
        await reply(server, api_key=f" {KEY}\n")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    order: list[tuple[str, Callable[[], None]]] = [
        ("none", lambda: None),
        ("open", lambda: monkeypatch.setenv("OPENAI_API_KEY", "open")),
        ("own", lambda: monkeypatch.setenv("ZOOMGAP_API_KEY", "own")),
    ]
    for name in ("OPENAI_API_KEY", "ZOOMGAP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with serving(GOOD) as server:
        for _, prepare in order:
            prepare()
            await reply(server, api_key=None)
    assert [headers["authorization"] for headers in server.headers] == [f"Bearer {key}" for key, _ in order]


async def test_closing_lets_connections_go_and_a_second_time_does_nothing():
    with serving(says("B")) as server:
        model = endpoint(server)
        await model.reply(ASK)
        assert server.open == 1
        await model.aclose()
        async with asyncio.timeout(30):
            while server.open:
                await asyncio.sleep(0.005)
        await model.aclose()
        assert (server.open, len(server.bodies)) == (0, 1)
