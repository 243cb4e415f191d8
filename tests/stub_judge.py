"""A chat model on a port of this machine, whose replies a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = str | int | bytes | None | tuple[int, dict[str, str]]
"""What it says; a code, with headers; raw bytes with code 200; or None for a reply without words."""


@dataclass
class Stub:
    url: str
    requests: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(reply: Callable[[dict, int], Reply]) -> Iterator[Stub]:
    """Serve chat completions: `reply` gets the request's body and how many came before it."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(stub.requests)
                stub.requests.append(body)
                stub.headers.append(dict(self.headers))
                said = reply(body, number)
            code, headers = said if isinstance(said, tuple) else (said if isinstance(said, int) else 200, {})
            content = said if isinstance(said, bytes) else b"busy"
            if isinstance(said, str) or said is None:
                content = json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()
            self.send_response(code if self.path == "/v1/chat/completions" else 404)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub = Stub(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
