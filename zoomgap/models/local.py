"""A transformers checkpoint in process: concurrent requests are answered in batches, in one worker thread."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils.logging import disable_progress_bar

from zoomgap.errors import ModelError, TooLongError, UsageError, ZoomgapError
from zoomgap.models.base import LoadImage, split_reasoning
from zoomgap.models.reading import Prompt, Reader, images_of
from zoomgap.models.speedups import apply_speedups, cpu_dtype
from zoomgap.records import Clocks, Reply, Request, Usage, digest

LINGER_S = 0.01
"""How long a batch waits for as many requests as the last one had: agents come back from their crops one by one."""

SETTINGS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
    "processor_config.json", "added_tokens.json", "tokenizer.model", "vocab.txt", "tekken.json",
    "model.safetensors.index.json", "adapter_config.json",
)  # fmt: skip
"""Files beside the weights that can change an answer, in the order in which they are hashed."""

CACHE_BYTES = 2**30
"""For images kept as the vision tower made them: 1,000 tokens of an 8B model in bf16 are 8 MB, with deepstack 32."""


def load_checkpoint(path: Path) -> tuple[Any, Any]:
    """Model and processor of a checkpoint folder: on the accelerator if there is one, eval mode, speed-ups applied.

    Nothing is downloaded. Raises UsageError when the folder is missing or holds no vision-language checkpoint.
    """
    if not any(path.glob("*.safetensors")):
        raise UsageError(f"no checkpoint at '{path}': name a folder with config.json and *.safetensors files")
    # Its bar for the weights would be mixed into ours.
    disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else cpu_dtype()
    try:
        processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, local_files_only=True)
        processor.tokenizer.padding_side = "left"
    except Exception as error:
        raise UsageError(f"'{path}' is no vision-language checkpoint that loads: {_line(error)}") from error
    apply_speedups(model)
    torch.nn.Module.to(model, device)
    return model.eval(), processor


def weights_sha256(path: Path) -> str:
    """sha256 (hex) over all files of a checkpoint that can change an answer: weights in name order, then settings."""
    total = hashlib.sha256()
    for file in [*sorted(path.glob("*.safetensors")), *(path / name for name in SETTINGS)]:
        if file.is_file():
            with file.open("rb") as stream:
                total.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


@dataclass(eq=False, slots=True)
class _Row:
    """One request while it is being answered. key: names its prompt and images; times are of time.perf_counter."""

    request: Request
    key: str
    prompt: Prompt
    generator: torch.Generator | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str | None = None
    first_at: float = 0.0
    last_at: float = 0.0

    def restart(self) -> None:
        """Forget what was generated; a sampled row draws the same numbers again."""
        self.ids, self.logprobs, self.finish, self.first_at = [], [], None, 0.0
        if self.request.sampling.temperature > 0:
            # Seeded by the prompt too, so that two questions with one seed do not draw the same numbers.
            self.generator = torch.Generator().manual_seed(int(digest([self.key, self.request.sampling.seed])[:15], 16))


class LocalModel:
    """A vision-language checkpoint of the transformers library.

    batch_size: most requests answered at once. `weights`: sha256 of the checkpoint; `dtype`: number format in use.
    Greedy and sampled requests share batches, and a sampled reply depends on its own prompt and seed, not on who
    shares the batch. Images within the processor's limits are not resized. `<tool_call>` markup stays in the text.
    completion_tokens count the end-of-turn token, token_logprobs leave it out, as over a wire.
    `load_image` is called in the worker thread. model_ms runs from the start of the batch to its end.
    cache_bytes: what images may take that are kept as the vision tower made them; 0 for families that vision_cache does
    not know. A kept image is not decoded, processed or encoded again, and the clocks show that: `forget` before a
    timing that is to be that of an image seen for the first time. image_token: id of what stands for a piece of an
    image in a prompt, -1 where nothing does.
    """

    def __init__(
        self,
        path: Path,
        load_image: LoadImage,
        *,
        batch_size: int = 32,
        name: str | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.name = name or f"hf:{path}"
        self.model, self.processor = load_checkpoint(path)
        self.weights = weights_sha256(path)
        self.dtype = str(self.model.dtype).removeprefix("torch.")
        self.batch_size = batch_size
        self._reader = Reader(self.model, self.processor, load_image, cache_bytes)
        self.cache_bytes = 0 if self._reader.cache is None else cache_bytes
        self.image_token = self._reader.image_token
        self._queue: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._last_batch = 1
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="zoomgap-model")
        tokenizer, ends = self.processor.tokenizer, self.model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        marks = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>"])
        added = tokenizer.added_tokens_decoder.items()
        self._hidden = {*tokenizer.all_special_ids, *(id_ for id_, token in added if token.special)} - set(marks)
        # None, or the unknown token's id, where the vocabulary has no such token: then nothing opens a call.
        self._call_opens = marks[0] if marks[0] not in (None, tokenizer.unk_token_id) else None
        # Renamed in transformers 5.24.
        takes = inspect.signature(type(self.model).forward).parameters
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        self._context = self.model.config.get_text_config().max_position_embeddings

    async def reply(self, request: Request) -> Reply:
        """The checkpoint's answer. Raises ModelError when the request does not fit the model."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._answer_queue())
        return await future

    async def aclose(self) -> None:
        self._worker.shutdown(cancel_futures=True)

    def forget(self) -> None:
        """Let go of kept images: the next one is read as if for the first time. Call it while no request waits."""
        if self._reader.cache is not None:
            self._reader.cache.clear()

    def answer_ids(self, reply: Reply) -> tuple[list[int], int]:
        """The tokens of a reply of this model without the end of its turn, and how many of them are its reasoning."""
        ids = [token for token in reply.token_ids or () if token not in self._ends]
        mark = self.processor.tokenizer.convert_tokens_to_ids("</think>")
        return ids, len(ids) - ids[::-1].index(mark) if mark in ids else 0

    @torch.inference_mode()
    def follow(self, request: Request, ids: Sequence[int]) -> Prompt:
        """One pass over a request and tokens after it, for those who listen to the model's layers; gives all it read.

        Call it while no request waits. Raises ModelError when the request does not fit the model.
        """
        prompt = self._prepare(request).prompt.followed_by(ids)
        inputs = {name: value.to(self.model.device) for name, value in self._reader.batch([prompt]).items()}
        positions, _ = self._positions(inputs)
        pictures = self._pictures([prompt])
        self.model(**inputs, **pictures, position_ids=positions, use_cache=False, logits_to_keep=1)
        return prompt

    async def _answer_queue(self) -> None:
        """Answer batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._queue:
            deadline = loop.time() + LINGER_S
            while len(self._queue) < self._last_batch and loop.time() < deadline:
                await asyncio.sleep(0.001)
            batch = self._take()
            self._last_batch = len(batch)
            outcomes: Sequence[Reply | ZoomgapError]
            try:
                outcomes = await loop.run_in_executor(self._worker, self.answer, [request for request, _ in batch])
            except Exception as error:
                outcomes = [ModelError(f"{self.name} stopped: {_line(error)}") for _ in batch]
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Reply):
                    future.set_result(outcome)
                else:
                    future.set_exception(outcome)

    def _take(self) -> list[tuple[Request, asyncio.Future[Reply]]]:
        """The oldest request and, of those that wait, the ones most like it in length: little is lost to padding."""
        waiting = [entry for entry in self._queue if not entry[1].done()]
        if waiting:
            oldest = len(images_of(waiting[0][0]))
            waiting.sort(key=lambda entry: abs(len(images_of(entry[0])) - oldest))
        self._queue = waiting[self.batch_size :]
        return waiting[: self.batch_size]

    def answer(self, requests: Sequence[Request]) -> list[Reply | ZoomgapError]:
        """Answer one batch, blocking. What cannot be answered has its error in its place; the others are answered."""
        started = time.perf_counter()
        outcomes: dict[int, Reply | ZoomgapError] = {}
        groups: dict[frozenset[str], dict[int, _Row]] = {}
        known: dict[str, Prompt] = {}
        for index, request in enumerate(requests):
            try:
                row = self._prepare(request, known)
                groups.setdefault(row.prompt.group, {})[index] = row
            except ZoomgapError as error:
                outcomes[index] = error
            except Exception as error:
                outcomes[index] = ModelError(f"{self.name} cannot take the request: {_line(error)}")
        for rows in groups.values():
            self._answer_rows(rows, outcomes, started)
        return [outcomes[index] for index in range(len(requests))]

    def _answer_rows(self, rows: dict[int, _Row], outcomes: dict[int, Reply | ZoomgapError], started: float) -> None:
        """Put a reply or an error for each of the rows into `outcomes`."""
        batch = list(rows.values())
        try:
            inputs, which = self._encode(batch)
            prepared = time.perf_counter()
            self._generate(inputs, which, batch)
            done = time.perf_counter()
            outcomes.update(
                {index: self._finished(row, started, prepared, done, len(rows)) for index, row in rows.items()}
            )
        except torch.OutOfMemoryError as error:
            # Rows hold the features that they need, so what is kept is kept for others.
            if self._reader.cache is not None and self._reader.cache.clear():
                return self._answer_rows(rows, outcomes, started)
            if len(rows) == 1:
                outcomes.update({index: ModelError(f"{self.name} ran out of memory: {_line(error)}") for index in rows})
                return
            items = list(rows.items())
            for half in (items[: len(items) // 2], items[len(items) // 2 :]):
                self._answer_rows(dict(half), outcomes, started)
        except Exception as error:
            outcomes.update({index: ModelError(f"{self.name} failed: {_line(error)}") for index in rows})

    def _prepare(self, request: Request, known: dict[str, Prompt] | None = None) -> _Row:
        """Render and read a request. known: the prompts of this batch, as n samples of one are read once."""
        known = {} if known is None else known
        text, images = self._reader.render(request), images_of(request)
        key = digest([text, [image.sha256 for image in images]])
        prompt = known[key] = known.get(key) or self._reader.read(text, images)
        if prompt.tokens >= self._context:
            raise TooLongError(
                f"the prompt has {prompt.tokens} tokens and {self.name} takes {self._context}: "
                "send fewer or smaller images"
            )
        return _Row(request, key, prompt)

    def _encode(self, rows: Sequence[_Row]) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Tensors of the distinct prompts, and which of them each row has: n samples of one prompt are read once."""
        distinct = list({row.key: row.prompt for row in rows}.items())
        places = {key: place for place, (key, _) in enumerate(distinct)}
        inputs = self._reader.batch([prompt for _, prompt in distinct])
        device = self.model.device
        return {name: value.to(device) for name, value in inputs.items()}, [places[row.key] for row in rows]

    @torch.inference_mode()
    def _generate(self, inputs: dict[str, torch.Tensor], which: list[int], rows: Sequence[_Row]) -> None:
        """Write tokens into the rows until each has ended; ended rows leave the batch."""
        for row in rows:
            row.restart()
        positions, following = self._positions(inputs)
        pictures = self._pictures([rows[which.index(place)].prompt for place in range(len(inputs["input_ids"]))])
        out = self.model(**inputs, **pictures, position_ids=positions, use_cache=True, logits_to_keep=1)
        cache, mask, live = out[self._cache_name], inputs["attention_mask"], list(rows)
        tokens = self._choose(out.logits[which, -1], live)
        keep = which
        while going := [place for place, row in enumerate(live) if row.finish is None]:
            live, tokens, keep = [live[place] for place in going], tokens[going], [keep[place] for place in going]
            if keep != list(range(len(mask))):
                # The name is from beam search; unlike batch_select_indices, layers of every kind have it.
                cache.reorder_cache(torch.tensor(keep, device=mask.device))
                mask, following = mask[keep], following[..., keep, :]
            keep = list(range(len(live)))
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
            out = self.model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=following,
                use_cache=True,
                **{self._cache_name: cache},
            )
            following = following + 1
            tokens = self._choose(out.logits[:, -1], live)

    def _pictures(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """What the model gets in place of the pixels of kept images."""
        images = [image for prompt in prompts for image in prompt.images]
        if self._reader.cache is None or not images:
            return {}
        return {"mm_encoder_outputs": {"image": self._reader.cache.output(images)}}

    def _positions(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Position ids of left-padded prompts, and of the token after them: (rows, tokens), or 3D for Qwen-VL kin."""
        mask, rope = inputs["attention_mask"], getattr(self.model.base_model, "get_rope_index", None)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        if rope is not None and "image_grid_thw" in inputs:
            names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
            positions, _ = rope(**{name: inputs[name] for name in names if name in inputs})
        elif rope is not None:
            positions = positions.expand(3, -1, -1)
        return positions, positions[..., -1:] + 1

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
        """Next token of each row, (rows, vocabulary) -> (rows,), noted in the row."""
        logits = logits.float()
        if self._call_opens is not None:
            forbidden = [place for place, row in enumerate(rows) if row.request.tool_choice == "none"]
            if forbidden:
                logits[forbidden, self._call_opens] = -torch.inf
        tokens = logits.argmax(-1)
        for place, row in enumerate(rows):
            if row.generator is not None:
                tokens[place] = _draw(logits[place].cpu(), row)
        logprobs = [0.0] * len(rows)
        if any(row.request.logprobs is not None for row in rows):
            logprobs = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0].tolist()
        now = time.perf_counter()
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs, strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.first_at, row.last_at = row.first_at or now, now
            row.finish = self._finish_reason(row)
        return tokens

    def _finish_reason(self, row: _Row) -> str | None:
        sampling = row.request.sampling
        if row.ids[-1] in self._ends or (sampling.stop and self._decode(row) != self._decode(row, stop=False)):
            return "stop"
        full = row.prompt.tokens + len(row.ids) >= self._context
        return "length" if full or len(row.ids) >= sampling.max_tokens else None

    def _decode(self, row: _Row, *, stop: bool = True) -> str:
        """Text of what a row has written, without special tokens, cut before its first stop string."""
        ids = [token for token in row.ids if token not in self._hidden and token not in self._ends]
        text = str(self.processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        ends = [text.find(mark) for mark in row.request.sampling.stop if stop and mark in text]
        return text[: min(ends)] if ends else text

    def _finished(self, row: _Row, started: float, prepared: float, done: float, batch_size: int) -> Reply:
        reasoning, text = split_reasoning(self._decode(row))
        logprobs = [value for token, value in zip(row.ids, row.logprobs, strict=True) if token not in self._ends]
        return Reply(
            text=text,
            reasoning=reasoning,
            finish_reason=row.finish or "stop",
            usage=Usage(
                prompt_tokens=row.prompt.tokens,
                completion_tokens=len(row.ids),
                image_tokens=row.prompt.image_tokens,
            ),
            clocks=Clocks(
                model_ms=(done - started) * 1000,
                preprocess_ms=(prepared - started) * 1000,
                first_byte_ms=(row.first_at - started) * 1000,
                generation_ms=(row.last_at - prepared) * 1000,
                batch_size=batch_size,
            ),
            token_logprobs=tuple(logprobs) if row.request.logprobs is not None else None,
            token_ids=tuple(row.ids),
            image_sizes=row.prompt.image_sizes,
        )


def _draw(logits: torch.Tensor, row: _Row) -> torch.Tensor:
    """One token at the row's temperature within its top_p mass, by the exponential race (Gumbel-max)."""
    sampling = row.request.sampling
    probabilities = (logits / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = probabilities.index_fill(0, order[outside], 0.0)
    race = torch.empty_like(probabilities).exponential_(generator=row.generator)
    return (probabilities / race).argmax(-1)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
