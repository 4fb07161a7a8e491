from __future__ import annotations

import pytest

from zoomgap.errors import ModelError
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Message, Reply, Request, Text


def ask(text: str) -> Request:
    return Request(messages=(Message(role="user", content=(Text(text),)),))


async def test_script_is_read_in_turn_and_runs_out():
    model = ScriptedModel(["one", ValueError("bad"), Reply(text="three", reasoning="r")])
    assert (await model.reply(ask("a"))).text == "one"
    with pytest.raises(ValueError, match="bad"):
        await model.reply(ask("b"))
    assert (await model.reply(ask("c"))).reasoning == "r"
    with pytest.raises(ModelError, match="3 replies"):
        await model.reply(ask("d"))
    assert model.history == [ask("a"), ask("b"), ask("c"), ask("d")]
    await model.aclose()


async def test_function_answers_by_request():
    model = ScriptedModel(lambda request: request.messages[0].content[0].text.upper())
    assert (await model.reply(ask("a"))).text == "A"
