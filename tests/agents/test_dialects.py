from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap.agents.dialects import json_object, parse, storable
from zoomgap.records import Reply, ToolCall

ARGUMENTS = {"label": "red star", "bbox_2d": [340, 200, 420, 280]}
CALL = json.dumps({"name": "zoom_in", "arguments": ARGUMENTS})


def read(text: str, *calls: ToolCall):
    return parse(Reply(text=text, tool_calls=calls), ("zoom_in", "rotate"))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", ""),
        (f"I look closer.\n<tool_call>{CALL}</tool_call>", "I look closer."),
        (f"<tool_call>\n{CALL}", ""),
        (f"Closer:\n```json\n{CALL}\n```\nThen I answer.", "Closer:\n\nThen I answer."),
        (f"```\n{CALL}\n```", ""),
        (f"```json\n{CALL}", ""),
        (f"  {CALL}\n", ""),
        (f"<tool_call>{json.dumps(ARGUMENTS)}</tool_call>", ""),
        (f"<tool_call>{json.dumps({'name': 'zoom_in', 'arguments': json.dumps(ARGUMENTS)})}</tool_call>", ""),
    ],
)
def test_a_call_in_the_text(text, spoken):
    parsed = read(text)
    (call,) = parsed.calls
    assert call.name == "zoom_in"
    assert json.loads(call.arguments) == ARGUMENTS
    assert list(json.loads(call.arguments)) == list(ARGUMENTS)
    assert parsed.text == spoken


def test_several_calls_in_one_reply():
    other = json.dumps({"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 3, 4]}})
    for text in (
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{other}</tool_call>",
        f"<tool_call>{CALL}<tool_call>{other}",
        f"```json\n{CALL}\n```\n```json\n{other}\n```",
    ):
        first, second = read(text).calls
        assert json.loads(first.arguments) == ARGUMENTS
        assert json.loads(second.arguments) == {"bbox_2d": [1, 2, 3, 4]}


def test_a_list_of_calls_in_one_block():
    other = {"name": "rotate", "arguments": {"degrees": 90}}
    first, second = read(f"<tool_call>[{CALL}, {json.dumps(other)}]</tool_call>").calls
    assert json.loads(first.arguments) == ARGUMENTS
    assert (second.name, json.loads(second.arguments)) == ("rotate", {"degrees": 90})


@pytest.mark.parametrize(
    "block",
    [
        CALL.replace('"', "'"),
        CALL[:-1],
        CALL[:-2],
        CALL.replace("]", ",]"),
        CALL.replace('"arguments"', "arguments"),
        CALL + "\nI hope that helps.",
        "{" + CALL + "}",
    ],
)
def test_a_block_that_is_nearly_json_is_mended(block):
    (call,) = read(f"<tool_call>{block}</tool_call>").calls
    assert call.name == "zoom_in"
    assert json.loads(call.arguments) == ARGUMENTS


def test_native_calls_win_over_the_text_and_keep_their_ids():
    native = ToolCall("id-7", "zoom_in", '{"bbox_2d": [1, 2, 3, 4]}')
    parsed = read(f"hm <tool_call>{CALL}</tool_call>", native)
    assert parsed.calls == (native,)
    assert parsed.text == "hm"


@pytest.mark.parametrize("block", ["not json", '{"name": "zoom_in", "argu', "[1, 2]", "", "3", "[" * 100_000])
def test_a_broken_block_is_a_call_with_broken_arguments(block):
    (call,) = read(f"<tool_call>{block}</tool_call>").calls
    assert call == ToolCall("", "zoom_in", block)
    assert json_object(call.arguments) is None


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "The answer is B.",
        '{"answer": "B"}',
        '```json\n{"bbox_2d": [1, 2, 3, 4], "label": "star"}\n```',
        "I would use zoom_in, but B.",
        '<tool_cal>{"name": "zoom_in"}',
    ],
)
def test_no_call(text):
    assert read(text) == ((), text)


def test_lone_surrogates_do_not_reach_the_store():
    parsed = read('<tool_call>{"name": "zoom_\\ud800in", "arguments": {"label": "\\ud800"}}</tool_call>')
    for text in (parsed.calls[0].name, parsed.calls[0].arguments, storable("a\ud800b")):
        text.encode()
    native = read("", ToolCall("", "zoom\ud800", "\udfff")).calls[0]
    assert (native.name, native.arguments) == ("zoom?", "?")


@given(st.text(alphabet=st.sampled_from('<tool_call>/{}[]"zoom_in:, `\njson1')))
def test_any_text_can_be_read(text):
    parsed = read(text)
    assert len(parsed.text) <= len(text)
    assert "<tool_call>" not in parsed.text
