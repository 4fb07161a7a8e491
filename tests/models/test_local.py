from __future__ import annotations

import asyncio
import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from transformers import AutoModelForImageTextToText

from zoomgap.errors import ModelError, StoreError, TooLongError, UsageError
from zoomgap.geometry import Size
from zoomgap.models import local
from zoomgap.models.local import LocalModel, load_checkpoint, weights_sha256
from zoomgap.models.reading import images_of
from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, ToolCall

TOOL = {"type": "function", "function": {"name": "zoom_in", "parameters": {"type": "object", "properties": {}}}}
SIZES = {"a": (64, 96), "b": (128, 128), "c": (64, 96)}


def load_image(name: str) -> bytes:
    if name == "broken":
        return b"no image"
    if name not in SIZES:
        raise StoreError(f"no image '{name}'")
    width, height = SIZES[name]
    pixels = np.random.default_rng(ord(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PILImage.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def ask(text: str, *images: str, **fields) -> Request:
    parts = tuple(Image(name, *SIZES.get(name, (32, 32))) for name in images)
    sampling = fields.pop("sampling", Sampling(max_tokens=8))
    return Request(messages=(Message(role="user", content=(*parts, Text(text))),), sampling=sampling, **fields)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    """In float32, whatever the processor multiplies best: in bfloat16 a batch rounds otherwise than one request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "cpu_dtype", lambda: torch.float32)
        model = LocalModel(tiny_checkpoint, load_image, batch_size=8)
        yield model
        asyncio.run(model.aclose())


def replies(model: LocalModel, requests: list[Request]) -> list[Reply]:
    outcomes = model.answer(requests)
    assert all(isinstance(outcome, Reply) for outcome in outcomes), outcomes
    return outcomes


def processed(model: LocalModel, request: Request) -> dict[str, torch.Tensor]:
    """A request as the processor reads it, without any of the model's own ways."""
    images = [PILImage.open(io.BytesIO(load_image(image.sha256))) for image in images_of(request)]
    return model.processor(text=[model._prepare(request).prompt.text], images=images or None, return_tensors="pt")


def reference(model: LocalModel, path: Path, request: Request) -> str:
    """What transformers' own generate() writes, with the unpatched model and one request a batch."""
    plain = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32)
    inputs = processed(model, request)
    out = plain.generate(**inputs, do_sample=False, max_new_tokens=request.sampling.max_tokens)
    return model.processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


MIXED = [
    ask("short"),
    ask("one image and a longer question than the others", "a"),
    ask("two", "a", "b"),
    ask("two of one kind", "c", "a"),
    ask("short", sampling=Sampling(max_tokens=3)),
]


def test_batch_writes_what_generate_writes(model, tiny_checkpoint):
    written = [reply.text for reply in replies(model, MIXED)]
    assert written == [reference(model, tiny_checkpoint, request) for request in MIXED]
    assert len(set(written)) == len(MIXED)


def test_every_row_ends_on_its_own(model):
    """Rows leave the batch at different lengths, and duplicates of a prompt with them."""
    alone = replies(model, [ask("same", "a", sampling=Sampling(max_tokens=12))])[0]
    counts = [1, 12, 2, 7, 3]
    together = replies(model, [ask("same", "a", sampling=Sampling(max_tokens=count)) for count in counts])
    for reply, count in zip(together, counts, strict=True):
        assert reply.usage.completion_tokens == count
        assert reply.finish_reason == "length"
        assert alone.text.startswith(reply.text.removesuffix("\ufffd"))


def test_sampled_reply_does_not_depend_on_the_batch(model):
    sampled = [
        ask("what", "a", sampling=Sampling(temperature=1.5, top_p=0.9, max_tokens=10, seed=seed)) for seed in range(6)
    ]
    together = [reply.text for reply in replies(model, [*sampled, *MIXED])][:6]
    alone = [replies(model, [request])[0].text for request in reversed(sampled)][::-1]
    assert together == alone
    assert len(set(alone)) > 3
    other = ask("why", "a", sampling=sampled[0].sampling)
    assert replies(model, [other])[0].text != alone[0]


def test_sampling_follows_the_distribution(model):
    """First tokens drawn at temperature 1 within top_p 0.5: shares as the logits say, none from outside."""
    inputs, _ = model._encode([model._prepare(ask("q"))])
    with torch.no_grad():
        probabilities = model.model(**inputs).logits[0, -1].softmax(-1)
    ordered, order = probabilities.sort(descending=True)
    nucleus = order[: int((ordered.cumsum(-1) < 0.5).sum()) + 1].tolist()
    n = 600
    requests = [ask("q", sampling=Sampling(temperature=1.0, top_p=0.5, max_tokens=1, seed=seed)) for seed in range(n)]
    drawn = []
    for request in requests:
        row = model._prepare(request)
        row.restart()
        drawn.append(int(model._choose(probabilities.log()[None], [row])[0]))
    assert set(drawn) <= set(nucleus)
    share = probabilities[nucleus[0]] / probabilities[nucleus].sum()
    assert drawn.count(nucleus[0]) / n == pytest.approx(float(share), abs=0.09)


def test_usage_sizes_and_clocks(model):
    first, second = replies(model, [ask("x", "a", "b"), ask("y")])
    assert first.image_sizes == (Size(64, 96), Size(128, 128))
    assert first.usage.image_tokens == (64 * 96 + 128 * 128) // 32**2
    assert first.usage.prompt_tokens > first.usage.image_tokens
    assert second.image_sizes == ()
    assert second.usage.image_tokens == 0
    clocks = first.clocks
    assert clocks.batch_size == 2
    assert 0 < clocks.preprocess_ms < clocks.first_byte_ms < clocks.model_ms
    assert 0 < clocks.generation_ms < clocks.model_ms


def test_logprobs_are_of_the_unscaled_distribution(model):
    greedy = ask("z", "b", logprobs=0)
    reply = replies(model, [greedy, ask("other", logprobs=None)])[0]
    assert len(reply.token_logprobs) == reply.usage.completion_tokens
    row = model._prepare(greedy)
    model._generate(*model._encode([row]), [row])
    inputs = processed(model, greedy)
    full = torch.cat([inputs["input_ids"], torch.tensor([row.ids])], dim=1)
    mask = torch.ones_like(full)
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros(1, len(row.ids), dtype=torch.long)], dim=1)
    with torch.no_grad():
        logits = model.model(**{**inputs, "input_ids": full, "attention_mask": mask, "mm_token_type_ids": types}).logits
    start = inputs["input_ids"].shape[1]
    expected = logits[0, start - 1 : -1].log_softmax(-1).gather(-1, full[0, start:, None])[:, 0]
    assert reply.token_logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    hot = ask("z", "b", logprobs=0, sampling=Sampling(temperature=5.0, max_tokens=1, seed=3))
    assert replies(model, [hot])[0].token_logprobs[0] < reply.token_logprobs[0]
    assert replies(model, [ask("z", "b")])[0].token_logprobs is None


def test_stop_strings_cut_the_text(model):
    whole = replies(model, [ask("stop here")])[0].text
    mark = whole[2]
    cut = replies(model, [ask("stop here", sampling=Sampling(max_tokens=8, stop=(mark,)))])[0]
    assert cut.text == whole[: whole.index(mark)]
    assert cut.finish_reason == "stop"
    assert cut.usage.completion_tokens < 8


def test_end_of_turn_ends_the_row_and_is_not_shown(model, monkeypatch):
    whole = replies(model, [ask("end", logprobs=0)])[0]
    row = model._prepare(ask("end"))
    model._generate(*model._encode([row]), [row])
    monkeypatch.setattr(model, "_ends", {row.ids[3]})
    ended = replies(model, [ask("end", logprobs=0)])[0]
    place = row.ids.index(row.ids[3])
    assert ended.finish_reason == "stop"
    assert ended.usage.completion_tokens == place + 1
    assert ended.token_logprobs == pytest.approx(whole.token_logprobs[:place])


def test_tool_call_markup_stays_and_special_tokens_go(model):
    tokenizer = model.processor.tokenizer
    row = model._prepare(ask("x"))
    row.ids = tokenizer.encode('<tool_call>\n{"name": "zoom_in"}\n</tool_call><|im_end|>')
    assert model._decode(row) == '<tool_call>\n{"name": "zoom_in"}\n</tool_call>'


def test_forbidden_calls_are_not_written(model):
    """A model that wants nothing but to call still answers when its request says so, beside one that may call."""
    opens = model.processor.tokenizer.convert_tokens_to_ids("<tool_call>")

    def eager(module, inputs, logits):
        return logits.index_add(-1, torch.tensor([opens]), torch.full((*logits.shape[:-1], 1), 1e4, dtype=logits.dtype))

    hook = model.model.lm_head.register_forward_hook(eager)
    try:
        free, bound = replies(model, [ask("?", "a", tools=(TOOL,), tool_choice=way) for way in ("auto", "none")])
    finally:
        hook.remove()
    assert free.text.startswith("<tool_call>")
    assert "<tool_call>" not in bound.text
    assert bound.usage.completion_tokens > 0


def test_conversation_is_rendered_with_tools_and_calls(model):
    request = Request(
        messages=(
            Message(role="user", content=(Image("a", 64, 96), Text("q"))),
            Message(role="assistant", tool_calls=(ToolCall("1", "zoom_in", '{"bbox_2d":[1,2,3,4]}'),)),
            Message(role="tool", content=(Text("image 1"),), tool_call_id="1"),
            Message(role="assistant", tool_calls=(ToolCall("2", "zoom_in", "{broken"),)),
        ),
        tools=(TOOL,),
    )
    prompt = model._prepare(request).prompt.text
    assert '"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 3, 4]}' in prompt
    assert '"arguments": {broken}' in prompt
    assert prompt.startswith('<|im_start|>system\n{"type": "function"')
    assert "tool\nimage 1<|im_end|>" in prompt


async def test_concurrent_requests_share_batches(model):
    outcomes = await asyncio.gather(*(model.reply(request) for request in MIXED))
    assert {reply.clocks.batch_size for reply in outcomes} == {len(MIXED)}
    assert [reply.text for reply in outcomes] == [reply.text for reply in replies(model, MIXED)]
    many = await asyncio.gather(*(model.reply(ask(f"number {n}")) for n in range(20)))
    assert max(reply.clocks.batch_size for reply in many) == model.batch_size


def test_one_model_serves_one_event_loop_after_another(model):
    texts = [asyncio.run(model.reply(MIXED[0])).text for _ in range(2)]
    assert texts[0] == texts[1]


async def test_cancelled_request_holds_nobody_up(model):
    first, second = (asyncio.create_task(model.reply(request)) for request in MIXED[:2])
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).text
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_bad_requests_fail_alone(model):
    bad = [
        ask("x", "broken"),
        ask("x", "missing"),
        ask("see <|image_pad|>", "a"),
        ask("long " * 400),
    ]
    good, *failed = await asyncio.gather(
        *(model.reply(request) for request in [MIXED[1], *bad]), return_exceptions=True
    )
    assert good.text == replies(model, [MIXED[1]])[0].text
    assert [type(error) for error in failed] == [ModelError, StoreError, ModelError, TooLongError]
    for error, word in zip(failed, ("cannot take", "missing", "image marks", "send fewer"), strict=True):
        assert word in str(error)
        assert "\n" not in str(error)


def test_out_of_memory_halves_the_batch(model, monkeypatch):
    expected = [reply.text for reply in replies(model, MIXED)]
    generate = LocalModel._generate

    def poor(self, inputs, which, rows):
        if len(rows) > 2:
            raise torch.OutOfMemoryError("no memory")
        generate(self, inputs, which, rows)

    monkeypatch.setattr(LocalModel, "_generate", poor)
    assert [reply.text for reply in replies(model, MIXED)] == expected


async def test_closed_model_answers_with_an_error(tiny_checkpoint):
    model = LocalModel(tiny_checkpoint, load_image)
    await model.aclose()
    await model.aclose()
    with pytest.raises(ModelError, match="stopped"):
        await model.reply(MIXED[0])


def test_weights_name_what_can_change_an_answer(tiny_checkpoint, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    sha = weights_sha256(tiny_checkpoint)
    assert weights_sha256(copy) == sha
    (copy / "README.md").write_text("notes")
    assert weights_sha256(copy) == sha
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert weights_sha256(copy) != sha


@pytest.mark.parametrize("broken", ["missing", "empty", "text"])
def test_no_checkpoint_is_a_usage_error(broken, tiny_checkpoint, tmp_path):
    folder = tmp_path / "folder"
    if broken != "missing":
        folder.mkdir()
    if broken == "text":
        shutil.copy(tiny_checkpoint / "model.safetensors", folder)
        (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="checkpoint") as raised:
        load_checkpoint(folder)
    assert "\n" not in str(raised.value)


def test_name_and_dtype(model, tiny_checkpoint):
    assert model.name == f"hf:{tiny_checkpoint}"
    assert model.dtype in ("float32", "bfloat16")
    assert dataclasses.is_dataclass(replies(model, [MIXED[0]])[0])
