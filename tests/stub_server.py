"""A small OpenAI-compatible server in a thread, which remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the stub does with one request; `stop_after` events the stream breaks off."""

    words: list[str] = field(default_factory=lambda: ["one ", "two"])
    delay_s: float = 0.0
    status: int = 200
    message: str = "no"
    stop_after: int | None = None
    body: bytes | None = None


class Stub:
    """The server's state.

    Attributes:
        url: its root.
        bodies: every request, as it came in.
        answer: what is done with a request's body.
        page: of /metrics, called anew each time.
        busiest: most requests open at once.
        hung_up: requests whose client went away.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: Answer()
        self.page: Callable[[], str | None] = lambda: None
        self.models = ["stub"]
        self.busiest = self.hung_up = self._open = 0
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                stub.get(self)

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                content = self.rfile.read(length)
                if len(content) == length:
                    stub.post(self, json.loads(content))
                else:
                    stub.hung_up += 1

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        page = self.page()
        if handler.path == "/v1/models":
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in self.models]
            send(handler, 200, json.dumps({"object": "list", "data": models}).encode())
        elif handler.path == "/metrics" and page is not None:
            send(handler, 200, page.encode())
        else:
            send(handler, 404, b"{}")

    def post(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            self.bodies.append(body)
            self._open += 1
            self.busiest = max(self.busiest, self._open)
        try:
            self._reply(handler, body, self.answer(body))
        except OSError:
            self.hung_up += 1
        finally:
            with self._lock:
                self._open -= 1

    def _reply(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], answer: Answer) -> None:
        time.sleep(answer.delay_s)
        if answer.status != 200:
            error = {"message": answer.message, "type": "BadRequestError", "param": None, "code": answer.status}
            send(handler, answer.status, json.dumps({"error": error}).encode())
            return
        prompt = sum(len(str(message["content"]).split()) for message in body["messages"])
        for number, event in enumerate(events(answer.words, prompt)):
            if number == 0:
                handler.send_response(200)
                handler.send_header("Content-Type", "text/event-stream")
                handler.end_headers()
            if number == answer.stop_after:
                if answer.body is not None:
                    handler.wfile.write(answer.body)
                return
            handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            handler.wfile.flush()
        handler.wfile.write(b"data: [DONE]\n\n")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def events(words: list[str], prompt: int) -> list[dict[str, Any]]:
    """The role, the words, why it ended, the usage: as vLLM streams them."""
    base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "stub"}

    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(words),
        "total_tokens": prompt + len(words),
        "prompt_tokens_details": {"cached_tokens": prompt // 2},
    }
    return [
        choice({"role": "assistant", "content": ""}),
        *(choice({"content": word}) for word in words),
        choice({"content": ""}, "stop"),
        {**base, "choices": [], "usage": usage},
    ]
