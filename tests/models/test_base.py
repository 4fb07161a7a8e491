from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from zoomgap.models.base import from_body, request_body, split_reasoning
from zoomgap.records import Image, Message, Request, Sampling, Text, ToolCall, canonical_json

text = st.text(max_size=12)
sha = st.text("0123456789abcdef", min_size=64, max_size=64)
side = st.integers(1, 4096)
parts = st.lists(st.one_of(st.builds(Text, text), st.builds(Image, sha, side, side)), max_size=3).map(tuple)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=parts,
    tool_calls=st.lists(st.builds(ToolCall, text, text, text), max_size=2).map(tuple),
    tool_call_id=st.none() | text,
)
sampling = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    max_tokens=st.integers(1, 9999),
    seed=st.integers(0, 2**31),
    stop=st.lists(text, max_size=2).map(tuple),
)
tool = {"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object"}}}
requests = st.builds(
    Request,
    messages=st.lists(messages, max_size=4).map(tuple),
    tools=st.just((tool,)),
    tool_choice=st.sampled_from(["auto", "none"]),
    sampling=sampling,
    logprobs=st.none() | st.integers(0, 20),
)


@given(requests)
def test_a_stored_body_gives_the_request_back(request):
    body = json.loads(canonical_json(request_body(request, "m")))
    assert from_body(body) == request
    assert canonical_json(request_body(from_body(body), "m")) == canonical_json(body)


def test_body_is_what_servers_take():
    request = Request(
        messages=(
            Message(role="user", content=(Image("ab", 64, 32), Text("q"))),
            Message(role="assistant", content=(Text("t"),), tool_calls=(ToolCall("1", "zoom_in", "{}"),)),
            Message(role="tool", content=(Text("image 1"),), tool_call_id="1"),
        )
    )
    body = request_body(request, "m")
    assert body == {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "sha256:ab", "width": 64, "height": 32}},
                    {"type": "text", "text": "q"},
                ],
            },
            {
                "role": "assistant",
                "content": "t",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "zoom_in", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "image 1", "tool_call_id": "1"},
        ],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 256,
        "seed": 0,
    }


def test_tool_choice_stands_only_beside_tools():
    assert "tool_choice" not in request_body(Request(messages=(), tool_choice="none"), "m")
    assert request_body(Request(messages=(), tools=(tool,), tool_choice="none"), "m")["tool_choice"] == "none"


def test_reasoning_is_split_off():
    assert split_reasoning("<think>\nhm </think>\n\nB") == ("hm", "B")
    assert split_reasoning("hm</think>B") == ("hm", "B")
    assert split_reasoning(" plain <think>") == ("", " plain <think>")
