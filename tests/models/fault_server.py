"""A server of chat completions on the loopback that misbehaves as it is told: for the tests of the endpoint model."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    cut: bytes of the body after which the connection is closed; -1 closes it before the status line. pieces: the body
    goes out in so many, pause_s before each. hang: nothing comes until the server is closed.
    """

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    pieces: int = 1
    pause_s: float = 0.0
    hang: bool = False


def completion(message: dict[str, Any] | None = None, choice: dict[str, Any] | None = None, **fields: Any) -> str:
    """The JSON of a chat completion that says B."""
    message = {"role": "assistant", "content": "B", **(message or {})}
    choice = {"index": 0, "finish_reason": "stop", "message": message, **(choice or {})}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **fields}
    )


def response(*output: dict[str, Any]) -> Answer:
    """A response of those items."""
    return Answer(body=json.dumps({"id": "1", "object": "response", "status": "completed", "output": list(output)}))


def says(text: str | None, *calls: dict[str, Any]) -> Answer:
    """A completion with that text and those calls ({"name": ..., "arguments": ...})."""
    made = [{"id": f"c{k}", "type": "function", "function": call} for k, call in enumerate(calls)]
    return Answer(body=completion({"content": text, **({"tool_calls": made} if made else {})}))


def zooms(*box: float, name: str = "zoom_in") -> dict[str, Any]:
    """A call of the agent's tool."""
    return {"name": name, "arguments": json.dumps({"bbox_2d": list(box)})}


def events(*data: Any, done: bool = True, kind: str = "text/event-stream", **more: Any) -> Answer:
    """A stream of server-sent events."""
    lines = [f"data: {json.dumps(one)}\n\n" for one in data] + ["data: [DONE]\n\n"] * done
    return Answer(body="".join(lines), headers={"content-type": kind}, **more)


GOOD = Answer(body=completion())
CUT = Answer(cut=-1)
SILENT = Answer(hang=True)
FAULTS = (
    Answer(429, '{"error": {"message": "slow down"}}'),
    Answer(429, '{"error": {"message": "slow down"}}', {"retry-after": "0.02"}),
    Answer(429, '{"error": {"message": "slow down"}}', {"retry-after-ms": "20"}),
    Answer(503, "overloaded", {"content-type": "text/plain"}),
    Answer(500, '{"error": {"message": "worker died"}}'),
    CUT,
    Answer(body=completion(), cut=40),
    Answer(body=completion(), cut=0),
    Answer(body='{"choices": [{"mess'),
    Answer(body='{"choices": []}'),
    Answer(body='{"choices": [{"message": null}]}'),
    Answer(body='{"error": {"message": "backend gone", "code": 502}}'),
)
"""What passes by when one asks again."""


@dataclass
class Server:
    """answer: the script, its last entry for ever, or a function of the request's number and its body.

    times: when each request came, in seconds. connections: made so far; open: that are still there. most_at_once:
    requests that had come and were not yet answered.
    """

    answer: Sequence[Answer] | Callable[[int, dict], Answer]
    url: str = ""
    bodies: list[dict] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_at_once: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, raw: bytes, headers: dict[str, str]) -> Answer:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            turn = len(self.bodies)
            self.bodies.append(json.loads(raw))
            self.raw.append(raw)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            body = self.bodies[-1]
        return self.answer(turn, body) if callable(self.answer) else self.answer[min(turn, len(self.answer) - 1)]

    def leave(self) -> None:
        with self._lock:
            self._at_once -= 1

    def connected(self) -> None:
        with self._lock:
            self.connections += 1
            self.open += 1

    def disconnected(self) -> None:
        with self._lock:
            self.open -= 1


def faulty(answer: Callable[[dict], Answer], share: float, seed: int) -> Callable[[int, dict], Answer]:
    """`answer` of the body, but for a random `share` of the requests one of FAULTS."""
    random, lock = Random(seed), threading.Lock()

    def fail_or_answer(turn: int, body: dict) -> Answer:
        with lock:
            fault = random.choice(FAULTS) if random.random() < share else None
        return fault or answer(body)

    return fail_or_answer


@contextmanager
def serving(*script: Answer, answer: Callable[[int, dict], Answer] | None = None) -> Iterator[Server]:
    """A running server with a script, or with a function."""
    server = Server(answer or script)
    http = _Http(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Http(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True  # those of connections that are kept alive would be waited for

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are part of the tests."""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            server.connected()
            super().setup()

        def finish(self) -> None:
            super().finish()
            server.disconnected()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            answer = server.take(raw, {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            self._give(answer)

        def _give(self, answer: Answer) -> None:
            if answer.hang:
                server.release.wait(30)
            if answer.hang or answer.cut == -1:
                server.leave()
                self._close()
                return
            data = answer.body.encode()
            self.send_response(answer.status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            data, size = data[: answer.cut], -(-len(data) // answer.pieces) or 1
            *pieces, last = [data[start : start + size] for start in range(0, len(data) or 1, size)]
            for piece in pieces:
                time.sleep(answer.pause_s)
                self.wfile.write(piece)
            time.sleep(answer.pause_s)
            server.leave()  # before the client can know, and send the next
            self.wfile.write(last)
            if answer.cut is not None:
                self._close()

        def _close(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
