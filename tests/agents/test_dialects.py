from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.agents.dialects import MOST_MENDED, READERS, json_object, parse, storable
from zoomgap.records import Reply, ToolCall

ARGUMENTS = {"label": "red star", "bbox_2d": [340, 200, 420, 280]}
CALL = json.dumps({"name": "zoom_in", "arguments": ARGUMENTS})


def read(text: str, *calls: ToolCall):
    return parse(Reply(text=text, tool_calls=calls), ("zoom_in", "rotate", "view_whole"))


def as_json(name, arguments) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def as_functions(name, arguments) -> str:
    written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in written.items())
    return f"<function={name}>\n{parameters}</function>"


def as_keys(name, arguments) -> str:
    written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    pairs = [f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n" for key, value in written.items()]
    return f"<tool_call>{name}\n{''.join(pairs)}</tool_call>"


def as_python(name, arguments) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


EACH = {
    "hermes": lambda name, arguments: f"<tool_call>\n{as_json(name, arguments)}\n</tool_call>",
    "qwen3-coder": lambda name, arguments: f"<tool_call>\n{as_functions(name, arguments)}\n</tool_call>",
    "functions alone": as_functions,
    "a lost opening tag": lambda name, arguments: f"{as_functions(name, arguments)}\n</tool_call>",
    "glm": as_keys,
    "mistral": lambda name, arguments: f"[TOOL_CALLS]{name}[ARGS]{json.dumps(arguments)}",
    "mistral with ids": lambda name, arguments: f"[TOOL_CALLS]{name}[CALL_ID]a1B2c3D4e[ARGS]{json.dumps(arguments)}",
    "mistral, names only": lambda name, arguments: f"[TOOL_CALLS]{name}{json.dumps(arguments)}",
    "a fence of JSON": lambda name, arguments: f"```json\n{as_json(name, arguments)}\n```",
    "a fence of Python": lambda name, arguments: f"```tool_code\nprint(default_api.{as_python(name, arguments)})\n```",
}
"""Ways in which each call stands for itself."""
TOGETHER = {
    "hermes, a list": lambda calls: f"<tool_call>[{', '.join(as_json(*call) for call in calls)}]</tool_call>",
    "mistral, a list": lambda calls: f"[TOOL_CALLS] [{', '.join(as_json(*call) for call in calls)}]",
    "llama 4": lambda calls: f"[{', '.join(as_python(*call) for call in calls)}]",
    "llama 4, marked": lambda calls: f"<|python_start|>[{', '.join(as_python(*c) for c in calls)}]<|python_end|>",
    "a fence of JSON": lambda calls: f"```tool_call\n[{', '.join(as_json(*call) for call in calls)}]\n```",
    "a fence of Python": lambda calls: "```tool_code\n" + "\n".join(as_python(*call) for call in calls) + "\n```",
}
"""Ways in which all calls of a reply stand together."""
ALONE = {
    "JSON": lambda name, arguments: as_json(name, arguments),
    "JSON, gemma": lambda name, arguments: json.dumps({"name": name, "parameters": arguments}),
    "JSON, openai": lambda name, arguments: json.dumps([{"function": {"name": name, "arguments": arguments}}]),
    "Python": as_python,
}
"""Ways that are calls only where nothing else is written."""

number = st.integers(-9999, 9999) | st.floats(-9999, 9999)
# What ends a call cannot stand inside of one where it is not escaped.
label = st.text(st.characters(exclude_characters="<`", exclude_categories=["Cs"]), max_size=12)
arguments = st.fixed_dictionaries(
    {"bbox_2d": st.lists(number, min_size=4, max_size=4)},
    optional={
        "image": st.none() | st.integers(0, 9),
        "label": label | st.sampled_from(["5", "null", "[1, 2]", "it's )]"]),
    },
)
a_call = st.one_of(
    st.tuples(st.just("zoom_in"), arguments),
    st.tuples(st.just("rotate"), st.fixed_dictionaries({"degrees": st.sampled_from([90, 180, 270])})),
    st.just(("view_whole", {})),
)
around = st.sampled_from(["", "It's small. ", "So (I think) [sic]:\n", "The answer may be B, let me see.\n\n"])


def calls_of(text: str) -> list[tuple[str, dict]]:
    return [(call.name, json.loads(call.arguments)) for call in read(text).calls]


@pytest.mark.parametrize("way", EACH)
@settings(max_examples=20, deadline=None)
@given(st.lists(a_call, min_size=1, max_size=3), around, around, st.sampled_from(["", "\n", " and\n"]))
def test_a_call_reads_back_however_it_is_written(way, calls, before, after, between):
    parsed = read(before + between.join(EACH[way](*call) for call in calls) + "\n" + after)
    assert [(call.name, json.loads(call.arguments)) for call in parsed.calls] == calls
    assert "".join(parsed.text.split()) == "".join((before + between * (len(calls) - 1) + after).split())


@pytest.mark.parametrize("way", TOGETHER)
@settings(max_examples=20, deadline=None)
@given(st.lists(a_call, min_size=1, max_size=3), around, around)
def test_calls_that_stand_together_read_back(way, calls, before, after):
    parsed = read(before + TOGETHER[way](calls) + "\n" + after)
    assert [(call.name, json.loads(call.arguments)) for call in parsed.calls] == calls
    assert "".join(parsed.text.split()) == "".join((before + after).split())


@pytest.mark.parametrize("way", ALONE)
@settings(max_examples=20, deadline=None)
@given(a_call)
def test_a_call_that_is_the_whole_reply_reads_back(way, call):
    assert calls_of(f"\n{ALONE[way](*call)} ") == [call]


@pytest.mark.parametrize("way", EACH)
@settings(max_examples=20, deadline=None)
@given(a_call, a_call, st.data())
def test_a_reply_that_is_cut_off_keeps_the_calls_before_the_cut(way, first, second, data):
    last = EACH[way](*second)
    cut = data.draw(st.integers(0, len(last)))
    found = read(f"{EACH[way](*first)}\n{last[:cut]}").calls
    assert (found[0].name, json.loads(found[0].arguments)) == first
    assert len(found) <= 2


@pytest.mark.parametrize("way", TOGETHER)
@settings(max_examples=20, deadline=None)
@given(a_call, st.data())
def test_a_list_of_calls_can_be_cut_off_anywhere(way, call, data):
    whole = TOGETHER[way]([call, call])
    assert [(found.name, json.loads(found.arguments)) for found in read(whole).calls] == [call, call]
    cut = read(whole[: data.draw(st.integers(0, len(whole)))])
    assert len(cut.calls) <= 2
    for found in cut.calls:
        found.arguments.encode()  # can be stored


def test_a_call_that_is_cut_off_is_mended():
    for text in (
        '[TOOL_CALLS]zoom_in[ARGS]{"bbox_2d": [1, 2, 3, 4], "label": "red st',
        '[TOOL_CALLS][{"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 3, 4], "label": "red st',
        '[zoom_in(bbox_2d=[1, 2, 3, 4], label="red st',
        "<tool_call>\n<function=zoom_in>\n<parameter=bbox_2d>\n[1, 2, 3, 4]\n</parameter>\n<parameter=label>\nred st",
        "<tool_call>zoom_in\n<arg_key>bbox_2d</arg_key><arg_value>[1, 2, 3, 4]</arg_value><arg_key>label</arg_key>"
        "<arg_value>red st",
    ):
        assert calls_of(text) == [("zoom_in", {"bbox_2d": [1, 2, 3, 4], "label": "red st"})], text


@pytest.mark.parametrize(
    "text",
    [
        "[TOOL_CALLS] zoom_in, I think",
        "[TOOL_CALLS]zoom_in[ARGS]",
        "<function=zoom_in>",
        "<tool_call>zoom_in\n<arg_key>bbox",
        "[zoom_in(bbox_2d=where(it, stands))]",
        "[zoom_in(bbox_2d=__import__('os').system('true'))]",
        "[zoom_in(bbox_2d={1, 2})]",
    ],
)
def test_markup_that_cannot_be_read_is_a_call_without_a_box(text):
    (call,) = read(text).calls
    assert call.name == "zoom_in"
    assert "bbox_2d" not in (json_object(call.arguments) or {})


def test_a_long_block_is_not_mended():
    """The time that mending takes grows with the square of open brackets."""
    block = '{"name": "zoom_in", ' + "[{" * MOST_MENDED
    assert read(f"<tool_call>{block}</tool_call>").calls == (ToolCall("", "zoom_in", block),)
    label = "x" * 2 * MOST_MENDED
    assert calls_of(EACH["hermes"]("zoom_in", {"label": label})) == [("zoom_in", {"label": label})]


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
        '{"answer": "B", "used": ["zoom_in"]}',
        '```json\n{"answer": "B", "tool": "zoom_in"}\n```',
        '[{"bbox_2d": [1, 2, 3, 4], "label": "zoom_in"}]',
        "```python\nprint(2 + 3)\n```",
        "[B]",
        "(zoom_in)",
        "```python\nlen('zoom_in')\n```",
        "zoom_in shows B (I think)",
        "[A, B]",
    ],
)
def test_no_call(text):
    assert read(text) == ((), text)


@settings(max_examples=50, deadline=None)
@given(
    st.text()
    | st.recursive(
        st.none() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(json.dumps)
)
def test_an_answer_without_markup_is_no_call(text):
    assert read(text) == ((), text.strip())


def test_lone_surrogates_do_not_reach_the_store():
    parsed = read('<tool_call>{"name": "zoom_\\ud800in", "arguments": {"label": "\\ud800"}}</tool_call>')
    for text in (parsed.calls[0].name, parsed.calls[0].arguments, storable("a\ud800b")):
        text.encode()
    native = read("", ToolCall("", "zoom\ud800", "\udfff")).calls[0]
    assert (native.name, native.arguments) == ("zoom?", "?")


PIECES = (
    "<tool_call>", "</tool_call>", "<function=", "<function=zoom_in>", "</function>", "<parameter=bbox_2d>",
    "</parameter>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "<|python_start|>", "<|python_end|>", "```json\n", "```", "[zoom_in(", "zoom_in(", "zoom_in", "rotate", '"name": ',
    '"arguments": ', "bbox_2d", "=", "[", "]", "{", "}", "(", ")", '"', "'", "\\", ",", ":", "1", "-1e999", " ", "\n",
    "\0", "\ud800", "print(", "*", "B",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_can_be_read(text):
    parsed = read(text)
    assert len(parsed.text) <= len(text)
    assert "<tool_call>" not in parsed.text
    for call in parsed.calls:
        f"{call.name} {call.arguments}".encode()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", ["<tool_call>", "<function=", "<function=a><parameter=b>", "[TOOL_CALLS]", "[zoom_in(",
    "<tool_call><arg_key>a</arg_key><arg_value>", '[TOOL_CALLS]a{"', "```\nzoom_in(\n", "zoom_in(-", "[zoom_in('",
    '{"name": "zoom_in", '])  # fmt: skip
def test_endless_markup_is_read_in_time(reader, text):
    """A reader that goes back to the beginning each time would not come back from this."""
    assert sum(block.end - block.start for block in reader(text * 5000, ("zoom_in",))) <= len(text) * 5000
