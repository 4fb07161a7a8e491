from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from zoomgap.errors import ModelError
from zoomgap.models import openai_api
from zoomgap.models.openai_api import EndpointModel, retry_after
from zoomgap.records import Image, Message, Request, Sampling, Text, Usage

KEY = "sk-very-secret"
PNG, JPEG = b"\x89PNG rest", b"\xff\xd8\xff rest"
TOOL = {"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object"}}}
ASK = Request(messages=(Message(role="user", content=(Image("p", 8, 8), Image("j", 8, 8), Text("q"))),))
Answer = tuple[int, dict[str, str], str]


def completion(**fields) -> str:
    message = {"role": "assistant", "content": "B", **fields.pop("message", {})}
    choice = {"index": 0, "finish_reason": "stop", **fields.pop("choice", {}), "message": message}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **fields}
    )


GOOD: Answer = (200, {}, completion())


@dataclass
class Server:
    """Answers the script in turn, its last entry for ever. None closes the connection without a word."""

    script: list[Answer | None]
    url: str = ""
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = server.script[min(len(server.bodies), len(server.script) - 1)]
            server.bodies.append(json.loads(body))
            server.headers.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            if answer is None:
                self.close_connection = True
                return
            status, headers, text = answer
            if text == "wait":
                server.release.wait(30)
                self.close_connection = True
                return
            data = text.encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args) -> None:
            pass

    return Handler


@contextmanager
def serving(*script: Answer | None) -> Iterator[Server]:
    server = Server(list(script))
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(server))
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(openai_api, "_BACKOFF", lambda state: 0.01)


async def reply(server: Server, request: Request = ASK, **settings):
    settings = {"api_key": KEY, "budget_s": 20, **settings}
    model = EndpointModel(server.url, "m", {"p": PNG, "j": JPEG}.__getitem__, **settings)
    try:
        return await model.reply(request)
    finally:
        await model.aclose()


async def fails(server: Server, **settings) -> str:
    with pytest.raises(ModelError) as raised:
        await reply(server, **settings)
    message = str(raised.value)
    assert KEY not in message
    assert "\n" not in message
    assert len(message) < 300
    return message


async def test_body_on_the_wire():
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


async def test_full_completion_is_read():
    call = {"id": "c1", "type": "function", "function": {"name": "zoom_in", "arguments": '{"bbox_2d": [1,'}}
    tokens = [{"token": t, "logprob": p, "bytes": None, "top_logprobs": []} for t, p in (("a", -0.5), ("b", -1.5))]
    usage = {
        "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"image_tokens": 4},
    }  # fmt: skip
    text = completion(
        message={"content": "<tool_call>raw</tool_call>", "tool_calls": [call], "reasoning_content": "hm"},
        choice={"finish_reason": "tool_calls", "logprobs": {"content": tokens}},
        usage=usage,
    )
    with serving((200, {}, text)) as server:
        answer = await reply(server)
    assert answer.text == "<tool_call>raw</tool_call>"
    assert answer.reasoning == "hm"
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("c1", "zoom_in", '{"bbox_2d": [1,')]
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(prompt_tokens=9, completion_tokens=2, image_tokens=4)
    assert answer.token_logprobs == (-0.5, -1.5)
    assert answer.clocks.model_ms > 0
    assert answer.clocks.preprocess_ms is None


async def test_sparse_completion_leaves_none():
    with serving((200, {}, '{"choices": [{"message": {"content": null}}]}')) as server:
        answer = await reply(server)
    assert answer.text == ""
    assert answer.usage == Usage()
    assert answer.token_logprobs is None
    assert answer.tool_calls == ()


async def test_reasoning_inside_the_text_is_split_off():
    with serving((200, {}, completion(message={"content": "<think>hm</think>B"}))) as server:
        answer = await reply(server)
    assert (answer.reasoning, answer.text) == ("hm", "B")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
async def test_transient_errors_are_tried_again(status):
    with serving((status, {}, "{}"), (status, {}, "busy"), GOOD) as server:
        assert (await reply(server)).text == "B"
    assert len(server.bodies) == 3
    assert server.bodies[0] == server.bodies[2]


async def test_closed_connections_are_tried_again():
    with serving(None, None, GOOD) as server:
        assert (await reply(server)).text == "B"
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_other_errors_are_final(status):
    body = json.dumps({"error": {"message": f"bad\nkey {KEY} " + "x" * 500}})
    with serving((status, {}, body), GOOD) as server:
        message = await fails(server)
    assert len(server.bodies) == 1
    assert str(status) in message
    assert "bad" in message


async def test_errors_for_ever_end_with_the_budget():
    with serving((500, {}, '{"error": "overloaded"}')) as server:
        message = await fails(server, budget_s=1)
    assert len(server.bodies) > 1
    assert "500" in message
    assert "overloaded" in message


async def test_closed_connections_for_ever_end_with_the_budget():
    with serving(None) as server:
        assert "cannot be reached" in await fails(server, budget_s=1)


async def test_nobody_listening():
    with serving(GOOD) as server:
        pass
    assert "cannot be reached" in await fails(server, budget_s=1)


async def test_silence_ends_with_the_budget():
    with serving((200, {}, "wait")) as server:
        message = await fails(server, budget_s=0.3)
    assert "no reply within 0.3 s" in message


async def test_silence_after_an_error_tells_of_the_error():
    with serving((503, {}, '{"error": "loading"}'), (200, {}, "wait")) as server:
        message = await fails(server, budget_s=3)
    assert "no reply within 3 s" in message
    assert "503" in message


async def test_silent_attempt_ends_with_its_timeout_and_is_tried_again():
    with serving((200, {}, "wait"), GOOD) as server:
        assert (await reply(server, timeout_s=0.3)).text == "B"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"choices": [{"mess', "application/json"),
        ("not json at all", "application/json"),
        ("<html>proxy login</html>", "text/html"),
        ("{}", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"choices": [{}]}', "application/json"),
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
async def test_what_is_no_completion_is_an_error(body, kind):
    with serving((200, {"content-type": kind}, body)) as server:
        assert "no chat completion" in await fails(server)
    assert len(server.bodies) == 1


async def test_retry_after_is_honoured(monkeypatch):
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.extend([seconds] if seconds else [])
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    with serving((429, {"retry-after": "7"}, "{}"), GOOD) as server:
        await reply(server)
    assert waits == [7.0]


async def test_retry_after_beyond_the_budget_ends_at_once():
    with serving((429, {"retry-after": "3600"}, '{"error": "quota"}')) as server:
        message = await fails(server)
    assert "429" in message
    assert "quota" in message
    assert len(server.bodies) == 1


def test_retry_after_forms():
    assert retry_after({}) is None
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "-4"}) == 0
    assert retry_after({"retry-after": "inf"}) is None
    assert retry_after({"retry-after": "soon"}) is None
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)})
    assert 60 < later <= 90


async def test_credentials_in_the_url_are_not_shown():
    with serving((400, {}, "no")) as server:
        server.url = server.url.replace("://", "://user:hidden@")
        assert "hidden" not in await fails(server)


@pytest.mark.parametrize(("name", "field"), [("gpt-5-mini", "max_completion_tokens"), ("qwen", "max_tokens")])
async def test_token_limit_is_named_as_the_model_wants(name, field):
    with serving(GOOD) as server:
        model = EndpointModel(server.url, name, {"p": PNG, "j": JPEG}.__getitem__, api_key=KEY)
        await model.reply(ASK)
        await model.aclose()
    assert server.bodies[0][field] == 256


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
