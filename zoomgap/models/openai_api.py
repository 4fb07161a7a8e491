"""A model behind an OpenAI-compatible endpoint: vLLM, SGLang, `transformers serve`, OpenAI and the like.

What travels is in wire.py; when it is sent again, and how much at once, in retry.py.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import openai

from zoomgap.errors import ModelError, RefusedError, TooLongError, UsageError
from zoomgap.models.base import LoadImage
from zoomgap.models.retry import (
    OVERLOADED,
    AdaptiveLimit,
    PausedError,
    Slot,
    Tries,
    is_out_of_credit,
    is_transient,
    retry_after,
)
from zoomgap.models.wire import WIRES, BadAnswerError, DataURLs, encode
from zoomgap.records import Clocks, Reply, Request, WireName

FIRST_CONTACT_S = 8.0
"""How long an endpoint that has never answered is tried."""
CONNECT_S = 10.0
"""How long one connection may take to stand, and at most half a try."""
KEY_NAMES = ("ZOOMGAP_API_KEY", "OPENAI_API_KEY")
"""Where the environment may hold the key, in this order."""
_REMEDIES = {
    400: "if it is about length or size, a smaller --pixels helps",
    401: f"set {' or '.join(KEY_NAMES)}",
    402: "the account has no credit left: top it up",
    403: f"check --model, and what the key in {' or '.join(KEY_NAMES)} may use",
    404: "check --model, that --endpoint ends as the server wants it (often in /v1), and that it knows this wire",
    413: "a smaller --pixels helps",
}
_REFUSED = frozenset({401, 402, 403, 404})
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|max(imum)?[ _](model|context|input|prompt|sequence)[ _]len"
    r"|too many (input )?tokens|(prompt|input|request) is too long|longer than the maximum"
    r"|exceeds the (available|maximum|model)",
    re.IGNORECASE,
)
"""How servers say, with a 400, that a conversation has too many tokens (OpenAI, vLLM, SGLang, llama.cpp and others)."""
_UNSTREAMED = frozenset({400, 405, 406, 415, 422, 501})
"""Statuses by which a server may refuse a stream that it cannot give."""

# The HTTP library that the SDK is built on, httpx2 since openai 3: the SDK takes no other's settings.
_httpx: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])


class EndpointModel:
    """A model behind a URL.

    endpoint: the base URL, such as http://localhost:8000/v1. wire: chat completions or Responses. api_key: default
    ZOOMGAP_API_KEY, then OPENAI_API_KEY of the environment. concurrency: requests on the wire at once at most; fewer
    while the endpoint answers 429 or 503. timeout_s: one try, from its sending to its last byte. budget_s: all tries
    of one request and the waits between them; standing in line for a slot counts into neither.

    Lost connections, silence, 408, 409, 429, 5xx and answers that are no reply are tried again (Retry-After honoured,
    by all requests when it comes with 429 or 503). What would befall every request, such as a wrong key or name, is a
    RefusedError at once, anything else a ModelError at once.

    Clocks: model_ms is time on the wire, tries that failed included, our own waits (for a slot, between tries) not:
    those are in a trajectory's wall_ms only. first_byte_ms is from the sending of the try that was answered to its
    first token, and known with stream=True only. What only the server could tell is None.

    stream: off by default, as each token is then an event of its own, which costs CPU here and changes no answer.
    A server that refuses streams is asked without from then on, and `stream` says so.
    """

    def __init__(
        self,
        endpoint: str,
        model: str,
        load_image: LoadImage,
        *,
        wire: WireName = "chat",
        api_key: str | None = None,
        concurrency: int = 256,
        stream: bool = False,
        timeout_s: float = 120,
        budget_s: float = 300,
    ) -> None:
        if wire not in WIRES:
            raise UsageError(f"wire {wire!r} is not known: use {' or '.join(WIRES)}")
        self.name = model
        self.endpoint = endpoint
        self._wire = WIRES[wire]
        self._urls = DataURLs(load_image)
        self._limit = AdaptiveLimit(concurrency)
        self._timeout_s, self._budget_s = timeout_s, budget_s
        self.stream, self._has_streamed = stream, False
        self._reached = False
        self._key = _key(api_key)
        limits = _httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = openai.AsyncOpenAI(
            base_url=endpoint,
            api_key=self._key or "none",
            max_retries=0,
            # Well within a try, so that what cannot be reached is not taken for silent.
            timeout=openai.Timeout(None, connect=min(CONNECT_S, timeout_s / 2)),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        )

    async def reply(self, request: Request) -> Reply:
        """The endpoint's answer.

        Raises ModelError in one line with the status and a short body, never the key; RefusedError where every request
        would end so. Also UsageError for what the wire cannot carry, and what load_image raises.
        """
        urls = await self._urls.of(request)
        tries = Tries(self._budget_s)
        try:
            async for attempt in tries.retrying():
                with attempt:
                    async with self._limit.slot(tries.left_s) as slot:
                        reply = await self._try(request, urls, tries, slot)
        except (openai.OpenAIError, BadAnswerError, PausedError, TimeoutError) as error:
            raise self._failure(error, tries) from error
        return replace(reply, clocks=replace(reply.clocks, model_ms=tries.wire_s * 1000))

    async def aclose(self) -> None:
        await self._client.close()

    def forget(self) -> None:
        """Encode each image anew, for the time of one sent for the first time. What the server keeps is its own."""
        self._urls.forget()

    async def _try(self, request: Request, urls: dict[str, bytes], tries: Tries, slot: Slot) -> Reply:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(min(self._timeout_s, tries.left_s)):
                reply = await self._send(request, urls)
        except Exception as error:
            if isinstance(error, openai.APIStatusError) and error.status_code in OVERLOADED and is_transient(error):
                slot.overloaded(retry_after(error.response.headers))
            self._reached |= not isinstance(error, openai.APIConnectionError)
            # Where nothing has ever answered, the address is wrong or nothing runs there.
            tries.enough_s = math.inf if self._reached else FIRST_CONTACT_S
            raise
        finally:
            tries.wire_s += time.perf_counter() - started
        self._reached = True
        slot.succeeded()
        return reply

    async def _send(self, request: Request, urls: dict[str, bytes]) -> Reply:
        if not self.stream:
            return await self._send_whole(request, urls)
        try:
            reply = await self._send_streamed(request, urls)
        except openai.APIStatusError as error:
            if self._has_streamed or error.status_code not in _UNSTREAMED:
                raise
            reply = await self._send_whole(request, urls)
            self.stream = False  # not the request was refused but the stream
            return reply
        self._has_streamed = True
        return reply

    async def _send_whole(self, request: Request, urls: dict[str, bytes]) -> Reply:
        content = encode(self._wire.body(request, self.name, False), urls)
        response = await self._client.post(self._wire.path, cast_to=_httpx.Response, content=content)
        return self._wire.read(_decoded(response))

    async def _send_streamed(self, request: Request, urls: dict[str, bytes]) -> Reply:
        content = encode(self._wire.body(request, self.name, True), urls)
        started, first_ms = time.perf_counter(), None
        events = await self._client.post(
            self._wire.path, cast_to=object, content=content, stream=True, stream_cls=openai.AsyncStream[object]
        )
        async with events:
            with _failures_of(events):
                if "json" in events.response.headers.get("content-type", ""):
                    await events.response.aread()
                    return self._wire.read(_decoded(events.response))  # a server that knows no streams
                stream = self._wire.stream()
                async for event in events:
                    if stream.add(event) and first_ms is None:
                        first_ms = (time.perf_counter() - started) * 1000
        return replace(self._wire.read(stream.answer()), clocks=Clocks(first_byte_ms=first_ms))

    def _failure(self, error: Exception, tries: Tries) -> ModelError:
        """What a request ended with, in one line without secrets."""
        where = _without_secrets(self.endpoint)
        if isinstance(error, TimeoutError):
            earlier = [failure for failure in tries.failures if not isinstance(failure, TimeoutError)]
            last = f", at last {self._said(earlier[-1])}" if earlier else ""
            return ModelError(f"endpoint {where} gave no reply within {tries.budget_s:g} s{last}")
        if not isinstance(error, openai.APIStatusError):
            return ModelError(f"endpoint {where} {self._said(error)}")
        status = 402 if is_out_of_credit(error) else error.status_code
        remedy = f"; {_REMEDIES[status]}" if status in _REMEDIES else ""
        kind: type[ModelError] = RefusedError if status in _REFUSED else ModelError
        if status in (400, 413, 422) and _TOO_LONG.search(error.response.text):
            kind = TooLongError
        return kind(f"endpoint {where} {self._said(error)}{remedy}")

    def _said(self, error: BaseException) -> str:
        if isinstance(error, openai.APIStatusError):
            return f"answered {error.status_code}: {self._short(error.response.text)}"
        if isinstance(error, openai.APIConnectionError):
            unmade = isinstance(error.__cause__, (_httpx.ConnectError, _httpx.ConnectTimeout))
            why = self._short(str(error.__cause__ or "") or str(error))
            return f"{'cannot be reached' if unmade else 'broke the connection'}: {why}"
        if isinstance(error, PausedError):
            return f"wants no request for {error.seconds:.0f} s: try again then"
        return f"sent what is no reply: {self._short(str(error))}"

    def _short(self, text: str) -> str:
        line = " ".join((text.replace(self._key, "***") if self._key else text).split())
        return line if len(line) <= 200 else line[:199] + "…"


@contextmanager
def _failures_of(events: openai.AsyncStream[object]) -> Iterator[None]:
    """What breaks a stream, told as what breaks a reply in one piece."""
    try:
        yield
    except (openai.APIStatusError, openai.APIConnectionError):
        raise
    except openai.APIError as error:
        raise BadAnswerError(json.dumps(error.body)) from error
    except ValueError as error:
        raise BadAnswerError(str(error)) from error
    except _httpx.RequestError as error:
        raise openai.APIConnectionError(request=events.response.request) from error


def _key(given: str | None) -> str:
    """The key given or that of the environment, "" for none. Raises UsageError for what no header can carry."""
    found = given or next((value for name in KEY_NAMES if (value := os.environ.get(name))), "")
    key = found.strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the API key holds characters that no header takes: set {' or '.join(KEY_NAMES)} anew")
    return key


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


def _decoded(response: Any) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(response.text) from error
