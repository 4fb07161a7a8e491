"""What EndpointModel costs beyond the bare openai client: throughput and CPU against an endpoint of fixed latency.

The endpoint is a process of its own that answers each request LATENCY_S after its last byte. Both clients keep
IN_FLIGHT requests under way, each with the same bytes: a question and one stored image. The bare one is a loop that
posts these bytes ready made. They take turns, so that whatever else the machine does meets both; figures are medians
over the turns, and the ratio and the difference are medians of each turn's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openai
from openai.types.chat import ChatCompletion
from PIL import Image as PILImage

from zoomgap import imaging
from zoomgap.geometry import Size
from zoomgap.models.openai_api import EndpointModel
from zoomgap.models.wire import WIRES, data_url, encode
from zoomgap.records import Image, Message, Request, Text
from zoomgap.storage import Store

LATENCY_S = 0.2
IN_FLIGHT = 64
CALLS_EACH = 10
"""Calls of each of the IN_FLIGHT workers in a turn."""
TURNS = 9
MAX_IMAGE_BYTES = 20_000
SIZE = Size(80, 80)
REPLY = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "B"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
}  # fmt: skip


class Figures(NamedTuple):
    """Of one client in one turn."""

    calls_per_s: float
    cpu_ms: float


class Endpoint(asyncio.Protocol):
    """Reads requests that give their length, and answers each with REPLY after LATENCY_S."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.received = transport, bytearray()
        body = json.dumps(REPLY).encode()
        self.answer = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(b"\r\n\r\n") + 4
        if head < 4:
            return
        lines = bytes(self.received[:head]).lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        if len(self.received) >= head + length:
            del self.received[: head + length]
            asyncio.get_running_loop().call_later(LATENCY_S, self.transport.write, self.answer)  # type: ignore[attr-defined]


async def serve() -> None:
    """Print a free port and serve on it."""
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=4 * IN_FLIGHT)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def measure(call: Callable[[], Awaitable[object]], calls_each: int) -> Figures:
    async def work() -> None:
        for _ in range(calls_each):
            await call()

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    calls = IN_FLIGHT * calls_each
    return Figures(calls / seconds, cpu * 1000 / calls)


async def compare(url: str, store: Store, turns: int, calls_each: int) -> dict[str, float]:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE.height, SIZE.width, 3), dtype=np.uint8)
    image = imaging.encode(PILImage.fromarray(noise))
    assert len(image) <= MAX_IMAGE_BYTES
    stored = store.add_image(image, "image/jpeg", SIZE)
    content = (Image(stored.sha256, stored.width, stored.height), Text("What letter is on the red star?"))
    request = Request(messages=(Message(role="user", content=content),))
    sent = encode(WIRES["chat"].body(request, "m", False), {stored.sha256: data_url(image)})

    model = EndpointModel(url, "m", store.objects.read, api_key="none", concurrency=IN_FLIGHT)
    bare = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    clients = {
        "model": lambda: model.reply(request),
        "bare": lambda: bare.post("/chat/completions", cast_to=ChatCompletion, content=sent),
    }
    figures: dict[str, list[Figures]] = {name: [] for name in clients}
    for turn in range(turns + 1):
        for name in list(clients) if turn % 2 else list(reversed(clients)):
            found = await measure(clients[name], calls_each)
            if turn:  # the first opens connections
                figures[name].append(found)
    await model.aclose()
    await bare.close()
    pairs = list(zip(figures["model"], figures["bare"], strict=True))
    return {
        "image_bytes": len(image),
        "request_bytes": len(sent),
        "turns": turns,
        "model_calls_per_s": statistics.median(own.calls_per_s for own, _ in pairs),
        "bare_calls_per_s": statistics.median(bare.calls_per_s for _, bare in pairs),
        "throughput_ratio": statistics.median(own.calls_per_s / bare.calls_per_s for own, bare in pairs),
        "model_cpu_ms": statistics.median(own.cpu_ms for own, _ in pairs),
        "bare_cpu_ms": statistics.median(bare.cpu_ms for _, bare in pairs),
        "own_cpu_ms": statistics.median(own.cpu_ms - bare.cpu_ms for own, bare in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--turns", type=int, default=TURNS, help="of each client (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=CALLS_EACH, help="of each worker in a turn (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help="be the endpoint")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        with tempfile.TemporaryDirectory() as folder:
            store = Store.open(Path(folder) / "perf.db")
            found = asyncio.run(compare(url, store, options.turns, options.calls))
    finally:
        server.terminate()
        server.wait()
    if options.json:
        print(json.dumps(found))
        return
    print(f"throughput:  {found['model_calls_per_s']:.0f} calls/s, bare {found['bare_calls_per_s']:.0f}, "
          f"ratio {found['throughput_ratio']:.3f} (target: at least 0.9)")  # fmt: skip
    print(f"CPU a call:  {found['model_cpu_ms']:.2f} ms, bare {found['bare_cpu_ms']:.2f} ms, "
          f"own {found['own_cpu_ms']:.2f} ms (target: at most 1.5)")  # fmt: skip


if __name__ == "__main__":
    main()
