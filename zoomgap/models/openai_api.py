"""An OpenAI-compatible chat-completions endpoint: vLLM, SGLang, `transformers serve`, OpenAI and the like."""

from __future__ import annotations

import asyncio
import base64
import math
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, wait_random_exponential

from zoomgap.errors import ModelError
from zoomgap.models.base import SCHEME, LoadImage, image_part, request_body, split_reasoning
from zoomgap.records import Clocks, Reply, Request, ToolCall, Usage

RETRIED = frozenset({408, 409, 429})
FIRST_CONTACT_S = 8.0
"""How long an endpoint that has never answered is tried."""
_BACKOFF = wait_random_exponential(multiplier=0.5, max=20)
_MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}


class EndpointModel:
    """A model behind a chat-completions URL.

    endpoint: the base URL, such as http://localhost:8000/v1. timeout_s: one attempt; budget_s: all attempts of one
    request with the waits between them. api_key: default ZOOMGAP_API_KEY, then OPENAI_API_KEY of the environment.
    Connection errors, 408, 409, 429 and 5xx are tried again (Retry-After honoured); anything else is a ModelError at
    once. model_ms is the wait of the caller, retries included; the server's own clocks cannot be read and are None.
    """

    def __init__(
        self,
        endpoint: str,
        model: str,
        load_image: LoadImage,
        *,
        api_key: str | None = None,
        timeout_s: float = 120,
        budget_s: float = 300,
    ) -> None:
        self.name = model
        self.endpoint = endpoint
        self._load_image = load_image
        self._budget_s = budget_s
        self._reached = False
        self._key = api_key or os.environ.get("ZOOMGAP_API_KEY") or os.environ.get("OPENAI_API_KEY")
        self._client = openai.AsyncOpenAI(
            base_url=endpoint, api_key=self._key or "none", max_retries=0, timeout=timeout_s
        )

    async def reply(self, request: Request) -> Reply:
        """The endpoint's answer. Raises ModelError in one line: the status and a short body, never the key."""
        body = self._wire_body(request)
        started = time.perf_counter()
        failed: list[BaseException] = []
        try:
            async with asyncio.timeout(self._budget_s):
                completion = await self._create(body, failed)
        except TimeoutError as error:
            last = f", at last {self._say(failed[-1])}" if failed else ""
            raise ModelError(f"endpoint {self._where} gave no reply within {self._budget_s:g} s{last}") from error
        except (openai.OpenAIError, ValueError) as error:
            raise ModelError(f"endpoint {self._where} {self._say(error)}") from error
        try:
            return _read(completion, (time.perf_counter() - started) * 1000)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ModelError(
                f"endpoint {self._where} answered no chat completion: {self._short(str(completion))}"
            ) from error

    async def aclose(self) -> None:
        await self._client.close()

    async def _create(self, body: dict[str, Any], failed: list[BaseException]) -> Any:
        """The JSON of the answer. What failed on the way is noted in `failed`."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_transient), wait=_wait, stop=self._stop, reraise=True
        ):
            with attempt:
                try:
                    answer = await self._client.post("/chat/completions", cast_to=object, body=body)
                except openai.OpenAIError as error:
                    self._reached |= isinstance(error, openai.APIStatusError)
                    failed.append(error)
                    raise
                self._reached = True
                return answer

    def _stop(self, state: RetryCallState) -> bool:
        """An endpoint that has never answered is given up soon: its address is wrong or nothing runs there."""
        budget = self._budget_s if self._reached else min(self._budget_s, FIRST_CONTACT_S)
        return stop_before_delay(budget)(state)

    def _wire_body(self, request: Request) -> dict[str, Any]:
        body = request_body(request, self.name)
        for message in body["messages"]:
            if isinstance(message["content"], list):
                message["content"] = [self._wire_part(part) for part in message["content"]]
        # OpenAI's reasoning models refuse the older name of this field.
        if re.match(r"(gpt-5|o\d)", self.name):
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    def _wire_part(self, part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] != "image_url":
            return part
        data = self._load_image(part["image_url"]["url"].removeprefix(SCHEME))
        media_type = next((kind for magic, kind in _MEDIA_TYPES.items() if data.startswith(magic)), "image/jpeg")
        return image_part(f"data:{media_type};base64,{base64.b64encode(data).decode()}")

    @property
    def _where(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self.endpoint)

    def _say(self, error: BaseException) -> str:
        if isinstance(error, openai.APIStatusError):
            return f"answered {error.status_code}: {self._short(error.response.text)}"
        if isinstance(error, openai.APIConnectionError):
            return f"cannot be reached: {self._short(str(error.__cause__ or error))}"
        return f"answered no chat completion: {self._short(str(error))}"

    def _short(self, text: str) -> str:
        line = " ".join((text.replace(self._key, "***") if self._key else text).split())
        return line if len(line) <= 200 else line[:199] + "…"


def _read(completion: Any, model_ms: float) -> Reply:
    """The reply that a completion holds; what a server leaves out is None. Other types of value are a TypeError."""
    choice = completion["choices"][0]
    message = choice["message"]
    usage = completion.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    reasoning, text = split_reasoning(message.get("content") or "")
    calls = [(call.get("id") or "", call["function"]) for call in message.get("tool_calls") or ()]
    tokens = (choice.get("logprobs") or {}).get("content")
    return Reply(
        text=text,
        reasoning=message.get("reasoning_content") or message.get("reasoning") or reasoning,
        tool_calls=tuple(ToolCall(id, call["name"], call.get("arguments") or "") for id, call in calls),
        finish_reason=choice.get("finish_reason") or "stop",
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            image_tokens=details.get("image_tokens"),
        ),
        clocks=Clocks(model_ms=model_ms),
        token_logprobs=tuple(token["logprob"] for token in tokens) if tokens else None,
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return error.status_code in RETRIED or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def _wait(state: RetryCallState) -> float:
    """Seconds that the server asks for, else a random exponential wait."""
    error = state.outcome.exception() if state.outcome else None
    asked = retry_after(error.response.headers) if isinstance(error, openai.APIStatusError) else None
    return _BACKOFF(state) if asked is None else asked


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date, RFC 9110 10.2.3); None when absent or unreadable."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
