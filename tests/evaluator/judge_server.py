"""An OpenAI-compatible endpoint on this machine whose replies and failures a test scripts."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


@dataclasses.dataclass
class Answered:
    """What to send back. ``body`` bytes go out as they are, a str as a chat completion's message."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    after_s: float = 0.0
    cut: bool = False
    """Sends half of the bytes that it announces."""


@dataclasses.dataclass
class Asked:
    """One request that came. ``n`` counts the requests with the same body, from 1."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    n: int

    @property
    def user(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def system(self) -> str:
        return str(self.body["messages"][0]["content"])


@dataclasses.dataclass
class Server:
    url: str
    asked: list[Asked]


@contextlib.contextmanager
def serving(script: Callable[[Asked], Answered | str]) -> Iterator[Server]:
    """A server for the time of the block; ``script`` decides on each request."""
    asked: list[Asked] = []
    counts: dict[bytes, int] = {}
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                counts[raw] = counts.get(raw, 0) + 1
                one = Asked(self.path, dict(self.headers), json.loads(raw), counts[raw])
                asked.append(one)
            said = script(one)
            answer = said if isinstance(said, Answered) else Answered(said)
            time.sleep(answer.after_s)
            body = answer.body
            if isinstance(body, str):
                message = {"role": "assistant", "content": body}
                body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
            with contextlib.suppress(OSError):  # the client may have given up
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if answer.cut else body)

        do_GET = do_POST

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{server.server_port}/v1", asked)
        finally:
            server.shutdown()
            thread.join()
