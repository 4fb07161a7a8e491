"""The endpoint client against a real server, `transformers serve`, beside the same checkpoint in process."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from zoomgap.errors import ModelError
from zoomgap.models.local import LocalModel
from zoomgap.models.openai_api import EndpointModel
from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, ToolCall

TOOL = {"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object", "properties": {}}}}
VIEW, CROP = Image("a" * 64, 96, 64), Image("b" * 64, 64, 64)


def load_image(sha: str) -> bytes:
    size = {VIEW.sha256: (64, 96, 3), CROP.sha256: (64, 64, 3)}[sha]
    stream = io.BytesIO()
    PILImage.fromarray(np.random.default_rng(len(sha)).integers(0, 256, size, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def endpoint(serve, tiny_checkpoint):
    return serve(tiny_checkpoint)


def said(reply: Reply) -> str:
    """Its text; by wire, this server shows special tokens or not, and leaves out half a character at the end or not."""
    return re.sub(r"<\|\w+\|>", "", reply.text).strip().rstrip("\ufffd")


async def test_a_served_checkpoint_answers_as_in_process(endpoint, tiny_checkpoint):
    sampling = Sampling(max_tokens=12)
    plain = Request(messages=(Message(role="user", content=(VIEW, Text("what?"))),), sampling=sampling)
    tools = Request(messages=plain.messages, tools=(TOOL,), sampling=sampling)
    turns = Request(
        messages=(
            *plain.messages,
            Message(role="assistant", tool_calls=(ToolCall("1", "zoom_in", '{"bbox_2d": [1, 2, 3, 4]}'),)),
            Message(role="tool", content=(Text("image 1"),), tool_call_id="1"),
            Message(role="user", content=(CROP, Text("image 1"))),
        ),
        tools=(TOOL,),
        sampling=sampling,
    )
    # Without tools: over this wire the server shows the model a field of theirs that chat has not (`strict`).
    after = replace(turns, tools=())
    in_output = replace(
        after, messages=(*turns.messages[:2], Message(role="tool", content=(CROP, Text("image 1")), tool_call_id="1"))
    )
    chat, streamed = (EndpointModel(endpoint, str(tiny_checkpoint), load_image, stream=s) for s in (False, True))
    responses = EndpointModel(endpoint, str(tiny_checkpoint), load_image, wire="responses")
    local = LocalModel(tiny_checkpoint, load_image)
    for model, request in (
        (chat, plain), (chat, tools), (chat, turns), (streamed, turns),
        (responses, plain), (responses, after), (responses, in_output),
    ):  # fmt: skip
        there, here = await asyncio.gather(model.reply(request), local.reply(request))
        assert there.usage.prompt_tokens == here.usage.prompt_tokens
        assert (there.clocks.first_byte_ms is not None) == (model is streamed)
        if local.dtype == "float32":
            assert said(there) == said(here)
    with pytest.raises(ModelError, match="400"):
        await EndpointModel(endpoint, "another", load_image).reply(plain)
    for model in (chat, streamed, responses, local):
        await model.aclose()
