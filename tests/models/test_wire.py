from __future__ import annotations

import asyncio
import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from zoomgap.errors import StoreError
from zoomgap.models.openai_api import EndpointModel
from zoomgap.models.wire import WIRES, BadAnswerError, DataURLs, ResponsesStream, data_url, encode
from zoomgap.records import Image, Message, Request, Sampling, Text, TokenChoice, ToolCall, Usage

CHAT, RESPONSES = WIRES["chat"], WIRES["responses"]
FUNCTION = {"name": "zoom_in", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
VIEW, CROP = Image("a" * 64, 96, 64), Image("b" * 64, 64, 64)
TURNS = Request(
    messages=(
        Message(role="system", content=(Text("be brief"),)),
        Message(role="user", content=(VIEW, Text("what?"))),
        Message(role="assistant", content=(Text("I look."),), tool_calls=(ToolCall("c1", "zoom_in", '{"a": 1}'),)),
        Message(role="tool", content=(CROP, Text("image 1")), tool_call_id="c1"),
        Message(role="assistant", tool_calls=(ToolCall("c2", "zoom_in", "{}"), ToolCall("c3", "zoom_in", "{}"))),
        Message(role="tool", content=(Text("no such box"),), tool_call_id="c2"),
        Message(role="tool", content=(Text("one call"),), tool_call_id="c3"),
        Message(role="user", content=(CROP, Text("image 1"))),
    ),
    tools=(TOOL,),
    tool_choice="none",
    sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=7, seed=3),
    logprobs=2,
)


def load_image(sha256: str) -> bytes:
    size = {VIEW.sha256: (64, 96, 3), CROP.sha256: (64, 64, 3)}[sha256]
    stream = io.BytesIO()
    PILImage.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def chat(message, **choice):
    return {"choices": [{"message": message, **choice}]}


def response(*output, **fields):
    return {"status": "completed", "output": list(output), **fields}


def said(*parts):
    return {"type": "message", "role": "assistant", "content": list(parts)}


def text(words, **fields):
    return {"type": "output_text", "text": words, **fields}


def test_the_body_of_a_response():
    image = {"type": "input_image", "image_url": f"sha256:{CROP.sha256}", "detail": "auto"}
    view = {**image, "image_url": f"sha256:{VIEW.sha256}"}
    assert RESPONSES.body(TURNS, "m", False) == {
        "model": "m", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 7, "store": False, "stream": False,
        "tools": [{"type": "function", "strict": False, **FUNCTION}], "tool_choice": "none",
        "include": ["message.output_text.logprobs"], "top_logprobs": 2,
        "input": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [view, {"type": "input_text", "text": "what?"}]},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "c1", "name": "zoom_in", "arguments": '{"a": 1}'},
            {"type": "function_call_output", "call_id": "c1",
             "output": [image, {"type": "input_text", "text": "image 1"}]},
            {"type": "function_call", "call_id": "c2", "name": "zoom_in", "arguments": "{}"},
            {"type": "function_call", "call_id": "c3", "name": "zoom_in", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c2", "output": "no such box"},
            {"type": "function_call_output", "call_id": "c3", "output": "one call"},
            {"role": "user", "content": [image, {"type": "input_text", "text": "image 1"}]},
        ],
    }  # fmt: skip


def test_a_bare_response_asks_for_no_tools_and_no_logprobs():
    body = RESPONSES.body(Request(messages=(Message(role="user", content=(Text("q"),)),)), "m", True)
    assert set(body) == {"model", "input", "temperature", "top_p", "max_output_tokens", "store", "stream"}
    assert body["stream"] is True


def test_the_body_of_a_chat_names_no_sizes():
    body = CHAT.body(TURNS, "m", False)
    assert body["messages"][1]["content"][0] == {"type": "image_url", "image_url": {"url": f"sha256:{VIEW.sha256}"}}
    assert "stream" not in body


@pytest.mark.parametrize(("name", "field"), [("gpt-5-mini", "max_completion_tokens"), ("qwen", "max_tokens")])
def test_the_token_limit_is_named_as_the_model_wants(name, field):
    assert CHAT.body(TURNS, name, False)[field] == 7


@pytest.mark.parametrize("wire", [CHAT, RESPONSES])
@pytest.mark.parametrize("name", ["gpt-5-mini", "openai/o3", "gpt-4o", "yolo3"])
def test_a_model_that_refuses_a_temperature_is_sent_none(wire, name):
    sampling = {"temperature", "top_p"}
    assert sampling & wire.body(TURNS, name, False).keys() == (sampling if name in ("gpt-4o", "yolo3") else set())


def test_numbers_that_cannot_be_are_not_known():
    def read(**values):
        logprobs = {"content": [{"logprob": values.get("logprob", -0.5)}]}
        choice = {"message": {"content": "B"}, "logprobs": logprobs}
        return CHAT.read({"choices": [choice], "usage": {"prompt_tokens": values.get("tokens", 9)}})

    assert (read().token_logprobs, read().usage.prompt_tokens) == ((-0.5,), 9)
    assert read(logprob=1e-6).token_logprobs == (0.0,)
    for logprob in (800, float("nan"), "x", None):
        assert read(logprob=logprob).token_logprobs is None
    for tokens in (-1, 10**30, True, 1.5):
        assert read(tokens=tokens).usage.prompt_tokens is None


@pytest.mark.parametrize("wire", [CHAT, RESPONSES])
def test_images_are_put_into_their_slots(wire):
    urls = {VIEW.sha256: b"data:one", CROP.sha256: b"data:two"}
    written = encode(wire.body(TURNS, "m", False), urls)
    plain = json.dumps(wire.body(TURNS, "m", False))
    for sha256, url in urls.items():
        plain = plain.replace(f"sha256:{sha256}", url.decode())
    assert json.loads(written) == json.loads(plain)
    assert written.count(b"data:") == 3


@settings(deadline=None)
@given(st.lists(st.text() | st.just('"url":"sha256:p"') | st.just('{"image_url":"sha256:p"}'), min_size=1, max_size=3))
def test_no_text_passes_for_an_image(words):
    parts = tuple(Text(word) for word in words)
    request = Request(messages=(Message(role="user", content=(Image("p", 1, 1), *parts)),))
    for wire in WIRES.values():
        body = json.loads(encode(wire.body(request, "m", False), {"p": b"data:p"}))
        content = (body.get("messages") or body["input"])[0]["content"]
        assert [part["text"] for part in content[1:]] == words


def test_lone_surrogates_do_not_stop_a_request():
    request = Request(messages=(Message(role="user", content=(Text("a\ud800b"),)),))
    assert json.loads(encode(CHAT.body(request, "m", False), {}))["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(("format", "media_type"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif")])
def test_what_servers_take_is_sent_as_stored(format, media_type):
    stream = io.BytesIO()
    PILImage.new("RGB", (8, 8), "red").save(stream, format)
    expected = f"data:image/{media_type};base64," + base64.b64encode(stream.getvalue()).decode()
    assert data_url(stream.getvalue()).decode() == expected


def test_other_images_become_png():
    stream = io.BytesIO()
    PILImage.new("RGB", (8, 8), "red").save(stream, "BMP")
    kind, data = data_url(stream.getvalue()).split(b",")
    assert kind == b"data:image/png;base64"
    assert PILImage.open(io.BytesIO(base64.b64decode(data))).getpixel((3, 3)) == (255, 0, 0)


class Images:
    """Images of 30 bytes, whose URLs have 62."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, sha256: str) -> bytes:
        self.loaded.append(sha256)
        if sha256 == "gone":
            raise StoreError("gone")
        return b"\x89PNG" + sha256.encode().ljust(26)


async def test_a_url_is_built_once_for_all_who_ask():
    images = Images()
    urls = DataURLs(images.load)
    found = await asyncio.gather(*(urls.get("a") for _ in range(5)))
    assert images.loaded == ["a"]
    assert await urls.get("a") == found[0] == data_url(images.load("a"))


async def test_the_latest_urls_are_kept_within_the_limit():
    images = Images()
    urls = DataURLs(images.load, limit=130)
    for name in ("a", "b", "a", "c", "a", "c", "b"):
        await urls.get(name)
    assert images.loaded == ["a", "b", "c", "b"]


async def test_an_image_beyond_the_limit_is_sent_and_not_kept():
    images = Images()
    urls = DataURLs(images.load, limit=10)
    assert await urls.get("a") == await urls.get("a")
    assert images.loaded == ["a", "a"]


async def test_a_failure_is_told_and_not_kept():
    images = Images()
    urls = DataURLs(images.load)
    for _ in range(2):
        with pytest.raises(StoreError):
            await urls.get("gone")
    assert images.loaded == ["gone", "gone"]


async def test_who_gives_up_takes_nothing_from_the_others():
    images = Images()
    urls = DataURLs(images.load)
    first, second = (asyncio.create_task(urls.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).startswith(b"data:image/png")
    assert images.loaded == ["a"]


def test_tokens_come_with_what_else_could_have_stood_there():
    """Best first, whatever order they come in; None unless every token has its text and some alternatives."""

    def top(*pairs):
        return [{"token": text, "logprob": value} for text, value in pairs]

    whole = {"token": "B", "logprob": -0.5, "top_logprobs": top(("C", -1.5), ("B", -0.5))}
    expected = (TokenChoice("B", (("B", -0.5), ("C", -1.5))),)
    assert CHAT.read(chat({"content": "B"}, logprobs={"content": [whole]})).token_choices == expected
    for fault in (
        {"token": None}, {"top_logprobs": []}, {"top_logprobs": None}, {"top_logprobs": "B"},
        {"top_logprobs": top((3, -0.5))}, {"top_logprobs": top(("B", "x"))}, {"top_logprobs": top(("B", 700))},
    ):  # fmt: skip
        reply = CHAT.read(chat({"content": "B"}, logprobs={"content": [whole | fault]}))
        assert (reply.token_choices, reply.token_logprobs) == (None, (-0.5,))


def test_a_full_completion():
    call = {"id": "c1", "type": "function", "function": {"name": "zoom_in", "arguments": '{"bbox_2d": [1,'}}
    tokens = [{"token": t, "logprob": p, "bytes": None, "top_logprobs": []} for t, p in (("a", -0.5), ("b", -1.5))]
    answer = chat(
        {"content": "<tool_call>raw</tool_call>", "tool_calls": [call], "reasoning_content": "hm"},
        finish_reason="tool_calls",
        logprobs={"content": tokens},
    )
    details = {"image_tokens": 4}
    answer["usage"] = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": details}
    reply = CHAT.read(answer)
    assert (reply.text, reply.reasoning) == ("<tool_call>raw</tool_call>", "hm")
    assert reply.tool_calls == (ToolCall("c1", "zoom_in", '{"bbox_2d": [1,'),)
    assert reply.finish_reason == "tool_calls"
    assert reply.usage == Usage(prompt_tokens=9, completion_tokens=2, image_tokens=4)
    assert reply.token_logprobs == (-0.5, -1.5)


@pytest.mark.parametrize(
    ("message", "reasoning", "words"),
    [
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "", "ab"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                      {"type": "text", "text": "B"}]}, "hm", "B"),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "", ""),
        ({"content": "<think>hm</think>B"}, "hm", "B"),
        ({"content": "B", "reasoning": "hm"}, "hm", "B"),
        ({"content": "B", "reasoning_content": "hm", "reasoning": "other"}, "hm", "B"),
        ({"content": "B", "reasoning": {"odd": 1}}, "", "B"),
        ({"content": None, "refusal": "I cannot."}, "", "I cannot."),
    ],
)  # fmt: skip
def test_odd_messages(message, reasoning, words):
    reply = CHAT.read(chat(message))
    assert (reply.reasoning, reply.text) == (reasoning, words)
    assert (reply.finish_reason, reply.usage, reply.token_logprobs, reply.tool_calls) == ("stop", Usage(), None, ())


@pytest.mark.parametrize(
    ("call", "read"),
    [
        ({"function": {"name": "f", "arguments": {"a": [1, "é"]}}}, ToolCall("", "f", '{"a": [1, "é"]}')),
        ({"id": None, "function": {"name": "f", "arguments": None}}, ToolCall("", "f", "")),
        ({"id": 0, "function": {"name": "f"}}, ToolCall("0", "f", "")),
        ({"id": "x", "name": "f", "arguments": "{}"}, ToolCall("x", "f", "{}")),
        ({"id": "x", "function": {"name": None, "arguments": "{}"}}, ToolCall("x", "", "{}")),
        ({"id": "x", "function": {"name": "rm -rf", "arguments": "{"}}, ToolCall("x", "rm -rf", "{")),
    ],
)
def test_odd_calls_are_passed_through(call, read):
    assert CHAT.read(chat({"content": None, "tool_calls": [call, call]})).tool_calls == (read, read)


@pytest.mark.parametrize("usage", [None, [], "many", {"prompt_tokens": "9"}, {"prompt_tokens_details": 3}])
def test_odd_usage_is_unknown(usage):
    assert CHAT.read(chat({"content": "B"}) | {"usage": usage}).usage == Usage()


@pytest.mark.parametrize(
    "answer",
    [
        {}, [], "B", None, 3, {"choices": []}, {"choices": None}, {"choices": [None]}, chat(None), chat("B"), chat([]),
        chat({"content": 3}), chat({"content": ["B"]}), chat({"content": [{"type": "text", "text": 3}]}),
        chat({"content": "part", "tool_calls": [3]}), chat({"content": "half"}, finish_reason="error"),
        chat({"content": "half"}, error={"code": 502}),
    ],
)  # fmt: skip
def test_what_is_no_completion(answer):
    with pytest.raises(BadAnswerError):
        CHAT.read(answer)


def test_a_full_response():
    reply = RESPONSES.read(
        response(
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "web_search_call", "id": "w"},
            said(text("a", logprobs=[{"logprob": -0.5}]), text("b", logprobs=[{"logprob": -1.5}])),
            {"type": "function_call", "id": "fc", "call_id": "c1", "name": "zoom_in", "arguments": "{}"},
            usage={"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"image_tokens": 4}},
        )
    )
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("ab", "hm", "tool_calls")
    assert reply.tool_calls == (ToolCall("c1", "zoom_in", "{}"),)
    assert reply.usage == Usage(prompt_tokens=9, completion_tokens=2, image_tokens=4)
    assert reply.token_logprobs == (-0.5, -1.5)


@pytest.mark.parametrize(
    ("answer", "words", "finish_reason"),
    [
        (response(said(text("B"))), "B", "stop"),
        ({"output": [said(text("B"))]}, "B", "stop"),
        (response(said({"type": "refusal", "refusal": "I cannot."})), "I cannot.", "stop"),
        (response({"type": "message", "content": "B"}), "B", "stop"),
        (response(said(text("ha")), status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "ha",
         "length"),
        (response(status="incomplete", incomplete_details={"reason": "content_filter"}), "", "content_filter"),
        (response(said(text("B")), error=None, incomplete_details=None), "B", "stop"),
    ],
)  # fmt: skip
def test_other_responses(answer, words, finish_reason):
    reply = RESPONSES.read(answer)
    assert (reply.text, reply.finish_reason) == (words, finish_reason)


def test_reasoning_text_wins_over_its_summary():
    content = [{"type": "reasoning_text", "text": "long"}]
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}], "content": content}
    assert RESPONSES.read(response(item, said(text("B")))).reasoning == "long"


@pytest.mark.parametrize(
    "answer",
    [
        {}, [], None, "B", response(), response(3), {"output": [{}]}, {"output": {}, "status": "completed"},
        response(said(text("half")), status="failed", error={"code": "server_error"}),
        response(said(text("half")), status="in_progress"), response(said(text("half")), status="cancelled"),
        response(said(text(3))),
    ],
)  # fmt: skip
def test_what_is_no_response(answer):
    with pytest.raises(BadAnswerError):
        RESPONSES.read(answer)


def joined(*deltas, finish_reason="stop"):
    """The reply of a chat stream, and which events carried a part of it."""
    stream = CHAT.stream()
    carried = [stream.add({"choices": [{"delta": delta}]}) for delta in deltas]
    stream.add({"choices": [{"delta": {}, "finish_reason": finish_reason}]})
    stream.add({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    return CHAT.read(stream.answer()), carried


def test_a_stream_is_joined():
    reply, carried = joined(
        {"role": "assistant", "content": ""}, {"reasoning_content": "h"}, {"reasoning_content": "m"},
        {"content": "a"}, {"content": None}, {"content": "b"},
    )  # fmt: skip
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("ab", "hm", "stop")
    assert reply.usage == Usage(prompt_tokens=9, completion_tokens=2)
    assert carried == [False, True, True, True, False, True]


@pytest.mark.parametrize("index", [(0, 0, 1, 1), (None, None, None, None)])
def test_calls_of_a_stream_are_joined(index):
    pieces = [
        {"id": "c1", "function": {"name": "f", "arguments": ""}}, {"function": {"arguments": '{"a": 1}'}},
        {"id": "c2", "function": {"name": "g", "arguments": "{"}}, {"function": {"arguments": "}"}},
    ]  # fmt: skip
    deltas = [
        {"tool_calls": [piece if place is None else {**piece, "index": place}]}
        for place, piece in zip(index, pieces, strict=True)
    ]
    reply, carried = joined(*deltas, finish_reason="tool_calls")
    assert reply.tool_calls == (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "{}"))
    assert all(carried)


def test_log_probabilities_of_a_stream_are_joined():
    stream = CHAT.stream()
    for logprob in (-0.5, -1.5):
        stream.add({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"logprob": logprob}]}}]})
    stream.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert CHAT.read(stream.answer()).token_logprobs == (-0.5, -1.5)


@pytest.mark.parametrize("event", [{"error": {"message": "died"}}, 3, {"choices": [3]}, {"choices": 3}])
def test_bad_chunks(event):
    with pytest.raises(BadAnswerError):
        CHAT.stream().add(event)


@pytest.mark.parametrize("event", [{"type": "error", "message": "died"}, 3, {}, {"choices": []}])
def test_bad_events(event):
    with pytest.raises(BadAnswerError):
        ResponsesStream().add(event)


@pytest.mark.parametrize("wire", [CHAT, RESPONSES])
def test_a_stream_that_ends_early(wire):
    stream = wire.stream()
    if wire is CHAT:
        stream.add({"choices": [{"delta": {"content": "half"}}]})
    else:
        stream.add({"type": "response.output_text.delta", "delta": "half"})
    with pytest.raises(BadAnswerError):
        stream.answer()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "tool_calls", "function", "type", "text", "output", "delta", "usage"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON, st.lists(JSON, max_size=3))
def test_whatever_a_server_sends_is_a_reply_or_a_bad_answer(answer, chunks):
    for wire in WIRES.values():
        for content in (answer, chat(answer), response(answer), chat({"content": answer, "tool_calls": chunks})):
            try:
                reply = wire.read(content)
            except BadAnswerError:
                continue
            assert isinstance(reply.text, str)
            assert all(isinstance(value, str) for c in reply.tool_calls for value in (c.id, c.name, c.arguments))
        stream = wire.stream()
        try:
            for chunk in chunks:
                stream.add(chunk)
                stream.add({"choices": [{"delta": chunk}], "type": "response.completed", "response": chunk})
            wire.read(stream.answer())
        except BadAnswerError:
            pass


async def test_all_ways_to_ask_a_real_server_agree(serve, tiny_checkpoint):
    """`transformers serve`: both wires, whole and streamed, with an image in a tool's answer.

    It shows a tool as it is sent, and Responses say of a tool whether it is strict: prompts with tools are not alike.
    """
    messages = (
        TURNS.messages[1],
        Message(role="assistant", tool_calls=(ToolCall("1", "zoom_in", '{"bbox_2d": [1, 2, 3, 4]}'),)),
        Message(role="tool", content=(CROP, Text("image 1")), tool_call_id="1"),
    )
    plain = Request(messages=messages, sampling=Sampling(max_tokens=12))
    url = serve(tiny_checkpoint)
    seen = {}
    for wire in WIRES:
        for stream in (False, True):
            model = EndpointModel(url, str(tiny_checkpoint), load_image, wire=wire, stream=stream)
            replies = [await model.reply(request) for request in (plain, replace(plain, tools=(TOOL,)))]
            await model.aclose()
            assert all((reply.clocks.first_byte_ms is not None) == stream for reply in replies)
            # A character that was cut off is left out of streams.
            seen[wire, stream] = [(reply.usage, reply.text.strip("\ufffd ")) for reply in replies]
    assert seen["chat", False] == seen["chat", True]
    assert seen["responses", False] == seen["responses", True]
    assert seen["chat", False][0] == seen["responses", False][0]
    assert seen["chat", False][0][0].prompt_tokens > 30
